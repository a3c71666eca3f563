"""The adjoint ODE: what comes back, how large its errors may be, and fields that leave parts of it out."""

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.problems import DETEST
from pipeline.ode import AdjointFailure, AdjointWarning, SolverFailure, Status, integrate
from pipeline.util.errors import OdenetError
from tests.helpers.ode_fields import Growth, Layer
from tests.helpers.ode_modes import TIMES, check_gradients, loss_of, solver_for, z_start


@pytest.fixture
def layer() -> Layer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Layer()


# What comes back

(B3,) = (problem for problem in DETEST if problem.name == "B3")


def gradient_of_b3(mode: str, tolerance: float) -> Tensor:
    """By its start, of the squares at its end."""
    z0 = B3.z0.clone().requires_grad_()
    state = integrate(B3.function, z0, (B3.t0, B3.t1), solver_for(mode, rtol=tolerance, atol=tolerance)).state
    return torch.autograd.grad(state.square().sum(), z0)[0]


def test_the_adjoint_of_a_problem_that_is_unstable_backwards_fails_with_the_remedy() -> None:
    z0 = B3.z0.clone().requires_grad_()
    solution = integrate(B3.function, z0, (B3.t0, B3.t1), solver_for("adjoint", rtol=1e-6, atol=1e-6))
    assert solution.statistics.status == Status.COMPLETED
    with pytest.raises(AdjointFailure, match=r"came back to a state at t = 0 that is off .*use gradient=auto"):
        solution.state.square().sum().backward()
    assert solution.statistics.status == Status.DIVERGED
    assert solution.statistics.nfe_backward
    assert z0.grad is None


@pytest.mark.parametrize("discrete", ["direct", "checkpointed", "recursive", "auto"])
def test_the_gradient_of_the_steps_is_right_where_the_adjoint_is_not(discrete: str) -> None:
    torch.testing.assert_close(gradient_of_b3(discrete, 1e-6), gradient_of_b3("direct", 1e-11), rtol=1e-3, atol=1e-5)


def test_a_state_that_comes_back_somewhat_off_is_said_and_the_gradient_given() -> None:
    rate = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    z0 = z_start()
    state = integrate(lambda _t, z: rate * z, z0, (0.0, 12.0), solver_for("adjoint", rtol=1e-6, atol=1e-6)).state
    with pytest.warns(AdjointWarning, match=r"off by .* of its size, so that the gradient is wrong"):
        state.sum().backward()
    assert rate.grad is not None


@pytest.mark.parametrize(("steps", "is_warned"), [(200, False), (8, True), (1, True)])
def test_of_equal_steps_a_miss_is_judged_by_its_size_whatever_the_tolerances_are(steps: int, is_warned: bool) -> None:
    rate = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    solver = solver_for("adjoint", method="euler", steps=steps, rtol=1e-12, atol=1e-12)
    state = integrate(lambda _t, z: rate * z, z_start(), (0.0, 1.5), solver).state
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AdjointWarning)
        state.sum().backward()
    said = [str(one.message) for one in caught if "came back" in str(one.message)]
    assert [text.endswith("which differentiate the steps, or more steps") for text in said] == [True] * is_warned


def test_a_state_that_comes_back_as_it_was_is_not_mentioned(layer: Layer) -> None:
    z0 = z_start()
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjointWarning)
        solution = integrate(layer, z0, (0.0, 0.4, 0.9, 1.3), solver_for("adjoint"))
        solution.states.sum().backward()
    assert solution.statistics.status == Status.COMPLETED


