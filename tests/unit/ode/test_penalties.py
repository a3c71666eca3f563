"""Penalties on how a field moves its state: closed forms, solves that stay as they are, gradients in every mode."""

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import NetworkConfig, RegularisationConfig, SolverConfig
from pipeline.models import build_model
from pipeline.ode import ODEBlock, RootMeanSquare, integrate
from pipeline.ode.counts import ode_blocks
from pipeline.ode.penalties import random_signs, rates, second_derivative, squared_norm, with_product
from pipeline.ode.regularisation import regularise, take_penalties, weighted_penalty
from tests.helpers.ode_fields import EXACT, Convolved, Field
from tests.helpers.ode_modes import random_tensor, solver_for

ALL = RegularisationConfig(kinetic=0.3, jacobian=0.2, curvature=0.1)
WHOLE_GRAPH = SolverConfig(gradient="direct")


class Linear(nn.Module):
    """dz/dt = z Aᵀ."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(random_tensor(3, 3))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return z @ self.matrix.T


class Oscillating(nn.Module):
    """dz/dt = cos(t) z, its cosine computed as weights that depend on time are."""

    def at_times(self, times: Tensor) -> Tensor:
        return times.cos()

    def forward(self, t: Tensor, z: Tensor, cosine: Tensor) -> Tensor:  # noqa: ARG002
        return cosine.view(-1, 1) * z if cosine.dim() else cosine * z


def start() -> Tensor:
    return torch.tensor([[0.3, -0.8, 0.5], [2.0, 1.5, -3.0]], dtype=torch.float64)


def penalties_of(
    field: nn.Module, solver: SolverConfig = EXACT, regularisation: RegularisationConfig = ALL
) -> tuple[Tensor, dict[str, Tensor]]:
    """The state at the end, of float64, and the penalties of a solve in training, whose probes the seed 0 draws."""
    block = ODEBlock(field, 1.0, solver)
    block.regularise(regularisation)
    torch.manual_seed(0)
    return block(start()), take_penalties(block)


def integral(function: Callable[[float], Tensor], nodes: int = 2001) -> Tensor:
    """Over [0, 1], by Simpson's rule."""
    values = torch.stack([function(t) for t in torch.linspace(0, 1, nodes, dtype=torch.float64).tolist()])
    weights = torch.ones(nodes, dtype=torch.float64)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return (weights[:, None] * values).sum(0) / (3 * (nodes - 1))


# Values


def test_of_a_linear_field_the_penalties_are_those_of_the_matrix_exponential() -> None:
    field = Linear()
    _, found = penalties_of(field)
    a = field.matrix.detach()

    def moved(t: float) -> Tensor:
        return start() @ torch.matrix_exp(t * a).T

    torch.manual_seed(0)
    probe = random_signs(start())
    torch.testing.assert_close(found["kinetic"], integral(lambda t: squared_norm(moved(t) @ a.T)), rtol=1e-6, atol=0)
    torch.testing.assert_close(found["jacobian"], squared_norm(probe @ a), rtol=1e-6, atol=0)
    twice = integral(lambda t: squared_norm(moved(t) @ a.T @ a.T))
    torch.testing.assert_close(found["curvature"], twice, rtol=1e-6, atol=0)


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_the_second_derivative_has_what_weights_of_time_add(control: Literal["batch", "sample"]) -> None:
    solver = SolverConfig(rtol=1e-9, atol=1e-9, max_steps=10_000, control=control)
    _, found = penalties_of(Oscillating(), solver)

    def acceleration(t: float) -> Tensor:
        return squared_norm(start() * math.exp(math.sin(t)) * (math.cos(t) ** 2 - math.sin(t)))

    torch.testing.assert_close(found["curvature"], integral(acceleration), rtol=1e-6, atol=0)


def test_the_second_derivative_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    field, t, z = Convolved().double(), torch.tensor(0.3, dtype=torch.float64), random_tensor(2, 6, 4, 4)
    slope, h = field(t, z), 1e-5
    difference = (field(t + h, z + h * slope) - field(t - h, z - h * slope)) / (2 * h)
    torch.testing.assert_close(second_derivative(field, t, z, slope), difference, rtol=1e-6, atol=1e-7)


