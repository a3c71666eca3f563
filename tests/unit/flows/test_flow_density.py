"""What a flow says of points: closed forms, other solvers, and the numbers that must not depend on anything else."""

import copy
from dataclasses import replace
from math import log, pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, StudentT

from pipeline.config import SolverConfig
from pipeline.flows import Flow, MLPField, Normal, PlanarField, negative_log_likelihood
from pipeline.flows.dynamics import BLOCK
from tests.helpers.flow_fields import Linear, OfAUser, strengthened

TIGHT = SolverConfig(rtol=1e-11, atol=1e-11, max_steps=10_000)
GRADIENTS = ("direct", "checkpointed", "recursive", "adjoint")


def matrix(dimension: int = 3) -> Tensor:
    return torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2


@pytest.mark.parametrize("final_time", [0.5, 2.0])
@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_linear_field_makes_the_gaussian_of_its_matrix_exponential(
    points: Tensor, final_time: float, control: str
) -> None:
    flow = Flow(Linear(matrix()), solver=replace(TIGHT, control=control), dimension=3, final_time=final_time)
    moved = torch.linalg.matrix_exp(final_time * matrix())
    expected = MultivariateNormal(torch.zeros(3, dtype=torch.float64), moved @ moved.mT)
    found = flow.log_prob(points).value
    torch.testing.assert_close(found, expected.log_prob(points), rtol=0, atol=1e-8)
    torch.testing.assert_close(flow(points), points @ moved.mT, rtol=0, atol=1e-8)
    torch.testing.assert_close(flow.inverse(points), points @ torch.linalg.inv(moved).mT, rtol=0, atol=1e-8)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_gradient_of_a_linear_fields_likelihood_is_that_of_the_matrix_exponential(
    points: Tensor, gradient: str
) -> None:
    flow = Flow(Linear(matrix()), solver=replace(TIGHT, gradient=gradient), dimension=3)
    negative_log_likelihood(flow, points).backward()
    wanted = matrix().requires_grad_()
    moved = torch.linalg.matrix_exp(wanted)
    (-MultivariateNormal(torch.zeros(3, dtype=torch.float64), moved @ moved.mT).log_prob(points).mean()).backward()
    torch.testing.assert_close(flow.field.matrix.grad, wanted.grad, rtol=0, atol=1e-7)


