"""Solving: orders, counts, accuracy, and where a solve ends."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torchdiffeq import odeint

from pipeline.config import ConfigError, SolverConfig
from pipeline.methods import TABLEAUS
from pipeline.ode import RootMeanSquare, Status, integrate
from pipeline.ode.field import VectorField
from pipeline.ode.state import Layout
from pipeline.ode.stepping.runge_kutta import advance, weighted_sum
from pipeline.util.errors import InvalidInput
from tests.helpers.ode_fields import (
    ADAPTIVE,
    ENGINES,
    EVALUATIONS_PER_STEP,
    OSCILLATION,
    Convolved,
    Field,
    Growth,
    start,
)


def predator_and_prey(t: Tensor, z: Tensor) -> Tensor:
    """Lotka and Volterra's, with a season."""
    prey, predators = z.unbind()
    return torch.stack([prey * (1.1 - predators) + 0.1 * torch.sin(3 * t), predators * (prey - 0.9)])


PREDATOR_AND_PREY = torch.tensor([0.8, 1.3], dtype=torch.float64)


def by_dop853(final_time: float) -> Tensor:
    """SciPy's answer, right to about 1e-12."""
    solved = solve_ivp(
        lambda t, z: predator_and_prey(torch.tensor(t), torch.from_numpy(z)).numpy(),
        (0, final_time),
        PREDATOR_AND_PREY.numpy(),
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
    )
    return torch.from_numpy(solved.y[:, -1])


def equal_steps(method: str, steps: int, final_time: float) -> tuple[Tensor, Tensor]:
    """The state after equal steps of any method, and the estimated error of the first of them."""
    tableau, z, errors = TABLEAUS[method], PREDATOR_AND_PREY, []
    field = VectorField(predator_and_prey, Layout(z, per_sample=False), z.device)
    dt = torch.tensor(final_time / steps, dtype=z.dtype)
    for step in range(steps):
        t = torch.tensor(step * final_time / steps, dtype=z.dtype)
        stages = [predator_and_prey(t, z)]
        for c, weights in zip(tableau.c[1:], tableau.a, strict=True):
            stages.append(predator_and_prey(t + c * dt, weighted_sum(z, dt, weights, stages)))
        errors.append(weighted_sum(torch.zeros_like(z), dt, tableau.error, stages))
        z, _, _ = advance(field, tableau, t, dt, z, stages[0], keeps_stages=False)
    return z, errors[0]


@pytest.mark.parametrize("method", TABLEAUS)
def test_every_method_converges_with_its_order(method: str) -> None:
    tableau = TABLEAUS[method]
    counts = (4, 8, 16) if tableau.order > 4 else (40, 80, 160)
    exact = by_dop853(1.5)
    errors = [float((equal_steps(method, steps, 1.5)[0] - exact).norm()) for steps in counts]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders[-1] > tableau.order - 0.15
    assert orders[-1] < tableau.order + 1  # the asymptotic order is met from above on so few steps


@pytest.mark.parametrize("method", ADAPTIVE)
def test_the_error_estimate_shrinks_with_the_order_of_the_embedded_method(method: str) -> None:
    coarse, fine = (float(equal_steps(method, steps, 0.4)[1].norm()) for steps in (2, 4))
    assert math.log2(coarse / fine) == pytest.approx(TABLEAUS[method].error_order + 1, abs=0.6)


@pytest.mark.parametrize("method", TABLEAUS)
def test_a_tableau_is_consistent(method: str) -> None:
    tableau = TABLEAUS[method]
    assert len(tableau.c) == len(tableau.b) == len(tableau.a) + 1
    assert [sum(row) for row in tableau.a] == pytest.approx(tableau.c[1:], abs=1e-13)
    assert sum(tableau.b) == pytest.approx(1, abs=1e-13)
    assert sum(tableau.error) == pytest.approx(0, abs=1e-13)
    assert tableau.is_adaptive == (method in ADAPTIVE)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_every_adaptive_method_agrees_with_dop853(method: str) -> None:
    tolerance = 1e-6 if method == "heun" else 1e-9
    solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=100_000)
    z = integrate(Field(predator_and_prey), PREDATOR_AND_PREY, (0.0, 3.0), solver).state
    assert (z - by_dop853(3.0)).abs().max() < 100 * tolerance