def test_times_on_the_way_at_which_the_state_is_set_right_keep_the_adjoint_right() -> None:
    z0 = B3.z0.clone().requires_grad_()
    state = integrate(B3.function, z0, B3.times(21), solver_for("adjoint", rtol=1e-6, atol=1e-6)).state
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjointWarning)
        (found,) = torch.autograd.grad(state.square().sum(), z0)
    torch.testing.assert_close(found, gradient_of_b3("direct", 1e-11), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "rtol", "atol", "final_time"), [(torch.float32, 1e-7, 1e-9, 4.0), (torch.float64, 1e-6, 1e-12, 3.0)]
)
def test_a_solve_that_begins_at_zero_has_its_gradient_and_no_warning(
    dtype: torch.dtype, rtol: float, atol: float, final_time: float
) -> None:
    rate, source = (torch.ones((), dtype=dtype, requires_grad=True) for _ in range(2))
    solver = solver_for("adjoint", rtol=rtol, atol=atol)
    state = integrate(lambda _t, z: source - rate * z, torch.zeros(16, 3, dtype=dtype), (0.0, final_time), solver).state
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjointWarning)
        by_rate, by_source = torch.autograd.grad(state.sum() / 48, [rate, source])
    decayed = math.exp(-final_time)
    assert float(by_source) == pytest.approx(1 - decayed, rel=1e-5)
    assert float(by_rate) == pytest.approx(final_time * decayed - (1 - decayed), rel=1e-5)


def test_a_state_that_is_zero_at_every_time_that_is_asked_for_has_its_gradient_and_no_warning() -> None:
    weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    times = (0.0, math.pi, 2 * math.pi)  # of a sine
    solver = solver_for("adjoint", rtol=1e-6, atol=1e-12)
    states = integrate(lambda t, z: weight * torch.cos(t) + 0 * z, weight.new_zeros(1), times, solver).states
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjointWarning)
        (found,) = torch.autograd.grad(states.sum(), weight)
    assert float(found) == pytest.approx(0, abs=1e-5)


def test_several_vectors_at_once_are_refused_in_a_sentence(layer: Layer) -> None:
    state = integrate(layer, z0 := z_start(), TIMES, solver_for("adjoint")).state
    vectors = torch.eye(state.numel(), dtype=state.dtype).view(-1, *state.shape)
    with pytest.raises(OdenetError, match=r"^gradient=adjoint solves back for one vector, .+: use gradient=auto$"):
        torch.autograd.grad(state, z0, vectors, is_grads_batched=True)


# The scale of the loss


@pytest.mark.parametrize("scale", [1e-3, 1e-8, 1e-30, 1e8])
def test_the_scale_of_a_loss_scales_the_gradient_of_the_steps_and_nothing_else(
    mode: str, scale: float, layer: Layer
) -> None:
    if mode == "adjoint":
        pytest.skip("its tolerances have a scale: the next test")
    z0 = z_start()
    found, evaluations = [], set()
    for factor in (1.0, scale):
        solution = integrate(layer, z0, (0.0, 0.7, 1.3), solver_for(mode, rtol=1e-5, atol=1e-5))
        loss = factor * (loss_of(solution.state) + solution.states[1].sum())
        gradients = torch.autograd.grad(loss, [z0, *layer.parameters()])
        found.append([gradient / factor for gradient in gradients])
        evaluations.add(solution.statistics.nfe_backward)
    assert len(evaluations) == 1
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("scale", "is_said"), [(1.0, False), (1e-5, True), (1e-8, True)])
def test_an_adjoint_that_its_absolute_tolerance_swallows_says_so(scale: float, is_said: bool, layer: Layer) -> None:
    z0 = z_start()
    state = integrate(layer, z0, TIMES, solver_for("adjoint", rtol=1e-2, atol=1e-2)).state
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AdjointWarning)
        torch.autograd.grad(scale * loss_of(state), z0)
    sentences = [str(one.message) for one in said]
    assert any("smaller than its absolute tolerance of 0.01" in one for one in sentences) == is_said
    tight = integrate(layer, z0, TIMES, solver_for("adjoint", rtol=1e-6, atol=1e-6, adjoint_atol=1e-6 * scale)).state
    (found,) = torch.autograd.grad(scale * loss_of(tight), z0)
    exact = integrate(layer, z0, TIMES, solver_for("direct", rtol=1e-10, atol=1e-10)).state
    torch.testing.assert_close(found / scale, torch.autograd.grad(loss_of(exact), z0)[0], rtol=1e-4, atol=1e-4)


