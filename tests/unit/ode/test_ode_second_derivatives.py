"""Second derivatives through the steps of gradient=direct: penalties on gradients, and losses of physics."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.methods import METHODS, TABLEAUS
from pipeline.ode import integrate
from pipeline.util.errors import OdenetError
from tests.helpers.ode_fields import OSCILLATION, Layer

EXPLICIT = tuple(TABLEAUS)
OPTIONS: dict[str, Any] = {"gradient": "direct", "steps": 6, "rtol": 1e-5, "atol": 1e-5}


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def rows() -> Tensor:
    return torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)


@pytest.fixture
def layer() -> Layer:
    torch.manual_seed(0)
    return Layer()


def by_hand(method: str, field: nn.Module, z: Tensor, ends: list[tuple[float, float]]) -> Tensor:
    """The same steps, written as the formula is."""
    tableau = TABLEAUS[method]
    for t, dt in ends:
        stages: list[Tensor] = []
        for c, weights in zip(tableau.c, ((), *tableau.a), strict=True):
            inner = z + sum((dt * w * k for w, k in zip(weights, stages, strict=True)), torch.zeros_like(z))
            stages.append(field(torch.tensor(t + c * dt, dtype=z.dtype), inner))
        z = z + sum((dt * w * k for w, k in zip(tableau.b, stages, strict=True)), torch.zeros_like(z))
    return z


def penalty(state: Tensor, z0: Tensor) -> Tensor:
    """On the gradient of a loss with respect to the start."""
    (gradient,) = torch.autograd.grad(state.sin().sum(), z0, create_graph=True)
    return gradient.square().sum()


@pytest.mark.parametrize("method", EXPLICIT)
def test_a_penalty_on_a_gradient_has_the_gradient_of_the_loop_written_by_hand(method: str, layer: Layer) -> None:
    z0 = rows().requires_grad_()
    solution = integrate(layer, z0, (0.0, 1.2), SolverConfig(method=method, **OPTIONS))
    accepted = [(one.t, one.dt) for one in solution.statistics.attempts if one.accepted]
    loop = by_hand(method, layer, z0, accepted)
    inputs = [z0, *layer.parameters()]
    found, expected = (torch.autograd.grad(penalty(state, z0), inputs) for state in (solution.state, loop))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_second_derivatives_of_all_outputs_agree_with_finite_differences(method: str, layer: Layer) -> None:
    solver = SolverConfig(method=method, **{**OPTIONS, "rtol": 1e-9, "atol": 1e-9})
    z0 = rows().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda z: integrate(layer, z, (0.0, 0.3, 1.0), solver).states, z0, atol=1e-4)


def test_the_curvature_of_a_closed_form() -> None:
    """z' = -z²: z(T) = z0 / (1 + z0 T), whose second derivative is -2T / (1 + z0 T)³."""
    z0 = vector(0.5, 2).requires_grad_()
    solver = SolverConfig(gradient="direct", rtol=1e-10, atol=1e-10)
    state = integrate(lambda _t, z: -z.square(), z0, (0.0, 1.5), solver).state
    (first,) = torch.autograd.grad(state.sum(), z0, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z0, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), z0)
    base = 1 + 1.5 * z0.detach()
    torch.testing.assert_close(second.detach(), -2 * 1.5 / base**3, rtol=1e-7, atol=0)
    torch.testing.assert_close(third, 6 * 1.5**2 / base**4, rtol=1e-6, atol=0)


def test_a_loss_of_physics_trains_the_field_through_derivatives_of_the_solution(layer: Layer) -> None:
    """The residual of z'' + z' + z along the interpolant, its derivatives with respect to time by autograd."""
    z0 = rows().requires_grad_()
    times = torch.linspace(0.05, 1.15, 7, dtype=torch.float64).requires_grad_()
    solver = SolverConfig(gradient="direct", rtol=1e-8, atol=1e-8)

    def residual() -> Tensor:
        interpolant = integrate(layer, z0, (0.0, 1.2), solver, dense=True).interpolant
        assert interpolant is not None
        states = interpolant(times)
        assert isinstance(states, Tensor)
        parts = []
        for of_one in states.flatten(1).unbind(1):
            (speed,) = torch.autograd.grad(of_one.sum(), times, create_graph=True)
            (acceleration,) = torch.autograd.grad(speed.sum(), times, create_graph=True)
            parts.append(acceleration + speed + of_one)
        return torch.stack(parts).square().mean()

    (by_bias,) = torch.autograd.grad(residual(), layer.linear.bias)
    assert by_bias.tolist() == pytest.approx(_by_differences(residual, layer.linear.bias), rel=2e-3, abs=1e-5)