@pytest.mark.parametrize("final_time", [0.3, 1.0, 20.0])
def test_a_rotation_keeps_its_angle_and_radius(final_time: float) -> None:
    rotation = Field(lambda _t, z: torch.stack([-z[1], z[0]]))
    z0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
    z = integrate(rotation, z0, (0.0, final_time), SolverConfig(method="dopri8", rtol=1e-10, atol=1e-10)).state
    assert z.tolist() == pytest.approx([math.cos(final_time), math.sin(final_time)], abs=1e-8)


@pytest.mark.parametrize("controller", ["i", "pi"])
def test_a_stiff_decay_is_solved_through_rejected_steps(controller: str) -> None:
    solver = SolverConfig(rtol=1e-6, atol=1e-6, controller=controller)
    solution = integrate(Growth(-1000.0), start(), (0.0, 1.0), solver)
    assert solution.state.abs().max() < 1e-6
    assert solution.statistics.rejected > 0


def test_the_pi_controller_rejects_less_than_the_i_controller_where_stability_limits_the_steps() -> None:
    rejected = {
        controller: integrate(
            Growth(-1000.0), start(), (0.0, 1.0), SolverConfig(controller=controller)
        ).statistics.rejected
        for controller in ("i", "pi")
    }
    assert rejected["pi"] < rejected["i"] / 2


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_the_attempts_tell_the_way_to_the_final_time(method: str) -> None:
    statistics = integrate(Growth(-300.0), start(), (0.0, 0.7), SolverConfig(method=method)).statistics
    accepted = [attempt for attempt in statistics.attempts if attempt.accepted]
    rejected = [attempt for attempt in statistics.attempts if not attempt.accepted]
    assert (len(accepted), len(rejected)) == (statistics.accepted, statistics.rejected)
    assert accepted[0].t == 0
    for one, other in pairwise(accepted):
        assert one.t + one.dt == pytest.approx(other.t, abs=1e-12)
    assert accepted[-1].t + accepted[-1].dt == 0.7
    assert all(attempt.error_ratio <= 1 for attempt in accepted)
    assert all(attempt.error_ratio > 1 for attempt in rejected)
    assert statistics.largest_error_ratio() == max(attempt.error_ratio for attempt in accepted)


def test_a_trial_step_that_overflows_is_tried_shorter() -> None:
    # Along the solution, tanh(t), the exponential is harmless; on the straight line of the first long step it is not.
    field = Field(lambda _t, z: 1 - z.square() + 0 * torch.exp(60 * z))
    solution = integrate(field, torch.zeros(1), (0.0, 3.0), SolverConfig(), first_dt=3.0)
    assert math.isnan(solution.statistics.attempts[0].error_ratio)
    assert solution.statistics.rejected > 0
    assert float(solution.state) == pytest.approx(math.tanh(3), abs=1e-2)


def test_a_known_first_step_saves_the_evaluation_that_estimates_it() -> None:
    statistics = integrate(OSCILLATION, start(), (0.0, 1.0), SolverConfig(), first_dt=0.25).statistics
    assert statistics.attempts[0].dt == 0.25
    assert statistics.nfe_forward == 1 + 6 * len(statistics.attempts)


@pytest.mark.parametrize("method", ["euler", "rk4", "dopri5", "dopri8"])
@pytest.mark.parametrize("shape", [(1,), (), (1, 3, 2, 2)])
def test_a_state_may_be_a_single_element_or_a_batch_of_one(method: str, shape: tuple[int, ...]) -> None:
    z0 = torch.ones(shape, dtype=torch.float64)
    solver = SolverConfig(method=method, steps=50, rtol=1e-4, atol=1e-4)
    solution = integrate(OSCILLATION, z0, (0.0, 1.0), solver)
    torch.testing.assert_close(solution.state, z0 * math.exp(math.sin(1)), rtol=0.02, atol=0)


