"""The numbers beside a likelihood: each shows what it is to show, and would not otherwise."""

from math import isnan, pi

import pytest
import torch
from torch import Tensor

from pipeline.config import SolverConfig
from pipeline.flows import Flow, Gaussian, MLPField, PlanarField, integral, negative_log_likelihood
from pipeline.flows.check import integral_over
from tests.helpers.flow_fields import Linear


def bending(dimension: int, seed: int, final_time: float) -> Flow:
    """A flow that a loose solve gets wrong."""
    torch.manual_seed(seed)
    field = PlanarField(dimension, units=16)
    with torch.no_grad():
        field.layers[-1].weight.mul_(10)
        field.layers[-1].bias.mul_(10)
    return Flow(field, dimension=dimension, final_time=final_time)


def at(flow: Flow, tolerance: float) -> Flow:
    return flow.with_solver(SolverConfig(rtol=tolerance, atol=tolerance))


@pytest.fixture(scope="module")
def bent() -> Flow:
    return bending(1, seed=6, final_time=6.0)


@pytest.fixture(scope="module")
def points(bent: Flow) -> Tensor:
    return at(bent, 1e-6).sample(500, seed=1)


@pytest.mark.parametrize(("dimension", "seed", "final_time"), [(1, 6, 6.0), (2, 9, 5.0)])
def test_a_precise_density_integrates_to_one_and_a_loose_one_does_not(
    dimension: int, seed: int, final_time: float
) -> None:
    flow = bending(dimension, seed, final_time)
    points = at(flow, 1e-6).sample(500, seed=1)
    precise, loose = (integral(at(flow, tolerance), points) for tolerance in (1e-5, 1e-2))
    assert precise is not None
    assert loose is not None
    assert abs(precise.value - 1) < 1e-3
    assert abs(precise.change) < 1e-4
    assert abs(loose.value - 1) > 1e-2


def test_the_shift_is_the_distance_to_what_the_weights_say(bent: Flow, points: Tensor) -> None:
    exact = float(negative_log_likelihood(at(bent, 1e-7), points).detach())
    found = at(bent, 1e-2).check(points)
    assert abs(found.nll_shift) > 1e-2
    assert found.nll + found.nll_shift == pytest.approx(exact, abs=0.02 * abs(found.nll_shift) + 1e-4)
    precise = at(bent, 1e-5).check(points)
    assert abs(precise.nll_shift) < 1e-4
    assert precise.round_trip < 0.1 * found.round_trip
    assert precise.integral == pytest.approx(1, abs=1e-3)
    assert precise.evaluations == at(bent, 1e-5).log_prob(points).statistics.nfe_forward


def test_few_equal_steps_are_found_out(bent: Flow, points: Tensor) -> None:
    found = bent.with_solver(SolverConfig(method="rk4", steps=8)).check(points)
    exact = float(negative_log_likelihood(at(bent, 1e-7), points).detach())
    assert found.nll + found.nll_shift == pytest.approx(exact, abs=1e-4)
    assert abs(found.nll_shift) > 1e-3
    assert found.evaluations == 32


def test_a_flow_is_checked_as_it_evaluates_and_left_as_it_was() -> None:
    torch.manual_seed(0)
    flow, x = Flow(MLPField(5, width=8), dimension=5), torch.randn(20, 5)
    found = flow.check(x)
    assert flow.training
    assert flow.field.training
    assert next(flow.parameters()).dtype == torch.float32
    assert found.integral is None
    assert found.nll == pytest.approx(float(negative_log_likelihood(flow.eval(), x).detach()))  # exact, not an estimate


def test_both_tolerances_are_of_the_same_noise() -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 5)
    for noise in ("rademacher", "gaussian"):
        flow = Flow(MLPField(5, width=8), dimension=5, trace="hutchinson", noise=noise)
        assert abs(flow.check(x).nll_shift) < 1e-4


def test_the_grid_is_made_finer_where_the_density_is_narrow() -> None:
    narrow = Gaussian(2)
    with torch.no_grad():
        narrow.log_scales.copy_(torch.tensor([0.0, -2.5]))
        narrow.below[1, 0] = 1.0
    found = integral(narrow, torch.zeros(1, 2))
    assert found is not None
    assert found.value == pytest.approx(1, abs=1e-3)


def test_finer_grids_look_only_where_the_density_is(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, looked_at = Gaussian(2), []
    with torch.no_grad():
        narrow.log_scales.copy_(torch.tensor([0.0, -4.5]))
        narrow.below[1, 0] = 1.0
    log_prob = narrow.log_prob
    monkeypatch.setattr(
        narrow, "log_prob", lambda rows, **others: looked_at.append(len(rows)) or log_prob(rows, **others)
    )
    found = integral(narrow, torch.zeros(1, 2))
    assert found is not None
    assert found.value == pytest.approx(1, abs=1e-4)
    assert sum(looked_at) < 0.1 * (200**2 + 400**2 + 800**2)


def test_a_density_of_one_dimension_is_integrated_too() -> None:
    flow = Flow(Linear(torch.tensor([[1.0]])), dimension=1)
    found = flow.check(torch.linspace(-2, 2, 9)[:, None])
    assert found.integral == pytest.approx(1, abs=1e-4)


def test_an_integral_is_that_of_the_function() -> None:
    low, high = torch.tensor([0.0, 0.0]), torch.tensor([pi, 2.0])
    found = integral_over(lambda rows: torch.log(torch.sin(rows[:, 0])), low, high)
    assert found.value == pytest.approx(4, rel=1e-4)


def test_the_integral_of_what_is_no_number_somewhere_is_none_and_every_grid_is_looked_into() -> None:
    looked_at = []

    def log_density(rows: Tensor) -> Tensor:
        looked_at.append(len(rows))
        return torch.where(rows[:, 0] > 0.5, torch.nan, 0.0)

    assert isnan(integral_over(log_density, torch.zeros(2), torch.ones(2)).value)
    assert looked_at == [50**2, 100**2, 200**2, 400**2, 800**2]


def test_the_integral_of_an_estimated_trace_is_the_same_by_the_same_seed_and_draws_nothing_of_others() -> None:
    torch.manual_seed(0)
    flow = Flow(MLPField(2, 8, 2), dimension=2, trace="hutchinson").eval()
    x = torch.randn(50, 2)
    state = torch.get_rng_state()
    first, again = (integral(flow, x, seed=3) for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
