"""Step control for every sample: each is solved as if it were alone, at a cost of its own."""

import copy
import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import ConfigError, NetworkConfig, SolverConfig
from pipeline.models import build_model
from pipeline.models.layers import Convolution
from pipeline.ode import SolverFailure, Statistics, Status, integrate
from pipeline.ode.counts import nfe_forward, nfe_per_sample, ode_blocks
from pipeline.ode.guard import RoundingWarning
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.ode_fields import (
    ADAPTIVE,
    OSCILLATION,
    Convolved,
    Field,
    Layer,
    gradients,
    reference,
    relative_error,
    start,
)


class Decays(nn.Module):
    """d(value, rate)/dt = (-rate value, 0): value(T) = value(0) exp(-rate T), as stiff as each sample says."""

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        value, rate = z.unbind(1)
        return torch.stack([-rate * value, torch.zeros_like(rate)], dim=1)


def decays(*rates: float) -> Tensor:
    return torch.tensor([[1.0 + k, rate] for k, rate in enumerate(rates)], dtype=torch.float64)


RATES = (0.0, 0.5, 30.0, 3.0, 400.0)


def by_sample(**options: object) -> SolverConfig:
    return SolverConfig(control="sample", **options)


def by_batch(**options: object) -> SolverConfig:
    return SolverConfig(gradient="checkpointed", **options)


@pytest.mark.parametrize("controller", ["i", "pi"])
@pytest.mark.parametrize("final_time", [0.4, 3.0])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_every_sample_takes_the_steps_that_it_takes_alone(method: str, final_time: float, controller: str) -> None:
    options = {"method": method, "controller": controller, "rtol": 1e-4, "atol": 1e-4, "max_steps": 5000}
    together = integrate(Decays(), decays(*RATES), (0.0, final_time), by_sample(**options))
    rejected = 0
    for z, state, own in zip(decays(*RATES), together.state, together.statistics.samples, strict=True):
        alone = integrate(Decays(), z[None], (0.0, final_time), by_batch(**options))
        assert own.nfe == alone.statistics.nfe_forward
        assert [step.accepted for step in own.attempts] == [step.accepted for step in alone.statistics.attempts]
        assert [step.dt for step in own.attempts] == pytest.approx([step.dt for step in alone.statistics.attempts])
        assert [step.t for step in own.attempts] == pytest.approx([step.t for step in alone.statistics.attempts])
        torch.testing.assert_close(state, alone.state[0], rtol=1e-12, atol=1e-12)
        rejected += alone.statistics.rejected
    assert together.statistics.rejected == rejected
    assert rejected > 0 or (method, controller) == ("heun", "pi")


@pytest.mark.parametrize("method", ADAPTIVE)
def test_every_sample_keeps_to_the_tolerance_of_the_closed_form(method: str) -> None:
    tolerance = 1e-6 if method == "heun" else 1e-9
    solver = by_sample(method=method, rtol=tolerance, atol=tolerance, max_steps=100_000)
    z0 = decays(*RATES[:4])
    exact = z0[:, 0] * torch.exp(-1.5 * z0[:, 1])
    assert (integrate(Decays(), z0, (0.0, 1.5), solver).state[:, 0] - exact).abs().max() < 100 * tolerance


def test_a_solve_ends_exactly_at_the_final_time_for_every_sample() -> None:
    statistics = integrate(Decays(), decays(*RATES), (0.0, 0.7), by_sample()).statistics
    for sample in statistics.samples:
        last = sample.attempts[-1]
        assert last.t + last.dt == pytest.approx(0.7, rel=1e-15)
        assert last.accepted


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_nothing_is_evaluated_for_samples_that_have_arrived(method: str) -> None:
    calls: list[int] = []

    def counted(t: Tensor, z: Tensor) -> Tensor:
        assert t.shape == (len(z), 1)
        calls.append(len(z))
        return Decays()(t, z)

    statistics = integrate(Field(counted), decays(*RATES), (0.0, 1.0), by_sample(method=method)).statistics
    counts = [sample.nfe for sample in statistics.samples]
    assert statistics.nfe_forward == len(calls)
    assert sum(calls) == sum(counts) < len(counts) * max(counts)
    assert calls[-1] < len(counts)