@pytest.mark.parametrize("options", [{}, {"control": "sample"}, {"engine": "torchdiffeq"}])
def test_zeros_that_are_left_out_of_the_state_leave_the_steps_as_they_are(options: dict[str, str]) -> None:
    def moves(t: Tensor, z: Tensor) -> Tensor:
        return torch.cat([z[:, 1:2] * torch.cos(9 * t), -40 * z[:, :1]], dim=1)

    solver = SolverConfig(rtol=1e-6, atol=1e-6, **options)
    z0 = torch.tensor([[1.0, 0.5], [0.1, -2.0]], dtype=torch.float64)
    zeros = torch.zeros(2, 98, dtype=torch.float64)
    whole = Field(lambda t, z: torch.cat([moves(t, z[:, :2]), 0 * z[:, 2:]], dim=1))

    def taken(field: Field, z: Tensor, implicit_zeros: int) -> tuple[int, int, int]:
        found = integrate(field, z, (0.0, 1.0), solver, norm=RootMeanSquare(implicit_zeros)).statistics
        return found.nfe_forward, found.accepted, found.rejected

    steps = taken(whole, torch.cat([z0, zeros], dim=1), 0)
    assert taken(Field(moves), z0, 98) == steps
    assert taken(Field(moves), z0, 0) > steps  # which averages over fewer elements


def test_the_order_of_a_batch_does_not_matter() -> None:
    torch.manual_seed(0)
    field, z0, order = Convolved().double(), torch.randn(8, 6, 5, 5, dtype=torch.float64), torch.randperm(8)
    one, other = (integrate(field, z, (0.0, 1.0), SolverConfig()) for z in (z0, z0[order]))
    torch.testing.assert_close(one.state[order], other.state, rtol=1e-12, atol=1e-12)
    assert one.statistics.nfe_forward == other.statistics.nfe_forward


@pytest.mark.parametrize(
    ("key", "value"),
    [("method", "tsit5"), ("gradient", "checkpointed"), ("controller", "pi"), ("reuse_first_step", True)],
)
def test_what_torchdiffeq_does_not_have_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^solver.{key} is {value}, which torchdiffeq does not have: use "):
        SolverConfig(engine="torchdiffeq", **{key: value})


@pytest.mark.parametrize("method", ["euler", "midpoint", "bosh3", "dopri5", "dopri8"])
def test_both_engines_agree(method: str) -> None:
    tolerance = 1e-7
    solved = [
        integrate(
            OSCILLATION,
            start(),
            (0.0, 1.5),
            SolverConfig(engine=e, method=method, steps=7, rtol=tolerance, atol=tolerance),
        ).state
        for e in ENGINES
    ]
    within = 1e-14 if method in EVALUATIONS_PER_STEP else 20 * tolerance
    torch.testing.assert_close(solved[0], solved[1], rtol=within, atol=within)


def test_the_reference_is_torchdiffeq_to_the_bit() -> None:
    torch.manual_seed(0)
    field, z0, times = Convolved(), torch.randn(4, 6, 5, 5), torch.tensor([0.0, 1.0])
    theirs = odeint(field, z0, times, rtol=1e-3, atol=1e-3, method="dopri5", options={"step_t": times})[-1]
    assert torch.equal(integrate(field, z0, (0.0, 1.0), SolverConfig(engine="torchdiffeq")).state, theirs)


@pytest.mark.parametrize("given", ["parameters", "context", "nothing"])
def test_the_adjoint_of_the_reference_reaches_what_a_function_reads(given: str) -> None:
    rate, slopes = torch.tensor(0.5, dtype=torch.float64, requires_grad=True), []

    def field(_t: Tensor, z: Tensor, *context: Tensor) -> Tensor:
        return -(context[0] if context else rate) * z

    for engine in ENGINES:
        solver = SolverConfig(engine=engine, gradient="adjoint", rtol=1e-8, atol=1e-8)
        options: dict[str, Any] = {} if given == "nothing" else {given: rate}
        slopes += torch.autograd.grad(integrate(field, start(), (0.0, 1.5), solver, **options).state.sum(), rate)
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=0)


