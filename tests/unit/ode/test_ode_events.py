"""Events: when something happens on the way, the state then, and the gradients of both."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import Solution, State, integrate
from pipeline.util.errors import InvalidInput
from tests.helpers.ode_fields import OSCILLATION, Layer

MODES = ("direct", "auto", "checkpointed", "recursive", "adjoint")
TIGHT = {"rtol": 1e-10, "atol": 1e-10, "max_steps": 10_000}


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Fall(nn.Module):
    """Height and speed of a ball in still air."""

    def __init__(self, gravity: float = 9.81) -> None:
        super().__init__()
        self.gravity = nn.Parameter(torch.tensor(gravity, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return torch.stack([z[1], -self.gravity])


def ground(t: Tensor, z: State) -> Tensor:  # noqa: ARG001
    """Where the ball is on it."""
    assert isinstance(z, Tensor)
    return z[0]


def fallen(height: Tensor, speed: Tensor, gravity: Tensor) -> tuple[Tensor, Tensor]:
    """When the ball is on the ground, and its speed there."""
    final = -torch.sqrt(speed**2 + 2 * gravity * height)
    return (speed - final) / gravity, final


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3", "heun", "kvaerno3"])
def test_an_event_ends_the_solve_where_it_happens(method: str) -> None:
    z0 = vector(10, 2)
    solver = SolverConfig(method=method, rtol=1e-7, atol=1e-7, max_steps=10_000)
    solution = integrate(Fall(), z0, (0.0, 100.0), solver, event=ground)
    time, speed = fallen(*z0, vector(9.81)[0])
    assert solution.event_time is not None
    assert float(solution.event_time.detach()) == pytest.approx(float(time), abs=1e-6)
    torch.testing.assert_close(solution.state, torch.stack([vector(0)[0], speed]), rtol=1e-6, atol=1e-6)
    assert torch.equal(solution.times, torch.tensor([0.0, float(solution.event_time.detach())], dtype=torch.float64))
    assert abs(float(solution.state[0].detach())) < 1e-12  # on the ground, whatever the error of the solve


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_an_event_ends_equal_steps_too(method: str) -> None:
    field = OSCILLATION
    solver = SolverConfig(method=method, steps=2000)
    solution = integrate(field, vector(1), (0.0, 2.0), solver, event=lambda _t, z: z[0] - 2.0)
    assert float(solution.event_time.detach()) == pytest.approx(
        math.asin(math.log(2)), abs=1e-2 if method == "euler" else 1e-5
    )


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3"])
def test_an_event_is_found_to_the_tolerance_of_the_solve(method: str, tolerance: float) -> None:
    """exp(sin t) passes 2 at asin(log 2), at a rate of 1.44: the time is as exact as the state, within thirty times."""
    solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance)
    solution = integrate(OSCILLATION, vector(1), (0.0, 10.0), solver, event=lambda _t, z: z[0] - 2.0)
    assert abs(float(solution.event_time.detach()) - math.asin(math.log(2))) < 30 * tolerance
    assert abs(float(solution.state[0]) - 2) < 1e-12


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("final_time", [1.7, 30.0])
def test_the_gradients_of_an_events_time_and_state_are_those_of_the_closed_form(mode: str, final_time: float) -> None:
    field, z0 = Fall(), vector(10, 2).requires_grad_()
    solution = integrate(field, z0, (0.0, final_time), SolverConfig(gradient=mode, **TIGHT), event=ground)
    assert solution.event_time is not None
    time, speed = fallen(*z0, field.gravity)
    inputs = [z0, field.gravity]
    pairs = [
        (solution.event_time, time),
        (solution.state[1], speed),
        (solution.event_time.square() * solution.state[1], time.square() * speed),
    ]
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
        by_solve, by_form = (torch.autograd.grad(one, inputs, retain_graph=True) for one in (found, expected))
        torch.testing.assert_close(by_solve, by_form, rtol=1e-7, atol=1e-8)
        # These modes go back once: another backward pass needs another solve.
        solution = integrate(field, z0, (0.0, final_time), SolverConfig(gradient=mode, **TIGHT), event=ground)


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_of_the_height_at_the_event_is_nothing(mode: str) -> None:
    field, z0 = Fall(), vector(10, 2).requires_grad_()
    solution = integrate(field, z0, (0.0, 30.0), SolverConfig(gradient=mode, **TIGHT), event=ground)
    found = torch.autograd.grad(solution.state[0], [z0, field.gravity])
    torch.testing.assert_close(found, (vector(0, 0), vector(0)[0]), rtol=0, atol=1e-8)


def finite_differences(solved: Callable[[Tensor], Tensor], at: Tensor, width: float = 1e-5) -> Tensor:
    """Central ones, of a scalar."""
    found = []
    for direction in torch.eye(at.numel(), dtype=at.dtype).view(-1, *at.shape):
        with torch.no_grad():
            found.append((solved(at + width * direction) - solved(at - width * direction)) / (2 * width))
    return torch.stack(found).view(at.shape)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_an_event_of_time_and_state_agree_with_finite_differences(mode: str) -> None:
    """A nonlinear field, an event that depends on time and on a parameter of its own, and outputs before it."""
    torch.manual_seed(3)
    field, z0 = Layer(), torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    height = vector(0.8)

    def loss(z: Tensor, level: Tensor) -> Tensor:
        solution = integrate(
            field,
            z,
            (0.0, 0.2, 0.35, 5.0),
            SolverConfig(gradient=mode, **TIGHT),
            event=lambda t, z: z.square().sum() / 10 + t - level[0],
        )
        assert solution.event_time is not None
        assert solution.states.shape == (4, 2, 3)
        weights = torch.sin(torch.arange(24, dtype=torch.float64)).view(4, 2, 3)
        return (weights * solution.states).sum() + 3 * solution.event_time

    start, level = z0.clone().requires_grad_(), height.clone().requires_grad_()
    by_start, by_level, by_weight = torch.autograd.grad(loss(start, level), [start, level, field.linear.weight])
    torch.testing.assert_close(by_start, finite_differences(lambda z: loss(z, height), z0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(by_level, finite_differences(lambda one: loss(z0, one), height), rtol=1e-5, atol=1e-6)

    def with_weight(weight: Tensor) -> Tensor:
        kept = field.linear.weight.data
        field.linear.weight.data = weight
        try:
            return loss(z0, height)
        finally:
            field.linear.weight.data = kept

    expected = finite_differences(with_weight, field.linear.weight.detach().clone())
    torch.testing.assert_close(by_weight, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_ball_that_bounces_loses_its_energy_and_the_gradient_knows(mode: str) -> None:
    """Three bounces, each a solve: how far the ball comes depends on how elastic it is."""
    field, elasticity = Fall(), nn.Parameter(vector(0.7)[0])
    height = vector(5)[0].requires_grad_()
    z, times = torch.stack([height, vector(0)[0]]), []
    for _ in range(3):
        solution = integrate(field, z, (0.0, 50.0), SolverConfig(gradient=mode, **TIGHT), event=ground)
        assert solution.event_time is not None
        times.append(solution.event_time)
        z = torch.stack([vector(0)[0], -elasticity * solution.state[1]])
    found = torch.stack(times).sum()
    expected = torch.sqrt(2 * height / field.gravity) * (1 + 2 * elasticity + 2 * elasticity**2)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)
    inputs = [height, field.gravity, elasticity]
    by_solve, by_form = (torch.autograd.grad(one, inputs) for one in (found, expected))
    torch.testing.assert_close(by_solve, by_form, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_without_an_event_the_solve_goes_to_its_end(mode: str) -> None:
    z0 = vector(1, 2).requires_grad_()
    solver = SolverConfig(gradient=mode, **TIGHT)
    solution = integrate(OSCILLATION, z0, (0.0, 1.0, 2.0), solver, event=lambda _t, z: z[0] - 100)
    assert solution.event_time is None
    assert solution.times.tolist() == [0, 1, 2]
    plain = integrate(OSCILLATION, z0, (0.0, 1.0, 2.0), solver)
    torch.testing.assert_close(solution.states, plain.states, rtol=1e-12, atol=1e-13)
    found, expected = (torch.autograd.grad(one.states.sin().sum(), z0) for one in (solution, plain))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_outputs_before_the_event_are_kept_and_those_behind_it_are_not(mode: str, stops: bool) -> None:
    times = (0.0, 0.1, 0.2, 0.5, 0.7, 1.0, 3.0)
    z0 = vector(1, 3).requires_grad_()
    solver = SolverConfig(gradient=mode, **TIGHT)
    solution = integrate(OSCILLATION, z0, times, solver, event=lambda _t, z: z[0] - 2.0, stops_at_times=stops)
    happened = math.asin(math.log(2))
    assert solution.times.tolist() == pytest.approx([0, 0.1, 0.2, 0.5, 0.7, happened], abs=1e-8)
    growth = torch.exp(torch.sin(solution.times))
    torch.testing.assert_close(solution.states, growth[:, None] * vector(1, 3), rtol=1e-8, atol=0)
    # The first component is 2 at the event whatever it was; what counts of the second is its share of the first.
    (found,) = torch.autograd.grad(solution.states[:, 1].sum(), z0)
    expected = vector(-6, float(growth[:-1].sum()) + 2)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_an_event_is_found_on_the_way_back(mode: str) -> None:
    """dz/dt = z cos t, from z(0) = 1 back to where z is 0.5: sin t = log 0.5."""
    z0 = vector(1, 3).requires_grad_()
    times = (0.0, -0.3, -0.5, -5.0)
    solver = SolverConfig(gradient=mode, **TIGHT)
    solution = integrate(OSCILLATION, z0, times, solver, event=lambda _t, z: z[0] - 0.5)
    assert solution.event_time is not None
    assert float(solution.event_time.detach()) == pytest.approx(math.asin(math.log(0.5)), abs=1e-8)
    assert solution.times.tolist() == pytest.approx([0, -0.3, -0.5, math.asin(math.log(0.5))], abs=1e-8)
    (found,) = torch.autograd.grad(solution.event_time, z0)
    # d asin(log(0.5 / z0)) / dz0
    slope = -1 / math.sqrt(1 - math.log(2) ** 2)
    torch.testing.assert_close(found, vector(slope, 0), rtol=1e-7, atol=1e-8)


def test_an_event_that_holds_at_the_start_is_one_that_has_just_happened() -> None:
    solution = integrate(Fall(), vector(0, 5), (0.0, 50.0), SolverConfig(**TIGHT), event=ground)
    assert float(solution.event_time.detach()) == pytest.approx(10 / 9.81, abs=1e-8)


def test_an_event_at_a_time_that_is_asked_for_is_there_once() -> None:
    """z = 1 - t passes 0 at t = 1, an output."""
    for times in ((0.0, 0.5, 1.0, 2.0), (0.0, 1.0, 1.0 + 1e-12, 2.0)):
        for mode in MODES:
            z0 = vector(1).requires_grad_()
            solver = SolverConfig(gradient=mode, rtol=1e-6, atol=1e-6)
            solution = integrate(lambda _t, z: -torch.ones_like(z), z0, times, solver, event=ground)
            assert solution.times.shape == (len(solution.states),)
            assert bool((solution.times.diff() >= 0).all())
            assert float(solution.event_time.detach()) == pytest.approx(1, abs=1e-9)
            (found,) = torch.autograd.grad(solution.event_time + solution.states.sum(), z0)
            before = len(solution.states) - 1
            torch.testing.assert_close(found, vector(1 + before), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_state_in_parts_has_events_too(mode: str) -> None:
    gravity = nn.Parameter(vector(9.81)[0])
    z0 = {"height": vector(10).requires_grad_(), "speed": vector(2).requires_grad_()}
    solution = integrate(
        lambda _t, z: {"height": z["speed"], "speed": -gravity * torch.ones_like(z["speed"])},
        z0,
        (0.0, 20.0),
        SolverConfig(gradient=mode, **TIGHT),
        event=lambda _t, z: z["height"],
        parameters=[gravity],
    )
    time, speed = fallen(z0["height"][0], z0["speed"][0], gravity)
    inputs = [*z0.values(), gravity]
    found = torch.autograd.grad(solution.event_time + solution.state["speed"].sum(), inputs)
    torch.testing.assert_close(found, torch.autograd.grad(time + speed, inputs), rtol=1e-7, atol=1e-8)


def test_the_interpolant_ends_at_the_event() -> None:
    solution = integrate(Fall(), vector(10, 2), (0.0, 100.0), SolverConfig(**TIGHT), event=ground, dense=True)
    assert solution.interpolant is not None
    happened = float(solution.event_time.detach())
    torch.testing.assert_close(solution.interpolant(happened), solution.state, rtol=1e-9, atol=1e-9)
    with pytest.raises(InvalidInput, match=r"^the solution is known from 0 to 1\.6"):
        solution.interpolant(happened + 0.1)


@pytest.mark.parametrize("options", [{"control": "sample"}, {"engine": "torchdiffeq"}])
def test_what_events_do_not_go_with_is_refused(options: dict[str, Any]) -> None:
    def solved() -> Solution:
        return integrate(OSCILLATION, vector(1, 2), (0.0, 1.0), SolverConfig(**options), event=ground)

    with pytest.raises(InvalidInput, match=r"^an event does not go with (control=sample|engine=torchdiffeq): use "):
        solved()


def test_an_event_that_is_no_scalar_is_refused_in_a_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"^the event is of shape \(2,\)"):
        integrate(OSCILLATION, vector(1, 2), (0.0, 1.0), event=lambda _t, z: z - 2)


def test_a_complex_event_is_refused_in_a_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"^the event is complex: return a tensor of one real number"):
        integrate(lambda _t, z: 1j * z, vector(1).to(torch.complex128), (0.0, 1.0), event=lambda _t, z: z)


def test_several_events_are_refused_and_their_product_is_the_first_of_them() -> None:
    def lands(height: float) -> Any:
        return lambda _t, z: z[0] - height

    start, ends, solver = vector(10, 2), (0.0, 100.0), SolverConfig(**TIGHT)
    with pytest.raises(InvalidInput, match=r"^the event is \(.*: give one function of t and z; of several .* product"):
        integrate(Fall(), start, ends, solver, event=(lands(3), lands(7)))  # type: ignore[arg-type]
    first = integrate(Fall(), start, ends, solver, event=lands(7)).event_time
    product = integrate(Fall(), start, ends, solver, event=lambda _t, z: (z[0] - 3) * (z[0] - 7)).event_time
    torch.testing.assert_close(product, first, rtol=1e-12, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_outputs_behind_an_event_in_the_same_step_are_not_there(mode: str) -> None:
    """One step goes over two outputs, the event, and two more."""
    z0 = vector(1).requires_grad_()
    times = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    solver = SolverConfig(gradient=mode, rtol=1e-3, atol=1e-3)
    solution = integrate(
        lambda _t, z: -torch.ones_like(z), z0, times, solver, event=lambda _t, z: z[0] - 0.5, first_dt=1.0
    )
    assert solution.statistics.accepted == 1
    assert solution.times.tolist() == pytest.approx([0, 0.2, 0.4, 0.5])
    torch.testing.assert_close(solution.states[:, 0], vector(1, 0.8, 0.6, 0.5), rtol=1e-9, atol=1e-9)
    (found,) = torch.autograd.grad(solution.states.sum() + solution.event_time, z0)
    torch.testing.assert_close(found, vector(4), rtol=1e-6, atol=1e-6)


SWITCHES: dict[str, Callable[[Tensor, State], Tensor]] = {
    "a sign": lambda _t, z: torch.sign(z.sum() - 0.5),
    "a choice of two numbers": lambda _t, z: torch.where(z.sum() > 0.5, 1.0, -1.0),
    "a truth": lambda _t, z: z.sum() > 0.5,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SWITCHES)
def test_an_event_that_only_switches_is_found_and_no_gradient_of_its_time_flows(name: str, mode: str) -> None:
    z0 = vector(1).requires_grad_()
    solver = SolverConfig(gradient=mode, **TIGHT)
    solution = integrate(lambda _t, z: -z, z0, (0.0, 2.0), solver, event=SWITCHES[name])
    assert solution.event_time is not None
    assert not solution.event_time.requires_grad
    assert float(solution.event_time) == pytest.approx(math.log(2), abs=1e-9)
    torch.testing.assert_close(solution.state, vector(0.5), rtol=1e-9, atol=0)
    (found,) = torch.autograd.grad(solution.state.sum(), z0)
    torch.testing.assert_close(found, vector(0.5), rtol=1e-7, atol=0)  # as at a time that stands still


@pytest.mark.parametrize("name", SWITCHES)
def test_an_event_that_only_switches_is_found_without_gradients(name: str) -> None:
    with torch.no_grad():
        solution = integrate(lambda _t, z: -z, vector(1), (0.0, 2.0), SolverConfig(**TIGHT), event=SWITCHES[name])
    assert float(solution.event_time) == pytest.approx(math.log(2), abs=1e-9)
    torch.testing.assert_close(solution.state, vector(0.5), rtol=1e-9, atol=0)


@pytest.mark.parametrize("first", [0.0, 0.6])
def test_an_event_that_is_no_number_is_refused_with_its_time(first: float) -> None:
    with pytest.raises(InvalidInput, match=r"^the event is not a number at t = [01]"):
        integrate(
            lambda _t, z: -z,
            vector(1),
            (0.0, 2.0),
            event=lambda t, z: torch.where(t < first, z[0], math.nan),
        )


# Several within a step


def moves(_t: Tensor, z: Tensor) -> Tensor:
    """A field so easy that every step is ten times the one before."""
    return torch.ones_like(z)


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3", "heun", "kvaerno3"])
def test_the_first_of_several_events_within_a_step_is_the_one_that_is_found(method: str) -> None:
    for frequency in (1.0, 3.0, 5.0):
        solver = SolverConfig(method=method)
        found = integrate(moves, vector(0), (0.0, 100.0), solver, event=lambda _t, z: torch.cos(frequency * z[0]))  # noqa: B023
        assert float(found.event_time.detach()) == pytest.approx(math.pi / 2 / frequency, abs=1e-9)


def test_events_however_close_are_found_by_steps_that_end_at_times_as_close() -> None:
    times = torch.linspace(0, 10, 1001, dtype=torch.float64)
    solution = integrate(moves, vector(0), times, event=lambda _t, z: torch.cos(200 * z[0]), stops_at_times=True)
    assert float(solution.event_time.detach()) == pytest.approx(math.pi / 400, abs=1e-9)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "kvaerno3"])
def test_looking_for_an_event_takes_no_evaluations_of_the_field(method: str) -> None:
    plain, looking = (
        integrate(OSCILLATION, vector(1), (0.0, 5.0), SolverConfig(method=method), event=event).statistics
        for event in (None, lambda _t, z: z[0] - 3)
    )
    assert plain.nfe_forward <= looking.nfe_forward <= plain.nfe_forward + 1  # dz/dt at the end


@pytest.mark.parametrize("mode", MODES)
def test_the_time_of_an_event_is_not_rounded_to_the_number_format_of_the_state(mode: str) -> None:
    z0 = torch.zeros(1, requires_grad=True)
    solution = integrate(moves, z0, (1000.0, 2000.0), SolverConfig(gradient=mode), event=lambda _t, z: z[0] - 0.3)
    assert float(solution.event_time.detach()) == float(solution.times[-1]) == pytest.approx(1000.3, abs=1e-7)
    assert torch.autograd.grad(solution.event_time, z0)[0].tolist() == [-1]
    assert solution.state.dtype == torch.float32


@pytest.mark.parametrize(("times", "by_speed"), [((1.0, 2.0), 2.0), ((0.0, 1.0, 2.0), 4.0)])
@pytest.mark.parametrize("mode", MODES)
def test_an_event_that_happens_at_once_has_its_gradients(mode: str, times: tuple[float, ...], by_speed: float) -> None:
    """A ball a hair above the ground where it starts, or at a time that is asked for, at which a step ends."""
    z0 = vector(1.0 - times[0], -1).requires_grad_()
    solver = SolverConfig(method="euler", steps=2, gradient=mode)
    solution = integrate(
        lambda _t, z: torch.stack([z[1], 0 * z[1]]),
        z0,
        times,
        solver,
        event=lambda _t, z: z[0] + 1e-17,
        stops_at_times=True,
    )
    assert solution.times.tolist() == [*times[:-1], 1.0]
    before, end = solution.states[-2:]
    (found,) = torch.autograd.grad(solution.event_time + end.sum() + before.sum(), z0)
    torch.testing.assert_close(found, vector(2, by_speed), rtol=1e-9, atol=1e-9)


# What is 0 where a solve begins, and knots


@pytest.mark.parametrize("speed", [2.0, 0.3, 0.01])
def test_a_ball_that_leaves_the_ground_comes_back_to_it_however_short_its_jump_is(speed: float) -> None:
    def fall(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG001
        return torch.ones_like(state[0]), state[2], torch.full_like(state[2], -9.81)

    start = (vector(100.0), vector(0.0), vector(speed))  # far along the way, so that steps are long
    solution = integrate(fall, start, (0.0, 10.0), event=lambda _t, state: state[1])
    assert solution.event_time is not None
    assert float(solution.event_time) == pytest.approx(2 * speed / 9.81, rel=1e-4)


@pytest.mark.parametrize(
    "event",
    [lambda _t, z: z[0] > 2, lambda _t, z: (z[0] > 2).double(), lambda _t, z: torch.relu(z[0] - 2)],
    ids=["a truth value", "0 or 1", "0 until then"],
)
def test_an_event_that_is_0_until_it_happens_is_found(event: Callable[[Tensor, Any], Tensor]) -> None:
    solution = integrate(lambda _t, z: z, vector(1.0), (0.0, 1.0), SolverConfig(**TIGHT), event=event)
    assert solution.event_time is not None
    assert float(solution.event_time) == pytest.approx(math.log(2), abs=1e-8)


@pytest.mark.parametrize("backwards", [False, True])
def test_an_event_that_happens_at_a_knot_is_found(backwards: bool) -> None:
    times = (1.0, 0.0) if backwards else (0.0, 1.0)
    solution = integrate(lambda _t, z: -z, vector(1.0), times, knots=(0.5,), event=lambda t, _z: t - 0.5)
    assert solution.event_time is not None
    assert float(solution.event_time) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("gradient", MODES)
def test_gradients_reach_the_times_before_an_event(gradient: Any) -> None:
    times = torch.tensor([0.0, 0.2, 0.4, 10.0], dtype=torch.float64, requires_grad=True)
    solver = SolverConfig(gradient=gradient, **TIGHT)
    solution = integrate(lambda _t, z: z, vector(1.0), times, solver, event=lambda _t, z: z[0] - 2)
    assert isinstance(solution.states, Tensor)
    (found,) = torch.autograd.grad(solution.states[1].sum(), times)
    torch.testing.assert_close(found, vector(-math.exp(0.2), math.exp(0.2), 0.0, 0.0), rtol=1e-6, atol=1e-6)


def let_go(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """A pendulum."""
    return state[1], -torch.sin(state[0])


@pytest.mark.parametrize(
    ("event", "when"),
    [
        (lambda _t, state: state[0] - 1, None),  # where it is let go: it comes back to there, and not farther
        (lambda _t, state: state[1] * (state[0] + 0.5), 2.1),  # the speed is 0 at first, and the angle -1/2 later
        (lambda t, _: t**2, None),
        (lambda t, _: t.abs(), None),
        (lambda t, _: torch.sign(t), None),
        (lambda t, _: torch.sign(t) * (2 - t), 2.0),
    ],
    ids=["at rest", "at rest and later", "a square", "a kink", "a sign", "a sign that changes later"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_event_that_leaves_0_without_a_rate_has_just_happened_too(
    event: Callable[[Tensor, Any], Tensor], when: float | None, dtype: torch.dtype
) -> None:
    start = (torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype))
    happened = integrate(let_go, start, (0.0, 20.0), SolverConfig(rtol=1e-6, atol=1e-6), event=event).event_time
    assert happened is None if when is None else float(happened) == pytest.approx(when, abs=0.15)
