"""Weights that depend on time, computed once a step; a context with rows of samples; knots where a field jumps."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import integrate
from pipeline.util.errors import InvalidInput
from tests.helpers.ode_fields import Field

MODES: dict[str, dict[str, Any]] = {
    "direct": {"gradient": "direct"},
    "auto": {"gradient": "auto"},
    "checkpointed": {"gradient": "checkpointed"},
    "recursive": {"gradient": "recursive"},
    "adjoint": {"gradient": "adjoint"},
    "sample": {"control": "sample"},
}
TIGHT = {"rtol": 1e-9, "atol": 1e-9, "max_steps": 10_000}
METHODS = ("dopri5", "tsit5", "dopri8", "bosh3", "kvaerno3")


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def rows() -> Tensor:
    return torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)


class Hypernetwork(nn.Module):
    """dz/dt = tanh(W(t) z), W(t) from a network of its own.

    Attributes:
        times_seen: shapes of the times that the network was called with.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 9)).double()
        self.times_seen: list[tuple[int, ...]] = []

    def at_times(self, times: Tensor) -> Tensor:
        self.times_seen.append(tuple(times.shape))
        weights: Tensor = self.network(times.unsqueeze(-1))
        return weights.view(*times.shape, 3, 3)

    def forward(self, t: Tensor, z: Tensor, weights: Tensor) -> Tensor:  # noqa: ARG002
        return torch.tanh(torch.einsum("...ij,bj->bi" if weights.dim() == 2 else "bij,bj->bi", weights, z))


class AtEveryStage(nn.Module):
    """The same field, whose weights are computed at every evaluation."""

    def __init__(self, field: Hypernetwork) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        weights = self.field.network(t.reshape(-1, 1)).view(-1, 3, 3)
        return self.field(t, z, weights if len(weights) > 1 else weights[0])


# ---- Weights that depend on time


@pytest.mark.parametrize(("method", "stages"), [("dopri5", 5), ("tsit5", 5), ("dopri8", 12), ("bosh3", 2)])
def test_the_weights_of_all_stages_of_a_step_are_computed_at_once(method: str, stages: int) -> None:
    """One call for the stages of a step, one for the slope at its end, which is the next one's first stage."""
    field = Hypernetwork()
    with torch.no_grad():
        statistics = integrate(field, rows(), (0.0, 2.0), SolverConfig(method=method, rtol=1e-5, atol=1e-5)).statistics
    tried = statistics.accepted + statistics.rejected
    assert field.times_seen.count((stages,)) == tried > 3
    # The first slope and that of the estimated first step, and one at each end.
    assert field.times_seen.count((1,)) == len(field.times_seen) - tried <= tried + 2


def test_the_weights_of_a_step_of_equal_steps_are_computed_at_once() -> None:
    field = Hypernetwork()
    with torch.no_grad():
        integrate(field, rows(), (0.0, 2.0), SolverConfig(method="rk4", steps=5))
    assert field.times_seen.count((3,)) == 5
    assert field.times_seen.count((1,)) == 5