def test_the_mean_over_probes_is_the_squared_norm_of_the_jacobian() -> None:
    field = Linear()
    z = torch.zeros(20_000, 3, dtype=torch.float64)
    torch.manual_seed(0)
    _, product = with_product(field, torch.zeros(()), z, random_signs(z))
    estimates = squared_norm(product).detach()
    standard_error = estimates.std() / math.sqrt(len(estimates))
    assert abs(estimates.mean() - field.matrix.detach().square().sum()) < 4 * standard_error


def test_a_field_that_does_not_depend_on_its_state_has_no_jacobian() -> None:
    _, found = penalties_of(Field(lambda _t, z: torch.ones_like(z)))
    assert found["jacobian"].tolist() == [0, 0]
    assert found["curvature"].tolist() == [0, 0]
    torch.testing.assert_close(found["kinetic"], torch.full((2,), 3.0, dtype=torch.float64))


def test_a_caller_that_has_the_product_already_gives_it() -> None:
    z, product = start(), 2 * start()
    found = rates(("jacobian",), lambda _t, z: z, torch.zeros(()), z, z, product)
    assert torch.equal(found["jacobian"], 4 * squared_norm(z))


# The solve stays what it is


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3", "rk4"])
def test_penalties_change_no_state_and_no_evaluation_of_a_solve(method: str) -> None:
    z = torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(1)).contiguous(
        memory_format=torch.channels_last
    )
    torch.manual_seed(0)
    block = ODEBlock(Convolved(), 1.0, SolverConfig(method=method, steps=3, rtol=1e-5, atol=1e-5, gradient="direct"))
    plain, without = block(z), block.statistics
    block.regularise(ALL)
    regularised, with_them = block(z), block.statistics
    assert torch.equal(regularised, plain)
    assert with_them.nfe_forward == without.nfe_forward
    assert with_them.attempts == without.attempts


@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
@pytest.mark.parametrize("solver", [{}, {"control": "sample"}, {"engine": "torchdiffeq"}], ids=str)
def test_penalties_change_no_evaluation_of_the_papers_networks(architecture: str, solver: dict[str, Any]) -> None:
    def evaluations(regularisation: RegularisationConfig) -> tuple[list[int], Tensor]:
        torch.manual_seed(0)
        model = NetworkConfig(architecture=architecture, channels=6)
        network = build_model(model, SolverConfig(**{"gradient": "checkpointed"} | solver), (1, 16, 16), 3)
        regularise(network, regularisation)
        scores = network(torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1)))
        return [block.statistics.nfe_forward for block in ode_blocks(network)], scores

    if solver.get("engine") == "torchdiffeq":
        solver = solver | {"gradient": "direct"}
    (counts, scores), (regularised, same_scores) = evaluations(RegularisationConfig()), evaluations(ALL)
    assert regularised == counts
    torch.testing.assert_close(same_scores, scores, rtol=1e-5, atol=1e-5)


def test_elements_that_are_left_out_count_beside_parts_as_they_do_alone() -> None:
    def field(_t: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"z": state["z"].sin(), "integral": state["z"].sum(1)}

    z = random_tensor(5, 3)
    alone = integrate(lambda _t, z: z.sin(), z, (0.0, 1.0), norm=RootMeanSquare(100)).statistics
    norm = RootMeanSquare(100, outside=("integral",))
    beside = integrate(field, {"z": z, "integral": z.new_zeros(5)}, (0.0, 1.0), norm=norm).statistics
    assert [step.dt for step in beside.attempts] == pytest.approx([step.dt for step in alone.attempts], rel=1e-12)