def test_the_adjoint_of_the_reference_takes_equal_steps_back_from_every_time() -> None:
    z0, times, slopes = start().requires_grad_(), (0.0, 0.5, 1.0, 1.5), []
    for engine in ENGINES:
        solver = SolverConfig(engine=engine, gradient="adjoint", method="midpoint", steps=60)
        slopes += torch.autograd.grad(integrate(OSCILLATION, z0, times, solver).states.sum(), z0)
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=0)


@pytest.mark.parametrize("names", [(), ("rate", "computed")])
def test_the_adjoint_of_the_reference_refuses_what_it_would_leave_out_or_count_twice(names: tuple[str, ...]) -> None:
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    tensors = {"rate": rate, "computed": rate.exp()}
    with pytest.raises(InvalidInput, match=r"^the field reads what an earlier .* with engine=torchdiffeq does not"):
        integrate(
            lambda _t, z: -rate * tensors["computed"] * z,
            start(),
            (0.0, 1.5),
            SolverConfig(engine="torchdiffeq", gradient="adjoint"),
            parameters=[tensors[name] for name in names],
        )


def test_looking_at_what_a_function_reads_is_counted_and_changes_nothing_that_it_draws() -> None:
    generator, calls = torch.Generator().manual_seed(0), 0

    def noisy(t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG001
        nonlocal calls
        calls += 1
        return torch.randn(z.shape, generator=generator, dtype=z.dtype)

    solver = SolverConfig(engine="torchdiffeq", gradient="adjoint", method="euler", steps=3)
    solved = [integrate(noisy, start(), (0.0, 1.0), solver)]
    assert solved[0].statistics.nfe_forward == calls == 4
    generator.manual_seed(0)
    with torch.no_grad():
        solved.append(integrate(noisy, start(), (0.0, 1.0), solver))
    assert torch.equal(solved[0].state, solved[1].state)


def test_without_gradients_the_reference_solves_whatever_was_computed_from_what() -> None:
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    computed = rate.exp()
    solver = SolverConfig(engine="torchdiffeq", gradient="adjoint")
    with torch.no_grad():
        state = integrate(lambda _t, z: -rate * computed * z, start(), (0.0, 1.5), solver, parameters=[rate, computed])
    torch.testing.assert_close(state.state, start() * (-1.5 * rate * computed).exp().detach(), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("knots", {"knots": (0.5,)}),
        ("stops_at_times=True", {"stops_at_times": True}),
        ("first_dt", {"first_dt": 0.1}),
        ("a gradient of the times", {"times": torch.tensor([0.0, 1.0], requires_grad=True)}),
    ],
)
def test_what_torchdiffeq_is_not_told_is_refused(name: str, options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"times": (0.0, 1.0), **options}
    with pytest.raises(InvalidInput, match=f"^{name} does not go with engine=torchdiffeq: use engine=odenet"):
        integrate(lambda _t, z: -z, torch.ones(2), solver=SolverConfig(engine="torchdiffeq"), **given)


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_an_adaptive_method_meets_its_tolerance(method: str, tolerance: float) -> None:
    solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=100_000)
    for final_time in (0.3, 1.0, 7.0):
        z = integrate(OSCILLATION, start(), (0.0, final_time), solver).state
        exact = start() * math.exp(math.sin(final_time))
        # Tolerances bound the error of a step; ten of them add up here.
        assert (z - exact).abs().max() < 10 * tolerance * (1 + exact.max())


@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_tighter_tolerance_costs_evaluations_and_buys_accuracy(method: str) -> None:
    errors, counts = [], []
    for tolerance in (1e-3, 1e-4, 1e-5):
        solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=100_000)
        solution = integrate(OSCILLATION, start(), (0.0, 5.0), solver)
        errors.append(float((solution.state - start() * math.exp(math.sin(5.0))).abs().max()))
        counts.append(solution.statistics.nfe_forward)
    assert counts == sorted(set(counts))
    assert errors[0] > 10 * errors[2]


