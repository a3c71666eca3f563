"""Hutchinson's noise: the same throughout a solve, new for the next, and right on average."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import SolverConfig
from pipeline.flows import Flow, MLPField, estimate_deviation
from tests.helpers.flow_fields import Linear, OfAUser, strengthened


class Spy(MLPField):
    """Notes the tangents that it is given."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension, width=8)
        self.seen: list[Tensor] = []

    def with_tangents(self, t: Tensor, z: Tensor, tangents: Tensor, of_time: Any = None) -> tuple[Tensor, Tensor]:
        self.seen.append(tangents.detach().clone())
        return super().with_tangents(t, z, tangents, of_time)


@pytest.mark.parametrize("gradient", ["direct", "checkpointed", "recursive", "adjoint"])
def test_the_noise_is_the_same_throughout_a_solve(gradient: str) -> None:
    torch.manual_seed(0)
    field = Spy(4)
    flow = Flow(field, solver=SolverConfig(rtol=1e-5, atol=1e-5, gradient=gradient), dimension=4, trace="hutchinson")
    x = torch.randn(6, 4)
    for _ in range(2):
        field.seen.clear()
        flow.log_prob(x).value.sum().backward()
        assert len(field.seen) > 7
        assert all(torch.equal(tangents, field.seen[0]) for tangents in field.seen)
        last = field.seen[0]
    field.seen.clear()
    flow.log_prob(x)
    assert not torch.equal(field.seen[0], last)


def test_each_sample_keeps_its_noise_where_it_has_steps_of_its_own() -> None:
    torch.manual_seed(0)
    field = Linear(torch.randn(4, 4).double())
    solver = SolverConfig(rtol=1e-9, atol=1e-9)
    flow = Flow(field, solver=solver, dimension=4, trace="hutchinson").double()
    x = torch.randn(6, 4, dtype=torch.float64) * torch.tensor([[0.1, 1, 1, 1, 1, 30]]).mT.double()
    expected = flow.log_prob(x, generator=torch.Generator().manual_seed(0)).value
    own = flow.with_solver(SolverConfig(rtol=1e-9, atol=1e-9, control="sample"))
    found = own.log_prob(x, generator=torch.Generator().manual_seed(0)).value
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_generator_gives_the_same_estimate_again_and_leaves_torchs_alone() -> None:
    torch.manual_seed(0)
    flow, x = Flow(MLPField(5), dimension=5), torch.randn(6, 5)
    before = torch.get_rng_state()
    first, second = (flow.log_prob(x, generator=torch.Generator().manual_seed(1)).value for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("noise", ["rademacher", "gaussian"])
@pytest.mark.parametrize("build", [lambda: MLPField(4, width=8), lambda: OfAUser(4)])
def test_estimated_log_densities_and_their_gradients_are_right_on_average(build: Any, noise: str) -> None:
    torch.manual_seed(0)
    flow = Flow(strengthened(build()).double(), dimension=4, trace="hutchinson", noise=noise).double()
    exact = Flow(flow.field, dimension=4, trace="exact").double()
    draws, x = 4096, torch.randn(1, 4, dtype=torch.float64)
    together = x.expand(draws, -1).clone().requires_grad_()
    values = flow.log_prob(together, generator=torch.Generator().manual_seed(2)).value
    (gradients,) = torch.autograd.grad(values.sum(), together)
    point = x.clone().requires_grad_()
    value = exact.log_prob(point).value
    (gradient,) = torch.autograd.grad(value.sum(), point)
    assert float((values.mean() - value).abs()) < 4 * float(values.std()) / draws**0.5
    errors = gradients.std(0) / draws**0.5
    assert bool(((gradients.mean(0) - gradient[0]).abs() < 4 * errors).all())


@pytest.mark.parametrize("probes", [1, 4])
def test_the_deviation_of_an_estimate_is_reported_and_falls_with_the_probes(probes: int) -> None:
    a = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flow = Flow(Linear(a), dimension=4, trace="hutchinson", probes=probes).double()
    symmetric = 0.5 * (a + a.mT)
    # Of signs: twice the squares of the symmetric part beside its diagonal.
    variance = 2 * (symmetric.square().sum() - symmetric.diagonal().square().sum()) / probes
    found = estimate_deviation(flow, torch.randn(400, 4, dtype=torch.float64), draws=8)
    assert found == pytest.approx(float(variance.sqrt()), rel=0.1)
    assert flow.training


def test_what_is_exact_has_no_deviation() -> None:
    flow = Flow(MLPField(5), dimension=5)
    assert flow.is_estimated
    assert estimate_deviation(flow, torch.randn(5, 5)) == 0.0