def test_an_evaluation_computes_no_penalties_and_ends_at_the_end_time() -> None:
    block = ODEBlock(Field(lambda _t, z: torch.ones_like(z)), 1.0, SolverConfig()).eval()
    block.regularise(RegularisationConfig(kinetic=1, end_time_spread=0.5))
    z = torch.zeros(2, 3)
    before = torch.get_rng_state()
    torch.testing.assert_close(block(z), torch.ones(2, 3))
    assert take_penalties(block) == {}
    assert torch.equal(torch.get_rng_state(), before)


def test_without_regularisation_training_draws_no_random_numbers() -> None:
    block = ODEBlock(Convolved(), 1.0, WHOLE_GRAPH)
    block.regularise(RegularisationConfig())
    before = torch.get_rng_state()
    block(torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), before)
    assert take_penalties(block) == {}


def test_the_probe_is_the_same_throughout_a_solve_and_another_in_the_next() -> None:
    block = ODEBlock(Convolved(), 1.0, WHOLE_GRAPH)
    block.regularise(RegularisationConfig(jacobian=1))
    (penalised,) = block._penalised
    seen: list[Tensor] = []
    penalised.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[-1].clone()))
    z = torch.randn(2, 6, 4, 4)
    block(z)
    evaluations = len(seen)
    assert evaluations > 6
    assert all(torch.equal(probe, seen[0]) for probe in seen)
    assert set(seen[0].unique().tolist()) == {-1.0, 1.0}
    block(z)
    assert not torch.equal(seen[evaluations], seen[0])


def test_training_ends_at_times_that_are_drawn_around_the_end_time() -> None:
    block = ODEBlock(Field(lambda _t, z: torch.ones_like(z)), 1.0, SolverConfig())
    block.regularise(RegularisationConfig(end_time_spread=0.25))
    torch.manual_seed(0)
    ends = torch.stack([block(torch.zeros(1, 1)).squeeze() for _ in range(400)])
    assert 0.75 <= ends.min() < 0.76
    assert 1.24 < ends.max() <= 1.25
    assert abs(ends.mean() - 1) < 4 * 0.25 / math.sqrt(3 * 400)


# Gradients


def test_gradients_of_penalties_are_the_same_in_every_mode(mode: str) -> None:
    def gradients(mode: str) -> Tensor:
        torch.manual_seed(0)
        field = Convolved().double()
        block = ODEBlock(field, 1.3, solver_for(mode))
        block.regularise(ALL)
        z = random_tensor(2, 6, 3, 3).requires_grad_()
        torch.manual_seed(1)
        end = block(z)
        penalty = weighted_penalty(take_penalties(block), ALL)
        assert penalty is not None
        found = torch.autograd.grad(end.square().mean() + penalty, [z, *field.parameters()])
        return torch.cat([gradient.flatten() for gradient in found])

    expected, found = gradients("direct"), gradients(mode)
    # Samples with steps of their own have the quadratures of those.
    within = {"adjoint": 1e-4, "sample": 1e-4}.get(mode, 1e-9)
    assert (found - expected).norm() <= within * expected.norm()


def test_gradients_of_a_penalty_are_those_of_finite_differences() -> None:
    field = Linear()
    solver = SolverConfig(method="rk4", steps=4, gradient="direct")

    def penalty() -> Tensor:
        found = weighted_penalty(penalties_of(field, solver)[1], ALL)
        assert found is not None
        return found

    (gradient,) = torch.autograd.grad(penalty(), field.matrix)
    h = 1e-6
    with torch.no_grad():
        field.matrix[0, 1] += h
        above = penalty()
        field.matrix[0, 1] -= 2 * h
        below = penalty()
    torch.testing.assert_close(gradient[0, 1], (above - below) / (2 * h), rtol=1e-6, atol=0)


def test_penalties_are_summed_over_blocks_and_taken_once() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(*(ODEBlock(Convolved(), 1.0, WHOLE_GRAPH) for _ in range(2)))
    regularise(body, RegularisationConfig(kinetic=1))
    body(torch.randn(3, 6, 4, 4))
    apart = [block.penalties["kinetic"] for block in ode_blocks(body)]
    assert torch.equal(take_penalties(body)["kinetic"], apart[0] + apart[1])
    assert take_penalties(body) == {}