@pytest.mark.parametrize("method", EVALUATIONS_PER_STEP)
@pytest.mark.parametrize("steps", [1, 3, 7, 49])
@pytest.mark.parametrize("final_time", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exactly_the_asked_number_of_equal_steps_is_taken(
    method: str, steps: int, final_time: float, dtype: torch.dtype
) -> None:
    times: list[float] = []

    def slope(t: Tensor, z: Tensor) -> Tensor:
        times.append(float(t))
        return torch.ones_like(z)

    solution = integrate(
        Field(slope), torch.zeros(1, dtype=dtype), (0.0, final_time), SolverConfig(method=method, steps=steps)
    )
    assert len(times) == solution.statistics.nfe_forward == EVALUATIONS_PER_STEP[method] * steps
    assert (solution.statistics.accepted, solution.statistics.rejected) == (steps, 0)
    starts = times[:: EVALUATIONS_PER_STEP[method]]
    assert starts == pytest.approx([final_time * step / steps for step in range(steps)], rel=1e-5)
    assert float(solution.state) == pytest.approx(final_time, rel=1e-5)


def test_a_fixed_step_method_may_take_more_steps_than_an_adaptive_one_is_allowed() -> None:
    solution = integrate(OSCILLATION, start(), (0.0, 1.0), SolverConfig(method="euler", steps=20, max_steps=5))
    assert solution.statistics.accepted == 20


@pytest.mark.parametrize(
    ("engine", "method", "an_attempt", "another_step"),
    [
        ("odenet", "heun", 1, 1),  # its last stage lies at the predicted end, not at the next step's beginning
        ("odenet", "bosh3", 3, 0),
        ("odenet", "dopri5", 6, 0),
        ("odenet", "tsit5", 6, 0),
        ("odenet", "dopri8", 12, 1),
        ("torchdiffeq", "heun", 1, 0),
        ("torchdiffeq", "bosh3", 3, 0),
        ("torchdiffeq", "dopri5", 6, 0),
        ("torchdiffeq", "dopri8", 13, 0),
    ],
)
def test_an_adaptive_solve_costs_two_evaluations_to_begin_and_its_stages_for_every_attempt(
    engine: str, method: str, an_attempt: int, another_step: int
) -> None:
    statistics = integrate(OSCILLATION, start(), (0.0, 5.0), SolverConfig(engine=engine, method=method)).statistics
    attempts = statistics.accepted + statistics.rejected
    assert statistics.accepted > 1
    assert statistics.nfe_forward == 2 + an_attempt * attempts + another_step * (statistics.accepted - 1)


def test_a_constant_field_takes_dopri5_two_steps() -> None:
    # Hairer's first step, (0.01 / |f / scale|) ** (1 / 5), is about 0.1; without an error the next is ten times that.
    statistics = integrate(Field(lambda _t, z: torch.ones_like(z)), start(), (0.0, 1.0), SolverConfig()).statistics
    assert (statistics.accepted, statistics.rejected) == (2, 0)
    assert statistics.nfe_forward == 2 + 6 * 2
    assert statistics.status == Status.COMPLETED


@pytest.mark.parametrize("engine", ENGINES)
def test_rejected_steps_are_counted_and_do_not_move_time(engine: str) -> None:
    # Smooth at first, so that steps grow, then a kink that they must be cut for.
    kink = Field(lambda t, z: -z - 200 * z * torch.relu(t - 0.5))
    seen: list[float] = []

    class Watched(nn.Module):
        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            seen.append(float(t))
            return kink(t, z)

    solution = integrate(Watched(), start(), (0.0, 1.0), SolverConfig(engine=engine))
    statistics = solution.statistics
    assert statistics.rejected > 0
    assert statistics.nfe_forward == len(seen) == 2 + 6 * (statistics.accepted + statistics.rejected)
    # The first stage of each attempt lies at t + dt / 5, the last at t + dt: t follows from the two.
    attempts = [(seen[i], seen[i + 5]) for i in range(2, len(seen), 6)]
    starts = [(5 * first - last) / 4 for first, last in attempts]
    backwards_in_time = [later for earlier, later in pairwise(starts) if later < earlier - 1e-9]
    repeated = [later for earlier, later in pairwise(starts) if abs(later - earlier) < 1e-9]
    assert backwards_in_time == []
    assert len(repeated) == statistics.rejected
    exact = start() * math.exp(-1 - 200 * 0.125)
    assert (solution.state - exact).abs().max() < 1e-2


@pytest.mark.parametrize("final_time", [1e-3, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_the_solve_ends_at_its_final_time(method: str, final_time: float) -> None:
    solver = SolverConfig(method=method, steps=200, rtol=1e-8, atol=1e-8)
    z = integrate(OSCILLATION, start(), (0.0, final_time), solver).state
    assert z.tolist() == pytest.approx((start() * math.exp(math.sin(final_time))).tolist(), rel=1e-5)


@pytest.mark.parametrize("times", [(0.0,), (0, 0), (0, 1e-50), (0, 1e39), (0, math.inf), (0, math.nan), (0, 1, 0.5)])
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_times_that_cannot_be_are_refused_in_a_sentence(method: str, times: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"^(a solve needs a start and an end|the times of a solve must)"):
        integrate(OSCILLATION, start(torch.float32), times, SolverConfig(method=method))


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize("method", ["euler", "rk4", "dopri5"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5)])
def test_the_state_keeps_its_shape_and_dtype(
    method: str, gradient: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    z0 = torch.ones(shape, dtype=dtype, requires_grad=True)
    z = integrate(OSCILLATION, z0, (0.0, 1.0), SolverConfig(method=method, gradient=gradient)).state
    z.sum().backward()
    assert (z.shape, z.dtype) == (z0.shape, dtype)
    assert z0.grad is not None
    assert (z0.grad.shape, z0.grad.dtype) == (z0.shape, dtype)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("method", ["bosh3", "dopri5"])
def test_a_network_takes_the_evaluations_that_the_papers_counted_with_torchdiffeq(
    method: str, tolerance: float
) -> None:
    torch.manual_seed(0)
    field, images = Convolved().double(), torch.randn(8, 6, 7, 7, dtype=torch.float64)
    ours, theirs = (
        integrate(field, images, (0.0, 1.0), SolverConfig(engine=engine, method=method, rtol=tolerance, atol=tolerance))
        for engine in ("odenet", "torchdiffeq")
    )
    # Where a step is rejected torchdiffeq may grow the next one no more; none is here.
    assert ours.statistics.rejected == theirs.statistics.rejected == 0
    assert ours.statistics.nfe_forward == theirs.statistics.nfe_forward


def test_a_derivative_lies_in_memory_as_the_state_does() -> None:
    images = torch.randn(2, 6, 5, 4)
    for state in (images, images.contiguous(memory_format=torch.channels_last)):
        vector_field = VectorField(Field(lambda _t, z: z.contiguous()), Layout(state, per_sample=False), state.device)
        assert vector_field(torch.zeros(()), state).stride() == state.stride()


@pytest.mark.parametrize("gradient", ["direct", "auto", "checkpointed", "adjoint"])
def test_parts_may_be_single_numbers(gradient: str) -> None:
    z0 = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    solver = SolverConfig(rtol=1e-8, atol=1e-8, gradient=gradient)  # type: ignore[arg-type]
    end = integrate(lambda _t, z: (z[1], -z[0]), (z0, torch.zeros_like(z0)), (0.0, 1.0), solver).state
    assert isinstance(end, tuple)
    assert [part.shape for part in end] == [(), ()]
    end[0].backward()
    assert float(z0.grad) == pytest.approx(math.cos(1), abs=1e-6)  # type: ignore[arg-type]


def test_the_adjoint_of_a_method_that_cannot_solve_it_is_refused_before_the_solve() -> None:
    z0 = torch.ones(2, requires_grad=True)
    for method in ("leapfrog", "kvaerno3"):
        solver = SolverConfig(method=method, gradient="adjoint")
        with pytest.raises(InvalidInput, match=f"gradient=adjoint does not go with method={method}"):
            integrate(lambda _t, z: (z[1], -z[0]), (z0, z0), (0.0, 1.0), solver)