def test_a_loss_of_physics_within_the_field_is_differentiated_twice(layer: Layer) -> None:
    """A force that is the gradient of a potential: the field itself asks for a gradient, at every stage."""

    def force(t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG001
        with torch.enable_grad():
            at = z if z.requires_grad else z.detach().requires_grad_()
            energy = torch.tanh(layer.linear(at)).square().sum()
            (gradient,) = torch.autograd.grad(energy, at, create_graph=torch.is_grad_enabled())
        return -gradient

    z0 = rows().requires_grad_()
    solver = SolverConfig(gradient="direct", rtol=1e-10, atol=1e-10)

    def loss() -> Tensor:
        state = integrate(force, z0, (0.0, 1.0), solver).state
        assert isinstance(state, Tensor)
        return state.square().sum()

    (found,) = torch.autograd.grad(loss(), layer.linear.bias)
    assert found.tolist() == pytest.approx(_by_differences(loss, layer.linear.bias), rel=1e-5, abs=1e-8)


def _by_differences(loss: Callable[[], Tensor], parameter: nn.Parameter, width: float = 1e-5) -> list[float]:
    """Central ones, of every element of a parameter."""
    found = []
    for element in range(parameter.numel()):
        sides = []
        for sign in (1, -1):
            kept = parameter.data.clone()
            parameter.data.view(-1)[element] += sign * width
            sides.append(float(loss().detach()))
            parameter.data.copy_(kept)
        found.append((sides[0] - sides[1]) / (2 * width))
    return found


def test_the_leapfrog_is_differentiated_twice() -> None:
    q, p = vector(1.0).requires_grad_(), vector(0.5).requires_grad_()
    solver = SolverConfig(method="leapfrog", steps=10, gradient="direct")
    assert torch.autograd.gradgradcheck(
        lambda a, b: integrate(lambda _t, z: (z[1], -torch.sin(z[0])), (a, b), (0.0, 1.0), solver).state, (q, p)
    )


def test_the_second_derivative_of_an_event_is_right_or_refused() -> None:
    """z = z0 exp(sin t) passes 2 where sin t = log(2 / z0)."""
    z0 = vector(1.5).requires_grad_()
    solver = SolverConfig(gradient="direct", rtol=1e-10, atol=1e-10)
    solution = integrate(OSCILLATION, z0, (0.0, 3.0), solver, event=lambda _t, z: z[0] - 2.0)
    assert float(solution.event_time.detach()) == pytest.approx(math.asin(math.log(2 / 1.5)))
    for one in (solution.event_time, solution.state.sum()):
        with pytest.raises(OdenetError, match=r"^the gradient of an event cannot be differentiated again"):
            torch.autograd.grad(one, z0, create_graph=True)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_second_derivative_with_respect_to_the_times_is_right_or_refused(number: int) -> None:
    times = torch.tensor([0.3, 0.9, 2.0], dtype=torch.float64, requires_grad=True)
    states = integrate(OSCILLATION, vector(1.5), times, SolverConfig(gradient="direct")).states
    (once,) = torch.autograd.grad(states[number].sum(), times, retain_graph=True)
    assert once.shape == (3,)
    if number == 0:
        return  # the start itself depends on no time
    with pytest.raises(OdenetError, match=r"^the gradient of the times of a solve cannot be differentiated again"):
        torch.autograd.grad(states[number].sum(), times, create_graph=True)


def test_every_method_is_differentiated_twice_or_says_why_not() -> None:
    assert set(METHODS) == {*EXPLICIT, "leapfrog", "kvaerno3"}