def test_likelihood_and_gradient_are_those_of_torchdiffeq(field: nn.Module, points: Tensor) -> None:
    from torchdiffeq import odeint

    flow = Flow(field, solver=replace(TIGHT, rtol=1e-9, atol=1e-9), dimension=3, trace="exact")
    loss = negative_log_likelihood(flow, points)
    ours = torch.autograd.grad(loss, list(field.parameters()))

    class Written(nn.Module):
        """The state, with a trace of as many backward passes."""

        def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            z = state[0].requires_grad_()
            slope = field(t, z)
            rows = [torch.autograd.grad(slope[:, k].sum(), z, create_graph=True)[0][:, k] for k in range(3)]
            return slope, -torch.stack(rows).sum(0)

    times = torch.tensor([1.0, 0.0], dtype=torch.float64)
    start = (points, torch.zeros(len(points), dtype=torch.float64))
    z, decrease = odeint(Written(), start, times, rtol=1e-9, atol=1e-9, method="dopri5")
    likelihood = -0.5 * z[-1].square().sum(1) - 1.5 * log(2 * pi) - decrease[-1]
    expected = -likelihood.mean()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-7)
    for mine, theirs in zip(ours, torch.autograd.grad(expected, list(field.parameters())), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_there_and_back_is_where_one_began() -> None:
    torch.manual_seed(0)
    flow = Flow(strengthened(MLPField(2)), dimension=2)
    x = torch.randn(200, 2)
    assert (flow(flow.inverse(x)) - x).abs().max() < 1e-3
    assert (flow.inverse(flow(x)) - x).abs().max() < 1e-3


def test_samples_and_their_density_come_of_one_solve(field: nn.Module) -> None:
    solver = SolverConfig(rtol=1e-9, atol=1e-9)
    flow = Flow(field, solver=solver, dimension=3).double()
    x, found = flow.rsample_and_log_prob(20, torch.Generator().manual_seed(0))
    assert x.requires_grad
    torch.testing.assert_close(found.value, flow.eval().log_prob(x).value, rtol=0, atol=1e-6)


def test_samples_are_those_of_their_seed() -> None:
    torch.manual_seed(0)
    flow = Flow(MLPField(2), dimension=2)
    assert torch.equal(flow.sample(5, seed=1), flow.sample(5, seed=1))
    assert not torch.equal(flow.sample(5, seed=1), flow.sample(5, seed=2))
    assert not flow.sample(5, seed=1).requires_grad


def test_a_trajectory_leads_from_the_data_back_to_the_base(field: nn.Module, points: Tensor) -> None:
    flow = Flow(field, solver=TIGHT, dimension=3)
    path = flow.trajectory(points, [0.0, 1.0, 0.4])
    torch.testing.assert_close(path[0], flow.inverse(points), rtol=0, atol=1e-8)
    assert torch.equal(path[1], points)
    shorter = Flow(field, solver=TIGHT, dimension=3, final_time=0.4)
    torch.testing.assert_close(shorter.inverse(path[2]), path[0], rtol=0, atol=1e-8)
    assert torch.equal(flow.trajectory(points, [1.0])[0], points)


def test_the_density_of_an_earlier_time_is_that_of_a_shorter_flow(field: nn.Module, points: Tensor) -> None:
    long, short = (Flow(field, solver=TIGHT, dimension=3, final_time=t) for t in (1.0, 0.4))
    generator = torch.Generator()
    found = long.log_prob(points, time=0.4, generator=generator.manual_seed(0)).value
    torch.testing.assert_close(found, short.log_prob(points, generator=generator.manual_seed(0)).value)


def test_the_density_at_the_start_is_that_of_the_base(points: Tensor) -> None:
    flow = Flow(Linear(matrix()), Normal(3, 0.5), dimension=3).double()
    expected = MultivariateNormal(torch.zeros(3).double(), 0.25 * torch.eye(3).double()).log_prob(points)
    torch.testing.assert_close(flow.log_prob(points, time=0.0).value, expected)


def test_the_base_may_be_a_distribution_of_torch(points: Tensor) -> None:
    heavy = torch.distributions.Independent(StudentT(torch.full((3,), 4.0, dtype=torch.float64)), 1)
    flow = Flow(Linear(torch.zeros(3, 3, dtype=torch.float64)), heavy, dimension=3)
    torch.testing.assert_close(flow.log_prob(points).value, heavy.log_prob(points))
    before = torch.get_rng_state()
    assert torch.equal(flow.sample(4, seed=3), flow.sample(4, seed=3))
    assert torch.equal(before, torch.get_rng_state())


FIELDS: dict[str, Any] = {
    "planar": lambda: PlanarField(2),
    "concatsquash": lambda: MLPField(2),
    "concat": lambda: MLPField(2, layer="concat"),
    "of a user": lambda: OfAUser(2),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", FIELDS)
def test_the_density_of_a_point_alone_is_that_in_a_batch_to_the_bit(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    flow = Flow(strengthened(FIELDS[kind]()).to(dtype), dimension=2).to(dtype).eval()
    x = torch.cat([torch.randn(BLOCK + 20, 2), torch.tensor([[30.0, -20.0]])]).to(dtype)
    own = flow.with_solver(SolverConfig(rtol=1e-5, atol=1e-5, control="sample"))
    with torch.no_grad():
        together = own.log_prob(x).value
        for rows in ([0], [7], [BLOCK + 3], [0, 1], list(range(3, 40)), [len(x) - 1]):
            assert torch.equal(own.log_prob(x[rows]).value, together[rows])
        # With one step for all, the point far out shortens those of the others.
        assert not torch.equal(flow.log_prob(x[:1]).value, flow.log_prob(x).value[:1])


def test_the_log_density_keeps_to_the_tolerance_in_many_dimensions() -> None:
    # Points near 0 hardly move while the divergence oscillates. As one of 65 numbers its error would count an eighth,
    # and it would be 0.018 here.
    class Breathing(nn.Module):
        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            return z * torch.cos(20 * t) * 10 / z.shape[1]

    x = torch.full((1, 64), 0.01, dtype=torch.float64)
    solver = SolverConfig(rtol=1e-12, atol=1e-3)
    flow = Flow(Breathing(), solver=solver, dimension=64, trace="exact").double()
    exact = -torch.sin(torch.tensor(20.0).double()) * 10 / 20
    change = flow.log_prob(x).value - flow.base.log_prob(flow.with_solver(TIGHT).inverse(x))
    assert abs((change - exact).item()) < 3e-3


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_penalties_are_integrals_along_the_path(points: Tensor, trace: str) -> None:
    a = matrix()
    plain = Flow(Linear(a), solver=TIGHT, dimension=3, trace=trace)
    flow = Flow(Linear(a), solver=TIGHT, dimension=3, trace=trace, penalties=["kinetic", "jacobian"], probes=1)
    with torch.no_grad():
        found = flow.log_prob(points, generator=torch.Generator().manual_seed(0)).penalties
        times = torch.linspace(0, 1, 401, dtype=torch.float64)
        path = plain.trajectory(points, times.tolist())
    kinetic = torch.trapezoid((path @ a.mT).square().sum(2), times, dim=0)
    torch.testing.assert_close(found["kinetic"], kinetic, rtol=1e-5, atol=1e-7)
    if trace == "exact":
        torch.testing.assert_close(found["jacobian"], a.square().sum().expand(5), rtol=1e-8, atol=0)
    else:
        draws = flow.log_prob(points[:1].expand(4096, 3)).penalties["jacobian"]
        assert abs(draws.mean() - a.square().sum()) < 4 * draws.std() / 64


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_penalties_change_no_step_of_given_weights(field: nn.Module, points: Tensor, control: str) -> None:
    solver = SolverConfig(rtol=1e-5, atol=1e-5, control=control)
    found = []
    for penalties in ([], ["kinetic"], ["kinetic", "jacobian"]):
        flow = Flow(field, solver=solver, dimension=3, trace="exact", penalties=penalties)
        log_prob = flow.log_prob(points)
        found.append((log_prob.value, log_prob.statistics.attempts, log_prob.statistics.nfe_forward))
        assert list(log_prob.penalties) == penalties
    for value, attempts, nfe in found[1:]:
        assert torch.equal(value, found[0][0])
        assert (attempts, nfe) == found[0][1:]


def test_penalties_are_added_by_their_factors(points: Tensor) -> None:
    flow = Flow(Linear(matrix()), solver=TIGHT, dimension=3, penalties=["kinetic"])
    plain, more = (negative_log_likelihood(flow, points, penalties=p) for p in ({}, {"kinetic": 0.1}))
    expected = 0.1 * flow.log_prob(points).penalties["kinetic"].mean()
    torch.testing.assert_close(more - plain, expected)


def test_an_exact_trace_is_exact_beside_a_penalty_on_the_jacobian() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 5, dtype=torch.float64)
    flow = Flow(MLPField(5, 8, 1), solver=TIGHT, dimension=5, trace="exact", penalties=["jacobian"]).double()
    found = [flow.log_prob(x, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert torch.equal(found[0].value, found[1].value)
    torch.testing.assert_close(found[0].value, flow.eval().log_prob(x).value)
    assert torch.equal(found[0].penalties["jacobian"], found[1].penalties["jacobian"])


def test_penalties_are_of_training_alone(points: Tensor) -> None:
    flow = Flow(Linear(matrix()), dimension=3, penalties=["kinetic"]).eval()
    assert flow.log_prob(points).penalties == {}


def test_another_solver_has_the_same_weights(points: Tensor) -> None:
    flow = Flow(Linear(matrix()), dimension=3)
    other = flow.with_solver(TIGHT)
    assert other.field is flow.field
    assert flow.solver.rtol == 1e-5
    assert other.log_prob(points).statistics.nfe_forward > flow.log_prob(points).statistics.nfe_forward


def test_a_flow_is_copied_and_loaded_as_any_module(points: Tensor) -> None:
    torch.manual_seed(0)
    flow = Flow(MLPField(3), dimension=3).double()
    before = flow.log_prob(points).value
    twin = copy.deepcopy(flow)
    assert torch.equal(twin.log_prob(points).value, before)
    with torch.no_grad():
        next(iter(twin.parameters())).add_(1)
    assert torch.equal(flow.log_prob(points).value, before)
    twin.load_state_dict(flow.state_dict())
    assert torch.equal(twin.log_prob(points).value, before)
    assert {name.split(".")[0] for name in flow.state_dict()} == {"field"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["planar", "concatsquash"])
@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_compiled_steps_have_the_likelihood_and_the_gradient_of_eager_ones(kind: str, trace: str) -> None:
    torch.manual_seed(0)
    field = strengthened(FIELDS[kind]())
    x, found = torch.randn(64, 2), []
    for batch in (None, 64):
        flow = Flow(field, dimension=2, trace=trace, penalties=["kinetic", "jacobian"])
        flow.compiled_batch = batch
        factors = {"kinetic": 0.1, "jacobian": 0.1}
        loss = negative_log_likelihood(flow, x, penalties=factors, generator=torch.Generator().manual_seed(0))
        found.append([loss, *torch.autograd.grad(loss, list(field.parameters()), allow_unused=True)])
    for eager, compiled in zip(*found, strict=True):
        if eager is not None:
            torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


def test_a_field_that_was_replaced_is_the_one_that_densities_are_of(points: Tensor) -> None:
    flow = Flow(Linear(matrix()), solver=TIGHT, dimension=3)
    before = flow.log_prob(points).value
    flow.field = Linear(-matrix())
    fresh = Flow(Linear(-matrix()), solver=TIGHT, dimension=3)
    torch.testing.assert_close(flow.log_prob(points).value, fresh.log_prob(points).value, rtol=0, atol=0)
    assert not torch.equal(before, flow.log_prob(points).value)