def test_a_loss_of_zero_has_gradients_of_zero(mode: str, layer: Layer) -> None:
    z0 = z_start()
    state = integrate(layer, z0, TIMES, solver_for(mode)).state
    for gradient in torch.autograd.grad((0 * state).sum(), [z0, *layer.parameters()]):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_loss_at_some_times_of_another_scale_than_at_others(mode: str, layer: Layer) -> None:
    z0 = z_start()
    solver = solver_for(mode)
    times = (0.0, 0.7, 1.3)
    weights = torch.tensor([0.0, 1e-6, 1.0], dtype=torch.float64).view(3, 1, 1)
    for factors in (weights, weights.flip(0)):
        found, expected = (
            torch.autograd.grad((factors * integrate(layer, z0, times, one).states).sum(), [z0, *layer.parameters()])
            for one in (solver, solver_for("direct", rtol=1e-10, atol=1e-10))
        )
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_adjoint_in_a_sentence(value: float, layer: Layer) -> None:
    solution = integrate(layer, z_start(), TIMES, solver_for("adjoint"))
    with pytest.raises(SolverFailure, match="the backward solve failed"):
        (value * solution.state).sum().backward()
    assert solution.statistics.status == Status.DIVERGED


# Fields without z, without parameters, without either

Function = Callable[[Tensor, Tensor], Tensor]


def test_a_field_without_z_in_it(mode: str) -> None:
    weight = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    z0 = z_start()
    check_gradients(mode, lambda t, z: (torch.sin(t) * weight).expand_as(z), z0, [z0, weight])


@pytest.mark.parametrize(
    "function",
    [
        lambda t, z: torch.sin(t) * torch.ones_like(z),
        lambda t, z: torch.sin(t) * z,
        lambda _t, z: z.detach() * 0.5,
        lambda _t, z: torch.zeros_like(z),
    ],
)
def test_a_field_without_parameters_has_the_gradient_of_its_start(mode: str, function: Function) -> None:
    z0 = z_start()
    check_gradients(mode, function, z0, [z0])


def test_parameters_that_the_field_does_not_use_have_no_gradient_or_one_of_zero(mode: str) -> None:
    field = nn.Module()
    field.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    field.forward = lambda t, z: -z * torch.cos(t)  # type: ignore[method-assign]
    z0 = z_start()
    integrate(field, z0, TIMES, solver_for(mode)).state.sum().backward()
    assert field.unused.grad is None or torch.equal(field.unused.grad, torch.zeros(2, dtype=torch.float64))


def test_a_start_that_wants_no_gradient_leaves_those_of_the_parameters(mode: str, layer: Layer) -> None:
    check_gradients(mode, layer, z_start().detach(), list(layer.parameters()))


def test_nothing_that_wants_a_gradient_gives_a_state_that_has_none(mode: str) -> None:
    state = integrate(lambda _t, z: -z, z_start().detach(), TIMES, solver_for(mode)).state
    assert not state.requires_grad


# What statistics say afterwards


class Turns(nn.Module):
    """Tame, until told to come to no number."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(-0.5, dtype=torch.float64))
        self.is_wild = False

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return self.rate * z * (math.nan if self.is_wild else 1.0)


def test_the_status_after_a_failed_backward_solve_tells_of_it() -> None:
    field = Turns()
    solution = integrate(field, z_start(), TIMES, solver_for("adjoint"))
    field.is_wild = True
    with pytest.raises(SolverFailure, match="the backward solve failed"):
        solution.state.sum().backward()
    assert solution.statistics.status == Status.DIVERGED
    assert (solution.statistics.nfe_backward or 0) > 0
    assert field.rate.grad is None


@pytest.mark.parametrize("chosen", ["checkpointed", "recursive", "sample"])
def test_a_step_that_comes_out_as_no_number_when_it_is_built_again_is_refused(chosen: str) -> None:
    field = Turns()
    solution = integrate(field, z_start(), TIMES, solver_for(chosen))
    field.is_wild = True
    with pytest.raises(OdenetError, match="came out differently"):
        solution.state.sum().backward()
    assert solution.statistics.status == Status.DIVERGED
    assert field.rate.grad is None


def test_a_failed_forward_solve_leaves_no_gradient_and_says_where(mode: str) -> None:
    field = Growth(1.0)
    with pytest.raises(SolverFailure, match=r"failed at t = 0\.") as failed:
        integrate(lambda t, z: field(t, z) * z.abs() * 10, z_start(), TIMES, solver_for(mode))
    assert failed.value.status in (Status.DIVERGED, Status.UNDERFLOW)
    assert field.rate.grad is None