def test_the_statistics_sum_over_the_samples_and_tell_the_steps_of_the_hardest() -> None:
    statistics = integrate(Decays(), decays(*RATES), (0.0, 1.0), by_sample()).statistics
    samples = statistics.samples
    accepted = [sum(step.accepted for step in sample.attempts) for sample in samples]
    assert statistics.accepted == sum(accepted)
    assert statistics.accepted + statistics.rejected == sum(len(sample.attempts) for sample in samples)
    assert statistics.attempts == samples[RATES.index(400.0)].attempts
    ratios = [step.error_ratio for sample in samples for step in sample.attempts if step.accepted]
    assert statistics.largest_error_ratio() == max(ratios)
    assert integrate(Decays(), decays(*RATES), (0.0, 1.0), SolverConfig()).statistics.samples == []


# What the batch norm of the error couples


def solved(field: nn.Module, z0: Tensor, solver: SolverConfig) -> tuple[Tensor, Tensor, list[Tensor], Statistics]:
    with torch.no_grad():
        state = integrate(field, z0, (0.0, 1.0), solver).state
    return state, *gradients(field, z0, solver)


@pytest.fixture
def convolved() -> tuple[nn.Module, Tensor]:
    """A field in float64 and states of very different size, some of which reject steps."""
    field, z0, *_ = reference()
    scales = torch.tensor([0.01, 1.0, 5.0, 40.0], dtype=torch.float64).view(4, 1, 1, 1)
    return copy.deepcopy(field).double(), z0.double() * scales


def evaluations(statistics: Statistics) -> list[int]:
    return [sample.nfe for sample in statistics.samples]


TIGHT = {"rtol": 1e-6, "atol": 1e-6}