def test_every_sample_has_the_weights_of_its_own_times() -> None:
    field = Hypernetwork()
    solver = SolverConfig(control="sample", rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        together = integrate(field, rows() * vector(1, 20)[:, None], (0.0, 0.5, 2.0), solver)
        assert {shape for shape in field.times_seen if shape[0] == 5} >= {(5, 2), (5, 1)}
        assert together.statistics.samples[0].nfe != together.statistics.samples[1].nfe
        for sample, scale in enumerate((1, 20)):
            z0 = (rows() * scale)[sample : sample + 1]
            alone = integrate(field, z0, (0.0, 0.5, 2.0), SolverConfig(rtol=1e-6, atol=1e-6))
            torch.testing.assert_close(together.states[:, sample], alone.states[:, 0], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    ("method", "mode"),
    [(method, mode) for method in METHODS for mode in MODES if (method, mode) != ("kvaerno3", "adjoint")],
)
def test_values_and_gradients_are_those_of_weights_computed_at_every_stage(method: str, mode: str) -> None:
    field, times = Hypernetwork(), (0.0, 0.4, 1.5)
    tolerances = {"rtol": 1e-6, "atol": 1e-6} if method in ("bosh3", "kvaerno3") else TIGHT
    found = {}
    for kind, one in (("once", field), ("each", AtEveryStage(field))):
        z0 = rows().requires_grad_()
        states = integrate(one, z0, times, SolverConfig(method=method, **MODES[mode], **tolerances)).states
        by_all = torch.autograd.grad(states.sin().sum(), [z0, *field.parameters()])
        found[kind] = (states.detach(), *by_all)
    # Other sums round otherwise, and steps of the adjoint follow what its state was rounded to.
    close = {"rtol": 1e-6, "atol": 1e-7} if mode == "adjoint" else {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(found["once"], found["each"], **close)


def test_modes_agree_about_weights_that_are_computed_once_a_step() -> None:
    field, found = Hypernetwork(), []
    for mode in ("direct", "auto", "checkpointed", "recursive"):
        z0 = rows().requires_grad_()
        states = integrate(field, z0, (0.0, 0.4, 1.5), SolverConfig(**MODES[mode], rtol=1e-4, atol=1e-4)).states
        found.append(torch.autograd.grad(states.sin().sum(), [z0, *field.parameters()]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=1e-13)


# ---- Context


class Conditioned(nn.Module):
    """Every sample is drawn to a point of its own, at a rate that all share."""

    def __init__(self) -> None:
        super().__init__()
        self.bend = nn.Parameter(vector(0.3, -0.2, 0.1))

    def forward(self, t: Tensor, z: Tensor, points: Tensor, rates: Tensor) -> Tensor:
        return rates * torch.tanh(points - z + self.bend * torch.cos(t))


@pytest.mark.parametrize("is_leaf", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_reach_the_context_and_what_it_was_made_of(mode: str, is_leaf: bool) -> None:
    """Against the graph of a solve at tight tolerance, in which the context is a plain closure."""
    field, times = Conditioned(), (0.0, 0.4, 1.5)
    seed = torch.linspace(0.5, 3, 6, dtype=torch.float64).view(2, 3).requires_grad_()
    rates = vector(0.5, 1.5)[:, None].requires_grad_()
    found = []
    for options in (MODES[mode], None):
        z0 = rows().requires_grad_()
        points = seed if is_leaf else (seed * 2).sin()
        if options is not None:
            solver = SolverConfig(**options, **TIGHT)
            states = integrate(field, z0, times, solver, context=(points, rates)).states
        else:
            plain = Field(lambda t, z, points=points: field(t, z, points, rates))
            states = integrate(plain, z0, times, SolverConfig(gradient="direct", **TIGHT)).states
        found.append((states.detach(), *torch.autograd.grad(states.sin().sum(), [z0, seed, rates, field.bend])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-8)


def test_a_sample_sees_its_own_rows_of_the_context_whoever_is_still_on_its_way() -> None:
    field = Conditioned()
    points, rates = torch.linspace(0.5, 3, 9, dtype=torch.float64).view(3, 3), vector(0.1, 30, 2)[:, None]
    z0 = torch.zeros(3, 3, dtype=torch.float64)
    solver = SolverConfig(control="sample", rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        together = integrate(field, z0, (0.0, 1.0, 2.0), solver, context=(points, rates))
        assert len({sample.nfe for sample in together.statistics.samples}) == 3
        for k in range(3):
            of_sample = (points[k : k + 1], rates[k : k + 1])
            alone = integrate(field, z0[:1], (0.0, 1.0, 2.0), SolverConfig(rtol=1e-6, atol=1e-6), context=of_sample)
            torch.testing.assert_close(together.states[:, k], alone.states[:, 0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_sees_its_own_rows_between_the_ends_of_its_steps(method: str) -> None:
    # Two times within one step of the sample that is slow: as many as there are samples.
    rates, times = vector(0.5, 20)[:, None], vector(0, 0.3, 0.35, 1)
    solver = SolverConfig(method=method, control="sample", rtol=1e-6, atol=1e-6)

    def decay(t: Tensor, z: Tensor, rate: Tensor) -> Tensor:
        return -rate * z * (1 + torch.sin(5 * t))

    states = integrate(decay, torch.ones_like(rates), times, solver, context=(rates,)).states
    exact = torch.exp(-rates.T * (times + (1 - torch.cos(5 * times)) / 5)[:, None])
    torch.testing.assert_close(states[..., 0], exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", ["direct", "checkpointed", "sample"])
def test_weights_of_time_and_a_context_go_together(mode: str) -> None:
    class Both(Hypernetwork):
        def forward(self, t: Tensor, z: Tensor, weights: Tensor, points: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(t, z - points, weights)

    field, points = Both(), rows().flip(0).requires_grad_()
    z0 = rows().requires_grad_()
    solver = SolverConfig(**MODES[mode], **TIGHT)
    state = integrate(field, z0, (0.0, 1.0), solver, context=(points,)).state
    found = torch.autograd.grad(state.sin().sum(), [z0, points])
    weights = AtEveryStage(Hypernetwork())
    plain = integrate(
        lambda t, z: weights(t, z - points), z0, (0.0, 1.0), SolverConfig(gradient="direct", **TIGHT)
    ).state
    torch.testing.assert_close(state, plain, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(found, torch.autograd.grad(plain.sin().sum(), [z0, points]), rtol=1e-6, atol=1e-7)


# ---- Knots

KNOTS = (0.3, 0.8, 1.1)


class Piecewise(nn.Module):
    """dz/dt = tanh(W_i z + b) cos(3t) with another W_i between any two knots."""

    def __init__(self, knots: Sequence[float] = KNOTS) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        draws = 3 * torch.randn(len(knots) + 1, 3, 3, generator=generator, dtype=torch.float64)
        self.weights = nn.Parameter(draws)
        self.register_buffer("knots", torch.tensor(knots, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        piece = torch.bucketize(t.detach().reshape(-1), self.knots)
        weights = self.weights[piece]
        return torch.tanh(torch.einsum("bij,bj->bi", weights.expand(len(z), 3, 3), z)) * torch.cos(3 * t)


class Piece(nn.Module):
    """One piece of it, smooth."""

    def __init__(self, field: Piecewise, number: int) -> None:
        super().__init__()
        self.field, self.number = field, number

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(z @ self.field.weights[self.number].T) * torch.cos(3 * t)


def piece_by_piece(field: Piecewise, z: Tensor, times: Sequence[float], solver: SolverConfig) -> Tensor:
    """The end of solves from knot to knot."""
    first, last = times[0], times[-1]
    inner = [knot for knot in KNOTS if min(first, last) < knot < max(first, last)]
    for begin, end in pairwise([first, *sorted(inner, reverse=last < first), last]):
        number = sum(knot < (begin + end) / 2 for knot in KNOTS)
        z = integrate(Piece(field, number), z, (begin, end), solver).state
    return z


@pytest.mark.parametrize("times", [(0.0, 1.5), (1.5, 0.0), (0.5, 0.9), (0.3, 1.1), (0.35, 0.7)])
@pytest.mark.parametrize("mode", MODES)
def test_a_solve_over_knots_is_the_solves_from_knot_to_knot(mode: str, times: tuple[float, float]) -> None:
    field, found = Piecewise(), []
    for kind in ("at once", "pieces"):
        z0 = rows().requires_grad_()
        if kind == "at once":
            solver = SolverConfig(**MODES[mode], **TIGHT)
            end = integrate(field, z0, times, solver, knots=KNOTS).state
        else:
            end = piece_by_piece(field, z0, times, SolverConfig(gradient="direct", **TIGHT))
        assert isinstance(end, Tensor)
        found.append((end.detach(), *torch.autograd.grad(end.sin().sum(), [z0, field.weights])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=3e-8)


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("method", METHODS)
def test_steps_end_at_knots_and_none_is_tried_over_one(method: str, control: str) -> None:
    field = Piecewise()
    tolerance = 1e-5
    solver = SolverConfig(method=method, control=control, rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        solution = integrate(field, rows(), (0.0, 0.9, 1.5), solver, knots=(*KNOTS, -1.0, 7.0))
        blind = integrate(field, rows(), (0.0, 1.5), solver)
        right = piece_by_piece(field, rows(), (0.0, 1.5), SolverConfig(**TIGHT))
    samples = solution.statistics.samples or [solution.statistics]
    for sample in samples:
        for attempt in sample.attempts:
            assert not any(attempt.t < knot - 1e-12 and attempt.t + attempt.dt > knot + 1e-12 for knot in KNOTS)
        ends = [attempt.t + attempt.dt for attempt in sample.attempts if attempt.accepted]
        assert all(min(abs(end - knot) for end in ends) < 1e-12 for knot in KNOTS)
    assert (solution.state - right).abs().max() < 30 * tolerance
    assert solution.statistics.rejected < blind.statistics.rejected
    assert solution.statistics.nfe_forward < blind.statistics.nfe_forward


def test_a_pulse_between_two_knots_is_not_stepped_over() -> None:
    """Its stages all miss it, and so the error estimate sees nothing: without knots the answer is 1, in two steps."""

    def pulse(t: Tensor, z: Tensor) -> Tensor:
        return torch.where((t > 0.41) & (t < 0.42), 100.0, 0.0) * z

    z0, solver = vector(1), SolverConfig(rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        blind = integrate(pulse, z0, (0.0, 1.0), solver, first_dt=0.4)
        told = integrate(pulse, z0, (0.0, 1.0), solver, knots=(0.41, 0.42), first_dt=0.4)
        back = integrate(pulse, z0, (1.0, 0.0), solver, knots=(0.41, 0.42), first_dt=0.4)
    assert float(blind.state) == pytest.approx(1)
    assert float(told.state) == pytest.approx(math.e, abs=30e-6)
    assert float(back.state) == pytest.approx(1 / math.e, abs=30e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neither_side_of_a_knot_sees_the_other(dtype: torch.dtype) -> None:
    """Where the field is infinite on the other side, a single evaluation there would show."""
    sides = {1.0: lambda t: t < 0.7, -1.0: lambda t: t > 0.7}
    for sign, is_before in sides.items():
        seen: list[Tensor] = []

        def field(t: Tensor, z: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(t)
            return torch.ones_like(z)

        ends = (0.0, 1.5) if sign > 0 else (1.5, 0.0)
        with torch.no_grad():
            integrate(field, torch.ones(1, dtype=dtype), ends, SolverConfig(rtol=1e-5), knots=(0.7,))
        times = torch.stack(seen).double()
        behind = ~torch.tensor([bool(is_before(t)) for t in times])
        # From the first evaluation behind the knot on, all are behind it: after the step that ends there.
        first = int(behind.nonzero()[0])
        assert bool(behind[first:].all())
        assert not bool((times == 0.7).any())


def test_a_knot_at_a_time_that_is_asked_for_and_at_the_ends() -> None:
    field = Piecewise()
    z0 = rows().requires_grad_()
    solver = SolverConfig(**TIGHT)
    states = integrate(field, z0, (0.0, 0.3, 0.9, 1.1), solver, knots=(0.0, *KNOTS)).states
    assert isinstance(states, Tensor)
    for number, time in ((1, 0.3), (2, 0.9), (3, 1.1)):
        expected = piece_by_piece(field, z0, (0.0, time), solver)
        torch.testing.assert_close(states[number], expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("entries", [1, 9])
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_weights_of_fewer_or_more_times_than_were_asked_for_are_refused(method: str, entries: int) -> None:
    class Miscounting(Hypernetwork):
        def at_times(self, times: Tensor) -> Tensor:
            return torch.ones(entries if len(times) > 1 else 1, 3, 3, dtype=torch.float64)

    with pytest.raises(InvalidInput, match=rf"^the field's at_times returned {entries} entries for \d times"):
        integrate(Miscounting(), rows(), (0.0, 1.0), SolverConfig(method=method))


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4", "heun"])
def test_a_method_of_few_stages_has_weights_of_time_too(method: str) -> None:
    solver = SolverConfig(method=method, steps=4)
    at_once, every = (
        integrate(field, rows(), (0.0, 1.0), solver).state for field in (Hypernetwork(), AtEveryStage(Hypernetwork()))
    )
    torch.testing.assert_close(at_once, every)
