"""Times of a solve: any start, either direction, many outputs read off the steps, and the solution as a function."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.problems import PROBLEMS, error, vector
from pipeline.config import SolverConfig
from pipeline.methods import METHODS
from pipeline.ode import State, integrate
from pipeline.ode.stepping import method_named
from pipeline.util.errors import InvalidInput
from tests.helpers.ode_fields import OSCILLATION, Field, Layer

ADAPTIVE = ("dopri5", "tsit5", "dopri8", "bosh3", "heun", "kvaerno3")
EXACT_MODES: dict[str, dict[str, Any]] = {
    "auto": {"gradient": "auto"},
    "checkpointed": {"gradient": "checkpointed"},
    "recursive": {"gradient": "recursive"},
    "sample": {"control": "sample"},
}
"""Modes whose gradients are those of the accepted steps, beside `direct`."""
TIGHT = {"rtol": 1e-10, "atol": 1e-10, "max_steps": 100_000}
MANY = 101


def wave(times: Tensor) -> Tensor:
    """Of OSCILLATION from 1 at t = 0."""
    return torch.exp(torch.sin(times))


@pytest.fixture
def layer() -> Layer:
    torch.manual_seed(0)
    return Layer()


def rows() -> Tensor:
    """A batch of two states for the layer."""
    return torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)


def uneven(t0: float, t1: float, count: int) -> list[float]:
    """Times from t0 to t1 at uneven distances."""
    share = torch.linspace(0, 1, count, dtype=torch.float64) ** 1.7
    return (t0 + (t1 - t0) * share).tolist()


# ---- Where the times may be


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("ends", [(0.0, 4.0), (-3.0, 1.5), (2.5, -1.0), (-1.0, -2.0), (1e3, 1e3 + 2)])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "kvaerno3"])
def test_a_solve_begins_anywhere_and_goes_either_way(method: str, ends: tuple[float, float], control: str) -> None:
    """To thirty times the tolerance, as on the problems with closed forms."""
    times = torch.tensor(uneven(*ends, 23), dtype=torch.float64)
    scale = vector(1, 2, -0.5)
    z0 = scale * wave(times[0])
    solver = SolverConfig(method=method, rtol=1e-6, atol=1e-6, control=control, max_steps=5000)
    with torch.no_grad():
        solution = integrate(OSCILLATION, z0, times, solver)
    assert torch.equal(solution.times, times)
    assert solution.states.shape == (23, 3)
    assert torch.equal(solution.states[0], z0)
    assert torch.equal(solution.states[-1], solution.state)
    assert error(solution.states, wave(times)[:, None] * scale) < 30e-6


@pytest.mark.parametrize("name", ["B1", "B4", "E3"])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_output_times_are_solves_to_each_of_them(tolerance: float, method: str, name: str) -> None:
    """Within ten times the tolerance, twenty at 1e-9 with an extension of order 4.

    The error of a step that counts is that of its solution of order 5, dt⁶, while its estimate, which the steps are
    chosen by, and the extensions of order 4 have dt⁵: the tighter the tolerance, the more of it lies between the ends.
    """
    problem = PROBLEMS[name]
    times = [0.0, *uneven(0.0, 3.0, 26)[1:]]
    solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=5000)
    with torch.no_grad():
        states = integrate(problem.function, problem.z0, times, solver).states
        alone = [integrate(problem.function, problem.z0, (0.0, time), solver).state for time in times[1:]]
    allowed = 20 if tolerance < 1e-6 and method != "dopri8" else 10
    assert error(states[1:], torch.stack(alone)) < allowed * tolerance


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_hundred_output_times_cost_the_evaluations_of_one(method: str, control: str) -> None:
    """But for the stages of dopri8's extension, three in each step that has outputs."""
    z0 = vector(1, 2, -0.5)
    solver = SolverConfig(method=method, control=control, rtol=1e-4, atol=1e-4)
    counts = []
    with torch.no_grad():
        for times in ((0.0, 6.0), torch.linspace(0, 6, MANY)):
            statistics = integrate(OSCILLATION, z0, times, solver).statistics
            counts.append((statistics.nfe_forward, statistics.accepted, statistics.rejected))
    assert counts[0][1:] == counts[1][1:]
    # A step at whose end nothing more is needed is not evaluated there, unless its solution within is asked for.
    within = method_named(method, False).nfe_within * counts[1][1]
    assert counts[0][0] <= counts[1][0] <= counts[0][0] + (3 if control == "sample" else 1) + within


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3"])
def test_the_field_is_called_no_more_for_output_times_than_is_counted(method: str) -> None:
    calls = 0

    def counted(t: Tensor, z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return z * torch.cos(t)

    with torch.no_grad():
        statistics = integrate(
            counted, vector(1, 2), torch.linspace(0, 6, MANY), SolverConfig(method=method)
        ).statistics
    assert calls == statistics.nfe_forward


@pytest.mark.parametrize("method", METHODS)
def test_the_dense_output_converges_with_its_order(method: str) -> None:
    """Between the ends of one step: its error shrinks by a power more than the order of the extension."""
    order = {"dopri5": 4, "tsit5": 4, "dopri8": 7, "heun": 2, "midpoint": 2, "euler": 1, "leapfrog": 2}.get(method, 3)
    start, where = 0.3, vector(0.2, 0.37, 0.5, 0.81)

    def largest(dt: float) -> float:
        # So loose that one step is enough; Newton's iterations are as exact as the tolerances ask for.
        tolerance = 1e-2 if method == "kvaerno3" else 1e3
        solver = SolverConfig(method=method, steps=1, rtol=tolerance, atol=tolerance)
        times = [start, *(start + dt * where).tolist(), start + dt]
        if method == "leapfrog":
            z0 = (vector(math.sin(start)), vector(math.cos(start)))
            states = integrate(lambda _t, z: (z[1], -z[0]), z0, times, solver).states[0][:, 0]
            return float((states - torch.sin(vector(*times))).abs()[1:-1].max())
        field = Field(lambda t, z: z * torch.cos(t))
        solution = integrate(field, wave(vector(start)), times, solver, first_dt=dt)
        assert solution.statistics.accepted == 1
        return float((solution.states[:, 0] - wave(vector(*times))).abs()[1:-1].max())

    with torch.no_grad():
        coarse, fine = (largest(dt) for dt in ((0.6, 0.3) if order > 4 else (0.1, 0.05)))
    # That of a low order is met from above where an error happens to change its sign; leapfrog's is of its own order.
    assert order + 0.6 < math.log2(coarse / fine) < order + 2.2


@pytest.mark.parametrize("method", [*ADAPTIVE, "rk4"])
def test_steps_end_at_the_times_where_that_is_asked_for(method: str) -> None:
    times = uneven(0.0, 5.0, 9)
    solver = SolverConfig(method=method, steps=40, rtol=1e-6, atol=1e-6, max_steps=5000)
    with torch.no_grad():
        solution = integrate(OSCILLATION, vector(1, 2), times, solver, stops_at_times=True)
    ends = {attempt.t + attempt.dt for attempt in solution.statistics.attempts if attempt.accepted}
    assert set(times[1:]) <= ends
    exact = wave(vector(*times))[:, None] * vector(1, 2)
    assert error(solution.states, exact) < (1e-4 if method == "rk4" else 30e-6)


def test_steps_that_end_at_the_times_do_so_for_every_sample() -> None:
    times = uneven(1.0, -4.0, 9)
    solver = SolverConfig(control="sample", rtol=1e-6, atol=1e-6)
    z0 = vector(1, 2, 50) * wave(vector(1.0))
    with torch.no_grad():
        solution = integrate(OSCILLATION, z0, times, solver, stops_at_times=True)
    for sample in solution.statistics.samples:
        ends = {attempt.t + attempt.dt for attempt in sample.attempts if attempt.accepted}
        assert set(times[1:]) <= ends
    assert error(solution.states, wave(vector(*times))[:, None] * vector(1, 2, 50)) < 30e-6


def test_a_step_cut_short_for_a_time_does_not_shorten_those_behind_it() -> None:
    solver = SolverConfig(rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        plain = integrate(OSCILLATION, vector(1), (0.0, 6.0), solver).statistics
        cut = integrate(OSCILLATION, vector(1), (0.0, 3.0, 3.0001, 6.0), solver, stops_at_times=True).statistics
    assert cut.accepted <= plain.accepted + 3


# ---- Gradients at the outputs


def by_outputs(
    layer: nn.Module, times: Sequence[float], solver: SolverConfig, **options: Any
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of a loss in which every output has weights of its own, with respect to z0 and the parameters."""
    z0 = rows().requires_grad_()
    states = integrate(layer, z0, times, solver, **options).states
    assert isinstance(states, Tensor)
    weights = torch.sin(torch.arange(states.numel(), dtype=torch.float64)).view_as(states)
    found = torch.autograd.grad((weights * states.sin()).sum(), [z0, *layer.parameters()])
    return found[0], list(found[1:])


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("times", [(0.2, 0.5, 0.55, 1.3, 2.0), (1.5, 1.4, 0.2, -0.6)])
@pytest.mark.parametrize("mode", EXACT_MODES)
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3", "kvaerno3"])
def test_gradients_at_every_output_are_those_of_autograd(
    method: str, mode: str, times: tuple[float, ...], stops: bool, layer: Layer
) -> None:
    """Of the same steps, whose graph torch keeps with `direct`; of a batch solved apart, of each sample alone."""
    options = {"method": method, "rtol": 1e-5, "atol": 1e-5}
    found = by_outputs(layer, times, SolverConfig(**EXACT_MODES[mode], **options), stops_at_times=stops)
    if mode == "sample":
        options = {"method": method, **TIGHT} if method != "kvaerno3" else {**options, "rtol": 1e-7, "atol": 1e-7}
        close = {"rtol": 1e-3, "atol": 1e-4}
    else:
        close = {"rtol": 1e-11, "atol": 1e-12}
    expected = by_outputs(layer, times, SolverConfig(gradient="direct", **options), stops_at_times=stops)
    torch.testing.assert_close(found, expected, **close)


def test_the_gradient_at_every_output_of_a_sample_is_that_of_its_steps_alone(layer: Layer) -> None:
    times, options = (0.2, 0.5, 0.55, 1.3, 2.0), {"rtol": 1e-5, "atol": 1e-5}
    z0 = rows().requires_grad_()
    weights = torch.sin(torch.arange(15, dtype=torch.float64)).view(5, 1, 3)
    together = integrate(layer, z0, times, SolverConfig(control="sample", **options)).states
    apart = [integrate(layer, z0[k : k + 1], times, SolverConfig(gradient="direct", **options)).states for k in (0, 1)]
    inputs = [z0, *layer.parameters()]
    found = torch.autograd.grad((weights * together).sum(), inputs)
    expected = torch.autograd.grad((weights * torch.cat(apart, 1)).sum(), inputs)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("times", [(0.2, 0.5, 0.55, 1.3, 2.0), (1.5, 1.4, 0.2, -0.6)])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8"])
def test_the_adjoint_gathers_the_gradients_of_all_outputs_in_one_sweep(
    method: str, times: tuple[float, ...], layer: Layer
) -> None:
    found = by_outputs(layer, times, SolverConfig(method=method, gradient="adjoint", **TIGHT))
    expected = by_outputs(layer, times, SolverConfig(method=method, gradient="direct", **TIGHT))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("mode", ["direct", *EXACT_MODES])
def test_gradients_at_every_output_agree_with_finite_differences(mode: str, layer: Layer) -> None:
    solver = SolverConfig(**EXACT_MODES.get(mode, {"gradient": "direct"}), rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(
        lambda z: integrate(layer, z, (0.0, 0.3, 0.9), solver).states, rows().requires_grad_()
    )


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("mode", ["direct", *EXACT_MODES, "adjoint"])
def test_the_gradient_of_one_output_alone_is_right(mode: str, number: int) -> None:
    """dz(t)/dz(0) = exp(sin t), at every time, the start among them."""
    options = EXACT_MODES.get(mode, {"gradient": mode})
    z0, times = vector(1, 2).requires_grad_(), (0.0, 0.7, 1.1, 3.0)
    states = integrate(OSCILLATION, z0, times, SolverConfig(**options, **TIGHT)).states
    (found,) = torch.autograd.grad(states[number].sum(), z0)
    torch.testing.assert_close(found, torch.ones(2).double() * math.exp(math.sin(times[number])), rtol=1e-8, atol=0)


@pytest.mark.parametrize("mode", ["direct", *EXACT_MODES, "adjoint"])
def test_gradients_reach_the_times(mode: str) -> None:
    """dL/dt = ⟨a, f⟩ at every output, and at the start its negative, carried there."""
    times = torch.tensor([0.3, 0.9, 2.0], dtype=torch.float64, requires_grad=True)
    solver = SolverConfig(**EXACT_MODES.get(mode, {"gradient": mode}), **TIGHT)
    states = integrate(OSCILLATION, vector(1.5, 0.5), times, solver).states
    weights = vector(1, 2, 3)[:, None]
    (found,) = torch.autograd.grad((weights * states).sum(), times)
    exact = times.detach().requires_grad_()
    relation = vector(1.5, 0.5) * torch.exp(torch.sin(exact) - torch.sin(exact[0]))[:, None]
    (expected,) = torch.autograd.grad((weights * relation).sum(), exact)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


# ---- The solution as a function of time


@pytest.mark.parametrize("ends", [(0.0, 4.0), (2.0, -1.0)])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3", "kvaerno3"])
def test_the_interpolant_is_the_solution_and_its_derivative_the_field(method: str, ends: tuple[float, float]) -> None:
    tolerance = 1e-6
    solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=5000)
    z0 = vector(1, -2) * wave(vector(ends[0]))
    solution = integrate(OSCILLATION, z0, ends, solver, dense=True)
    assert solution.interpolant is not None
    times = torch.linspace(*ends, 57, dtype=torch.float64).requires_grad_()
    states = solution.interpolant(times)
    assert isinstance(states, Tensor)
    exact = wave(times.detach())[:, None] * vector(1, -2)
    assert error(states.detach(), exact) < 30 * tolerance
    torch.testing.assert_close(states[[0, -1]], torch.stack([z0, solution.state]), rtol=0, atol=1e-13)
    (slopes,) = torch.autograd.grad(states[:, 0].sum(), times)
    # A derivative of an interpolant of order p has an error of dt^p: a power of the step less than the state's.
    assert error(slopes, torch.cos(times.detach()) * exact[:, 0]) < 5e-3


@pytest.mark.parametrize("gradient", ["auto", "direct"])
def test_gradients_flow_from_the_interpolant_to_the_start_and_the_parameters(gradient: str, layer: Layer) -> None:
    times = (0.0, 0.3, 0.9, 1.7, 2.0)
    solver = SolverConfig(gradient=gradient, rtol=1e-6, atol=1e-6)
    z0 = rows().requires_grad_()
    interpolant = integrate(layer, z0, (times[0], times[-1]), solver, dense=True).interpolant
    assert interpolant is not None
    by_function = interpolant(vector(*times))
    by_times = integrate(layer, z0, times, SolverConfig(gradient="direct", rtol=1e-6, atol=1e-6)).states
    assert isinstance(by_function, Tensor)
    torch.testing.assert_close(by_function, by_times, rtol=1e-13, atol=1e-14)
    inputs = [z0, *layer.parameters()]
    found, expected = (torch.autograd.grad(states.sin().sum(), inputs) for states in (by_function, by_times))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


def test_the_interpolant_takes_a_number_and_gives_the_form_of_the_state() -> None:
    z0 = {"x": torch.ones(2, 3), "y": torch.ones(2)}
    solution = integrate(lambda _t, z: {"x": -z["x"], "y": z["y"]}, z0, (0.0, 1.0), dense=True)
    assert solution.interpolant is not None
    once, often = solution.interpolant(0.5), solution.interpolant(torch.tensor([0.2, 0.5]))
    assert isinstance(once, dict)
    assert isinstance(often, dict)
    assert (once["x"].shape, once["y"].shape) == ((2, 3), (2,))
    assert (often["x"].shape, often["y"].shape) == ((2, 2, 3), (2, 2))
    torch.testing.assert_close(often["x"][1], once["x"])


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, -1.0)])
def test_a_time_outside_of_the_solve_is_refused(ends: tuple[float, float]) -> None:
    interpolant = integrate(OSCILLATION, vector(1), ends, dense=True).interpolant
    assert interpolant is not None
    for outside in (-1.5, 1.5, math.nan):
        with pytest.raises(InvalidInput, match=r"^the solution is known from .* to .*, not at "):
            interpolant(outside)


def test_without_being_asked_for_there_is_no_interpolant() -> None:
    assert integrate(OSCILLATION, vector(1), (0.0, 1.0)).interpolant is None


def test_the_end_is_known_in_the_number_format_of_a_time_in_a_sequence_too() -> None:
    interpolant = integrate(lambda _t, z: -z, torch.ones(2), (0.0, 0.3), dense=True).interpolant
    assert interpolant is not None
    (state,) = interpolant([torch.tensor(0.3)])  # in float32 it is behind 0.3
    torch.testing.assert_close(state, torch.full((2,), math.exp(-0.3)), rtol=1e-3, atol=0)


def test_a_time_in_a_sequence_has_its_gradient_from_the_interpolant() -> None:
    interpolant = integrate(lambda t, _z: torch.cos(t).reshape(1), torch.zeros(1), (0.0, 1.0), dense=True).interpolant
    assert interpolant is not None
    t = torch.tensor(0.5, requires_grad=True)
    states = interpolant([0.1, t])
    assert isinstance(states, Tensor)
    assert float(torch.autograd.grad(states.sum(), t)[0]) == pytest.approx(math.cos(0.5), abs=1e-2)
    with pytest.raises(InvalidInput, match=r"^the solution is asked for at all times at once: give them as one tensor"):
        torch.func.vmap(interpolant)(torch.tensor([0.1, 0.2]))


def test_the_interpolant_of_no_times_is_no_states() -> None:
    for z0 in (vector(1, 2), (vector(1, 2), torch.ones(3, 1, dtype=torch.complex128))):
        interpolant = integrate(_decays, z0, (0.0, 1.0), dense=True).interpolant
        assert interpolant is not None
        states, one = interpolant(torch.tensor([])), interpolant(0.5)
        pairs = [(states, one)] if isinstance(states, Tensor) else zip(states, one, strict=True)
        for none, some in pairs:
            assert (none.shape, none.dtype) == ((0, *some.shape), some.dtype)


def _decays(_t: Tensor, z: State) -> State:
    return -z if isinstance(z, Tensor) else tuple(-part for part in z)


@pytest.mark.parametrize("method", ["dopri5", "euler"])
def test_a_knot_at_no_time_is_refused(method: str) -> None:
    with pytest.raises(InvalidInput, match=r"^a knot at nan is at no time"):
        integrate(lambda _t, z: -z, vector(1), (0.0, 1.0), SolverConfig(method=method), knots=(0.5, math.nan))


@pytest.mark.parametrize("first_dt", [0.0, -1.0, math.nan, math.inf])
def test_a_first_step_of_no_length_is_refused(first_dt: float) -> None:
    with pytest.raises(InvalidInput, match=rf"^the first step is {first_dt:g} long: give a length above 0"):
        integrate(lambda _t, z: -z, vector(1), (1.0, 0.0), first_dt=first_dt)


# Times beside knots


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_time_a_rounding_away_from_a_knot_is_answered_as_any_other(control: Any, dtype: torch.dtype) -> None:
    z0 = torch.ones(2, 1, dtype=dtype, requires_grad=True)
    times = [0.0, 0.3, 0.1 * 3, 0.3 + 1e-6, 0.6, 1.0] if dtype == torch.float64 else torch.linspace(0, 1, 11)
    solution = integrate(lambda _t, z: -z, z0, times, SolverConfig(control=control, rtol=1e-6, atol=1e-6), knots=(0.3,))
    assert isinstance(solution.states, Tensor)
    expected = torch.exp(-torch.as_tensor(times, dtype=dtype)).view(-1, 1, 1).expand(-1, 2, 1)
    torch.testing.assert_close(solution.states.detach(), expected, rtol=1e-4, atol=1e-4)
    solution.states.sum().backward()
    torch.testing.assert_close(z0.grad, expected.sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_time_between_knots_side_by_side_or_behind_a_knot_at_the_start_is_answered(control: Any) -> None:
    times, knots = [0.0, 1e-7, 0.3, 0.3000001, 0.3000002, 1.0], (0.0, 0.3, 0.3000002)
    solution = integrate(lambda _t, z: -z, torch.ones(2, 1), times, SolverConfig(control=control), knots=knots)
    assert isinstance(solution.states, Tensor)
    expected = torch.exp(-torch.tensor(times)).view(-1, 1, 1).expand(-1, 2, 1)
    torch.testing.assert_close(solution.states, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("times", [5.0, (0.0, None), None])
def test_times_that_are_no_sequence_of_numbers_are_refused(times: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^the times of a solve are .+: give a sequence of numbers"):
        integrate(lambda _t, z: -z, torch.ones(1), times)


def test_knots_that_are_no_sequence_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^the knots of a solve are 0\.5: give a sequence of numbers"):
        integrate(lambda _t, z: -z, torch.ones(1), (0.0, 1.0), knots=0.5)  # type: ignore[arg-type]


# What is asked for later


def test_the_solution_as_a_function_is_known_at_its_end_in_the_number_format_of_the_times() -> None:
    solution = integrate(lambda _t, z: -z, torch.ones(1), (0.0, 0.1), dense=True)
    assert solution.interpolant is not None
    found = solution.interpolant(torch.linspace(0, 0.1, 5))  # 0.1 in float32 is behind 0.1
    torch.testing.assert_close(found, torch.exp(-torch.linspace(0, 0.1, 5)).unsqueeze(1), rtol=1e-3, atol=1e-3)
    with pytest.raises(InvalidInput, match=r"known from 0 to 0\.1, not at 0\.11$"):
        solution.interpolant(torch.tensor(0.11))


def test_the_solution_as_a_function_is_known_a_rounding_behind_its_end_and_says_what_is_farther() -> None:
    interpolant = integrate(lambda _t, z: -z, vector(1), (0.0, 0.3), dense=True).interpolant
    assert interpolant is not None
    torch.testing.assert_close(interpolant(0.1 * 3), interpolant(0.3), rtol=1e-14, atol=0)
    with pytest.raises(InvalidInput, match=r"known from 0\.0 to 0\.3, not at 0\.300000001$"):
        interpolant(0.3 + 1e-9)


def test_a_start_that_is_overwritten_later_changes_no_solution() -> None:
    z0 = torch.ones(1)
    plain = integrate(lambda _t, z: -z, z0, (0.0, 0.5, 1.0))
    dense = integrate(lambda _t, z: -z, z0, (0.0, 0.5, 1.0), dense=True)
    assert dense.interpolant is not None
    before = dense.states, dense.interpolant(1e-4)
    z0.mul_(5)
    torch.testing.assert_close((dense.states, dense.interpolant(1e-4)), before, rtol=0, atol=0)
    with pytest.raises(InvalidInput, match=r"changed in place since.+z0\.clone\(\)$"):
        _ = plain.states


@pytest.mark.parametrize("method", ["dopri5", "kvaerno3", "leapfrog", "rk4"])
def test_an_end_that_is_overwritten_later_changes_no_solution_as_a_function(method: str) -> None:
    z0 = (vector(1), vector(0.5)) if method == "leapfrog" else vector(1)
    solution = integrate(lambda _t, z: z, z0, (0.0, 1.0), SolverConfig(method=method, steps=5), dense=True)
    assert solution.interpolant is not None
    before = solution.interpolant(0.999)
    solution.state[0].mul_(100)
    torch.testing.assert_close(solution.interpolant(0.999), before, rtol=0, atol=0)


# What it costs


class Counted(Layer):
    """Counts what it is called for."""

    calls = 0

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(t, z)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "kvaerno3", "rk4"])
@pytest.mark.parametrize("modes", [*EXACT_MODES.values(), {"gradient": "adjoint"}], ids=[*EXACT_MODES, "adjoint"])
def test_every_evaluation_is_counted_those_for_the_states_in_between_too(modes: dict[str, Any], method: str) -> None:
    if (modes.get("gradient") == "adjoint" and method == "kvaerno3") or (modes.get("control") and method == "rk4"):
        pytest.skip("refused")
    torch.manual_seed(0)
    field, z0 = Counted(), rows().requires_grad_()
    solution = integrate(field, z0, (0.0, 0.21, 0.55, 1.0), SolverConfig(method=method, steps=3, **modes))
    assert solution.statistics.nfe_forward == field.calls
    assert isinstance(solution.states, Tensor)
    solution.states.square().sum().backward()
    assert solution.statistics.nfe_forward + (solution.statistics.nfe_backward or 0) == field.calls


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_an_event_is_looked_for_in_what_a_step_has_evaluated_once(method: str) -> None:
    torch.manual_seed(0)
    field = Counted()
    solver = SolverConfig(method=method)
    solution = integrate(field, rows(), (0.0, 0.1, 5.0), solver, event=lambda t, _z: t - 0.313)
    assert solution.statistics.nfe_forward == field.calls < 60


def test_the_solution_as_a_function_stays_what_was_computed() -> None:
    weight = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        solution = integrate(lambda _t, z: weight * z, vector(1), (0.0, 1.0), SolverConfig(method="dopri8"), dense=True)
        assert solution.interpolant is not None
        before = solution.interpolant(0.5)
        weight.mul_(2)
    after = solution.interpolant(0.5)
    assert not after.requires_grad
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_evaluations_for_the_solution_as_a_function_are_counted() -> None:
    field = OSCILLATION
    plain, dense = (
        integrate(field, vector(1), (0.0, 1.0), SolverConfig(method="dopri8"), dense=one).statistics
        for one in (False, True)
    )
    assert dense.nfe_forward > plain.nfe_forward


def test_times_in_a_row_or_a_column_have_their_gradients() -> None:
    found = []
    for shape in ((2,), (1, 2), (2, 1)):
        times = torch.tensor([0.0, 1.0], dtype=torch.float64).view(shape).requires_grad_()
        state = integrate(lambda _t, z: -z, vector(1).squeeze(), times).state
        assert state.shape == ()
        state.backward()
        found.append(times.grad.view(-1))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])