def test_neither_company_nor_order_changes_a_sample(convolved: tuple[nn.Module, Tensor]) -> None:
    field, z0 = convolved
    state, by_state, _, statistics = solved(field, z0, by_sample(**TIGHT))
    assert len(set(evaluations(statistics))) > 1
    for chosen in ([3, 2, 1, 0], [2], [0, 2], [1, 1, 3]):
        again, by_state_again, _, statistics_again = solved(field, z0[chosen], by_sample(**TIGHT))
        torch.testing.assert_close(again, state[chosen], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(by_state_again, by_state[chosen], rtol=1e-11, atol=1e-11)
        assert evaluations(statistics_again) == [evaluations(statistics)[k] for k in chosen]


def test_with_one_step_size_a_batch_does_change_its_samples(convolved: tuple[nn.Module, Tensor]) -> None:
    field, z0 = convolved
    together, alone = (integrate(field, z, (0.0, 1.0), by_batch()).state[0] for z in (z0, z0[:1]))
    assert (together - alone).abs().max() > 1e-9


def test_the_gradient_of_the_parameters_is_the_sum_of_the_samples(convolved: tuple[nn.Module, Tensor]) -> None:
    field, z0 = convolved
    _, together, _ = gradients(field, z0, by_sample(**TIGHT))
    alone = [gradients(field, z0[k : k + 1], by_batch(**TIGHT))[1] for k in range(len(z0))]
    for whole, *shares in zip(together, *alone, strict=True):
        torch.testing.assert_close(whole, torch.stack(shares).sum(0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_batch_of_one_is_solved_and_differentiated_as_with_one_step_size_to_the_bit(method: str) -> None:
    field, z0, *_ = reference()
    options = {"method": method, "rtol": 1e-4, "atol": 1e-4, "max_steps": 5000}
    own = solved(field, z0[:1], by_sample(**options))
    shared = solved(field, z0[:1], by_batch(**options))
    assert torch.equal(own[0], shared[0])
    assert torch.equal(own[1], shared[1])
    assert all(map(torch.equal, own[2], shared[2]))
    counts = [(s.nfe_forward, s.nfe_backward, s.accepted, s.rejected, s.attempts) for s in (own[3], shared[3])]
    assert counts[0] == counts[1]


# Gradients


@pytest.mark.parametrize("method", ADAPTIVE)
def test_gradients_are_those_of_the_steps(method: str) -> None:
    torch.manual_seed(0)
    layer = Layer()
    # Two steps of 0.6 whatever the state: no step size depends on what is differentiated.
    solver = by_sample(method=method, rtol=0.1, atol=0.1)
    z0 = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3).requires_grad_()

    def end(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        layer.linear.weight, layer.linear.bias = weight, bias
        solution = integrate(layer, z, (0.0, 1.2), solver, first_dt=0.6)
        assert [step.dt for step in solution.statistics.samples[1].attempts] == pytest.approx([0.6, 0.6])
        return solution.state

    weight, bias = layer.linear.weight, layer.linear.bias
    assert torch.autograd.gradcheck(lambda z: end(z, weight, bias), z0)


def test_gradients_agree_with_a_tight_reference() -> None:
    field, z0, state_reference, parameter_references = reference()
    by_state, by_parameters, statistics = gradients(field, z0, by_sample(rtol=1e-6, atol=1e-6))
    assert relative_error(by_state, state_reference) < 1e-4
    scale = torch.cat([exact.flatten() for exact in parameter_references]).norm()
    for value, exact in zip(by_parameters, parameter_references, strict=True):
        assert (value.double() - exact).norm() < 1e-4 * scale
    assert statistics.nfe_backward is not None
    assert statistics.nfe_backward % 6 == 0
    assert statistics.nfe_backward > 0


class Explodes(nn.Module):
    """dz/dt = -scale sinh(z): beyond what a float can hold where a step from a large z is too long."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return -self.scale * torch.sinh(z)


def test_a_rejected_step_that_overflows_leaves_nothing_behind() -> None:
    z0 = torch.tensor([[0.1], [12.0], [0.3]], dtype=torch.float64, requires_grad=True)
    field = Explodes()
    solution = integrate(field, z0, (0.0, 1.0), by_sample(), first_dt=0.5)
    first = [sample.attempts[0] for sample in solution.statistics.samples]
    assert [step.accepted for step in first] == [True, False, True]
    assert math.isnan(first[1].error_ratio)
    solution.state.sum().backward()
    assert z0.grad is not None
    assert field.scale.grad is not None
    assert torch.isfinite(z0.grad).all()
    exact = 2 * torch.atanh(torch.tanh(z0.detach() / 2) * math.exp(-1))  # as the reference: sinh'(z) dz(0)
    torch.testing.assert_close(solution.state.detach(), exact, rtol=1e-2, atol=1e-3)
    shares = []
    for k in range(3):
        alone = Explodes()
        integrate(alone, z0.detach()[k : k + 1], (0.0, 1.0), by_batch(), first_dt=0.5).state.sum().backward()
        assert alone.scale.grad is not None
        shares.append(alone.scale.grad)
    torch.testing.assert_close(field.scale.grad, torch.stack(shares).sum())


def test_a_second_derivative_is_refused_and_a_retained_graph_gives_the_same_again() -> None:
    z0 = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    total = integrate(Explodes(), z0, (0.0, 1.0), by_sample()).state.sum()
    once, again = (torch.autograd.grad(total, z0, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, again)
    with pytest.raises(OdenetError, match="cannot be differentiated again"):
        torch.autograd.grad(total, z0, create_graph=True)


def test_a_field_that_draws_random_numbers_is_differentiated_never_and_solved_where_it_draws_none() -> None:
    field = nn.Sequential()
    field.add_module("inner", Convolved())
    dropout = nn.Dropout(0.2)
    field.forward = lambda t, z: dropout(field.inner(t, z))  # type: ignore[method-assign]
    field.add_module("dropout", dropout)
    z0 = torch.randn(3, 6, 4, 4)
    with pytest.raises(InvalidInput, match=r"draws random numbers .* use control=batch"):
        integrate(field, z0, (0.0, 1.0), by_sample(rtol=1, atol=1))
    field.eval()
    integrate(field, z0, (0.0, 1.0), by_sample()).state.sum().backward()
    assert field.inner.convolution.weight.grad is not None


def test_batch_statistics_are_refused_in_training_and_harmless_in_evaluation() -> None:
    torch.manual_seed(0)
    normalisation = nn.BatchNorm2d(3)
    field = Field(lambda t, z: torch.tanh(normalisation(z)) * torch.cos(t))
    field.add_module("normalisation", normalisation)
    z0 = torch.randn(4, 3, 5, 5)
    with pytest.raises(InvalidInput, match=r"normalises over its batch.*use group normalisation"):
        integrate(field, z0, (0.0, 1.0), by_sample())
    field.eval()
    together, alone = (integrate(field, z, (0.0, 1.0), by_sample()).state for z in (z0, z0[2:3]))
    torch.testing.assert_close(together[2:3], alone)


# Fields and states


def test_a_field_with_a_time_channel_sees_each_samples_own_time() -> None:
    torch.manual_seed(0)
    layer = Convolution(4, 4, time_channel=True).double()
    field = Field(lambda t, z: torch.tanh(layer(5 * t, z)))
    scales = torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64).view(3, 1, 1, 1)
    z0 = torch.randn(3, 4, 5, 5, dtype=torch.float64) * scales
    together = integrate(field, z0, (0.0, 2.0), by_sample(**TIGHT))
    assert len(set(evaluations(together.statistics))) > 1
    for k in range(3):
        alone = integrate(field, z0[k : k + 1], (0.0, 2.0), by_batch(**TIGHT))
        torch.testing.assert_close(together.state[k], alone.state[0], rtol=1e-12, atol=1e-12)


def test_a_state_without_other_dimensions_is_a_batch_of_numbers_and_a_single_number_is_refused() -> None:
    solution = integrate(OSCILLATION, start(), (0.0, 1.0), by_sample(**TIGHT))
    torch.testing.assert_close(solution.state, start() * math.exp(math.sin(1)), rtol=1e-5, atol=1e-5)
    assert len(solution.statistics.samples) == len(start())
    with pytest.raises(InvalidInput, match="first dimension is the batch"):
        integrate(OSCILLATION, torch.ones(()), (0.0, 1.0), by_sample())


def test_a_field_that_hands_its_state_back_is_not_written_into() -> None:
    z0 = torch.tensor([[1.0], [50.0]], dtype=torch.float64)
    for method in ADAPTIVE:
        before = z0.clone()
        state = integrate(Field(lambda _t, z: z), z0, (0.0, 1.0), by_sample(method=method, **TIGHT)).state
        torch.testing.assert_close(state, before * math.e, rtol=1e-4, atol=1e-4)
        assert torch.equal(z0, before)


@pytest.mark.parametrize("body_options", [{}, {"time_weights": "channel"}, {"architecture": "gladzik", "blocks": 2}])
def test_a_network_trains_with_samples_solved_apart(body_options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = build_model(NetworkConfig(channels=8, **body_options), by_sample(), (1, 8, 8), outputs=3)
    network(torch.rand(5, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    counts = nfe_per_sample(network)
    assert counts is not None
    assert len(counts) == 5
    assert min(counts) >= 8 * len(ode_blocks(network))
    assert (nfe_forward(network) or 0) >= max(counts)


def test_bfloat16_in_the_field_comes_near_and_is_warned_of_where_it_decides() -> None:
    field, z0, *_ = reference()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = gradients(field, z0, by_sample())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = gradients(field, z0, by_sample())
        with pytest.warns(RoundingWarning, match="the field is rounded to bfloat16"):
            integrate(field, z0, (0.0, 1.0), by_sample(rtol=1e-6, atol=1e-6))
    assert rounded[0].dtype == torch.float32
    assert relative_error(rounded[0], exact[0]) < 0.05


# Failures and refusals


def test_the_sample_that_fails_is_named_with_its_own_numbers() -> None:
    z0 = decays(0.5, 2000.0, 0.1, 5000.0)
    with pytest.raises(SolverFailure) as failed:
        integrate(Decays(), z0, (0.0, 1.0), by_sample(max_steps=12))
    with pytest.raises(SolverFailure) as alone:
        integrate(Decays(), z0[3:], (0.0, 1.0), by_batch(max_steps=12))
    failure = failed.value
    assert (failure.status, failure.sample) == (Status.STEP_LIMIT, 3)  # of the two, the one that came less far
    assert failure.to_dict() == pytest.approx(alone.value.to_dict() | {"sample": 3})
    assert "solve of sample 3 of the batch failed at t = " in str(failure)
    assert "sample" not in alone.value.to_dict()


def test_whether_a_sample_is_out_of_steps_does_not_depend_on_where_the_others_take_theirs() -> None:
    """One is difficult before a knot, the other behind it: each waits there for the other."""
    rates = torch.tensor([[40.0, 1.0], [1.0, 40.0]], dtype=torch.float64)
    z0 = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(2, 2)

    def turns(t: Tensor, z: Tensor, rate: Tensor) -> Tensor:
        return torch.where(t < 1, rate[:, :1], rate[:, 1:]) * torch.stack([z[:, 1], -z[:, 0]], 1)

    def most(rows: slice, limit: int) -> int:
        solver = by_sample(rtol=1e-4, atol=1e-4, max_steps=limit)
        solution = integrate(turns, z0[rows], (0.0, 2.0), solver, context=(rates[rows],), knots=(1.0,))
        return len(solution.statistics.attempts)

    needed = max(most(slice(0, 1), 1000), most(slice(1, 2), 1000))
    assert most(slice(0, 2), needed) == needed
    with pytest.raises(SolverFailure, match="the step limit was reached"):
        most(slice(0, 2), needed - 1)


@pytest.mark.parametrize(
    ("function", "status"),
    [
        (lambda _t, z: z * math.nan, Status.DIVERGED),
        (lambda t, z: torch.where(t > 0.5, z * math.inf, z), Status.DIVERGED),
        (lambda _t, z: z.square(), Status.UNDERFLOW),
    ],
)
def test_one_sample_that_cannot_go_on_fails_as_it_does_alone(function: object, status: Status) -> None:
    def of_the_second(t: Tensor, z: Tensor) -> Tensor:
        return torch.where(z >= 2, function(t, z), torch.zeros_like(z))  # type: ignore[operator]

    with pytest.raises(SolverFailure) as failed:
        integrate(Field(of_the_second), torch.tensor([[1.0], [2.0], [1.0]]), (0.0, 1.0), by_sample())
    with pytest.raises(SolverFailure) as alone:
        integrate(Field(of_the_second), torch.tensor([[2.0]]), (0.0, 1.0), by_batch())
    assert (failed.value.sample, failed.value.status) == (1, status)
    assert failed.value.to_dict() == pytest.approx(alone.value.to_dict() | {"sample": 1}, nan_ok=True)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"engine": "torchdiffeq"}, "solver.engine is torchdiffeq, .* use odenet"),
        ({"method": "rk4"}, "solver.method is rk4, .* use an adaptive method"),
        ({"gradient": "adjoint"}, "solver.gradient is adjoint, .* use auto or checkpointed"),
        ({"gradient": "direct"}, "solver.gradient is direct, .* use auto or checkpointed"),
        ({"reuse_first_step": True}, "solver.reuse_first_step is True, .* use False"),
    ],
)
def test_what_samples_cannot_have_is_refused_with_a_remedy(options: dict[str, object], remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"^{remedy}.*, or solver.control=batch$"):
        by_sample(**options)


def test_batch_normalisation_is_refused_for_a_training_before_it_begins() -> None:
    chosen = {"solver": {"control": "sample"}, "model": {"normalisation": "batch"}}
    with pytest.raises(ConfigError, match=r"^model.normalisation is batch, .* use model.normalisation=group or none"):
        ClassificationConfig.from_dict(chosen)
    ClassificationConfig.from_dict(chosen | {"model": {"normalisation": "batch", "body": "resnet"}})
