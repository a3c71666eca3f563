"""Problems whose solutions are known: what every method makes of them, beside what SciPy makes of them.

SciPy's controllers were tuned by others over decades, so its own error at a tolerance is the measure of ours at the
same tolerance; what is allowed beyond it stands with each bound.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import median

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.problems import (
    ARENSTORF,
    DETEST,
    LORENZ,
    PROBLEMS,
    ROBERTSON,
    STIFF_VAN_DER_POL,
    TORCHDIFFEQ,
    VAN_DER_POL,
    Problem,
    by_scipy,
    error,
    reference,
    slow_decay,
    slow_wave,
    vector,
)
from pipeline.config import SolverConfig
from pipeline.ode import Solution, SolverFailure, Status, integrate

EXPLICIT = ("dopri5", "dopri8", "bosh3", "heun", "tsit5")
IMPLICIT = "kvaerno3"
EQUAL_STEPS = {"euler": (350, 6e-2), "midpoint": (140, 2e-3), "rk4": (70, 1e-5)}
"""Steps over torchdiffeq's interval, and the error allowed for them: twice what the method's own formula, applied by
hand, is off by at the worst of the problems; ten times for rk4, so that states between its long steps may be
interpolated by a cubic."""
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}
ROBERTSON_TIMES = (0.0, 0.4, 40.0, 1e5)
VAN_DER_POL_TIMES = (0.0, 200.0, 400.0, 600.0, 1000.0, 1200.0, 1400.0, 2000.0)
"""On the slow branches, between the jumps near 807 and 1614."""


def solve(
    problem: Problem,
    method: str,
    tolerance: float,
    times: Sequence[float] | None = None,
    z0: Tensor | None = None,
    atol: float | None = None,
    max_steps: int = 100_000,
    steps: int = 1,
) -> Solution:
    """At `times`, at the problem's ends without them."""
    solver = SolverConfig(
        method=method,
        rtol=tolerance,
        atol=tolerance if atol is None else atol,
        max_steps=max_steps,
        steps=steps,
    )
    with torch.no_grad():
        return integrate(
            problem.function,
            problem.z0 if z0 is None else z0,
            (problem.t0, problem.t1) if times is None else times,
            solver,
        )


# ---- The problems themselves


@pytest.mark.parametrize("problem", [p for p in PROBLEMS.values() if p.exact is not None], ids=str)
def test_a_closed_form_is_the_solution_that_scipy_finds(problem: Problem) -> None:
    times = problem.times(9)
    assert problem.exact is not None
    exact = problem.exact(vector(*times))
    torch.testing.assert_close(exact[0], problem.z0, rtol=0, atol=1e-14)
    assert error(reference(problem, times), exact) < 5e-10


@pytest.mark.parametrize("problem", [p for p in PROBLEMS.values() if p.final is not None], ids=str)
def test_scipy_ends_where_the_literature_says(problem: Problem) -> None:
    assert problem.final is not None
    # The stiff solve takes SciPy seconds: the one that another test needs.
    times = VAN_DER_POL_TIMES if problem is STIFF_VAN_DER_POL else (problem.t0, problem.t1)
    end = reference(problem, times)[-1]
    # Arenstorf's orbit passes so near to the moon that errors grow ten-thousandfold on it.
    assert (end - problem.final).abs().max() < (1e-7 if problem is ARENSTORF else 1e-10)


def test_every_problem_of_detest_is_there() -> None:
    assert [problem.name for problem in DETEST] == [f"{group}{number}" for group in "ABCDE" for number in range(1, 6)]
    assert {(problem.t0, problem.t1) for problem in DETEST} == {(0, 20)}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=str)
def test_a_problem_computes_in_the_type_of_its_state(problem: Problem) -> None:
    for dtype in (torch.float32, torch.float64):
        slope = problem.function(torch.tensor(problem.t0, dtype=dtype), problem.z0.to(dtype))
        assert (slope.dtype, slope.shape) == (dtype, problem.z0.shape)


# ---- torchdiffeq's problems


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("method", [*EQUAL_STEPS, *EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("problem", TORCHDIFFEQ, ids=str)
def test_a_closed_form_is_met_at_every_time(problem: Problem, method: str, direction: str, dtype: torch.dtype) -> None:
    """An adaptive method to thirty times its tolerance: errors add up, to 14 times it with SciPy's RK23."""
    times = problem.times(15) if direction == "forward" else problem.times(15)[::-1]
    assert problem.exact is not None
    exact = problem.exact(vector(*times))
    z0 = exact[0].to(dtype)
    tolerance = 1e-4 if method == "heun" else TOLERANCES[dtype]  # of order 2, it takes thousands of steps to 1e-6
    steps, allowed = EQUAL_STEPS.get(method, (1, 30 * tolerance))
    solution = solve(problem, method, tolerance, times, z0, steps=steps)
    assert solution.states.dtype == dtype
    assert solution.states.shape == exact.shape
    assert torch.equal(solution.states[0], z0)
    assert torch.equal(solution.states[-1], solution.state)
    assert error(solution.states, exact) < allowed


# ---- Problems that are not stiff


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8"])
@pytest.mark.parametrize("problem", [*DETEST, VAN_DER_POL, LORENZ], ids=str)
def test_an_error_is_of_the_size_of_scipys(problem: Problem, method: str) -> None:
    """Five times RK45's at most, and five tolerances; of dopri8, five times what the worse of RK45 and DOP853 has.

    On the orbits, where errors grow, RK45 itself is off by nearly a thousand tolerances, and another controller's
    steps may double that. The longest steps, those of order 8, have their errors between their ends: on C2, whose
    fastest decay is nearly stiff, DOP853 is off by 64 tolerances there.
    """
    tolerance, times = 1e-6, problem.times(11)
    right = reference(problem, times)
    peers = ("RK45", "DOP853") if method == "dopri8" else ("RK45",)
    theirs = max(error(by_scipy(problem, peer, tolerance, times).states, right) for peer in peers)
    assert error(solve(problem, method, tolerance, times).states, right) < 5 * theirs + 5 * tolerance


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8"])
def test_the_orbit_of_arenstorf_closes(method: str, direction: int) -> None:
    """To 1e-5 at a tolerance of 1e-10, where SciPy's RK45 closes it to 1.6e-6 and DOP853 to 6e-7."""
    solution = solve(ARENSTORF, method, 1e-10, (0.0, direction * ARENSTORF.t1))
    assert (solution.state - ARENSTORF.z0).abs().max() < 1e-5


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("name", ["B1", "B4", "E3"])
def test_a_state_on_the_way_is_that_of_a_solve_which_ends_there(name: str, method: str) -> None:
    """To ten times the tolerance, each solve to its time being on its own."""
    problem, tolerance = PROBLEMS[name], 1e-4 if method == "heun" else 1e-6
    draws = torch.rand(49, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = [0.0, *(3 * draws).sort().values.tolist()]
    states = solve(problem, method, tolerance, times).states
    alone = torch.stack([solve(problem, method, tolerance, (0.0, time)).state for time in times[1:]])
    assert error(states[1:], alone) < 10 * tolerance


@pytest.mark.parametrize("method", EXPLICIT)
def test_states_on_the_way_back_are_those_of_the_way_there(method: str) -> None:
    """To thirty times the tolerance, as on torchdiffeq's problems: the torus draws neighbours together and apart."""
    problem, tolerance = PROBLEMS["B4"], 1e-4 if method == "heun" else 1e-6
    assert problem.exact is not None
    times = sorted([3.0, 0.0, *(3 * np.random.default_rng(0).random(48)).tolist()], reverse=True)
    exact = problem.exact(vector(*times))
    assert error(solve(problem, method, tolerance, times, exact[0]).states, exact) < 30 * tolerance


# ---- Work

Points = list[tuple[float, int]]
"""Errors at the end time, and the evaluations that they took."""
WORK_TOLERANCES = tuple(10.0**-exponent for exponent in range(3, 9))


def evaluations_at(points: Points, target: float) -> float:
    """Of the straight line through the logarithms of errors and evaluations, at an error of `target`.

    Single points scatter, where an error happens to be near a change of its sign; the line does not.
    """
    errors, evaluations = np.log(points).T
    slope, intercept = np.polyfit(errors, evaluations, 1)
    return math.exp(slope * math.log(target) + intercept)


@cache
def by_rk45(problem: Problem) -> Points:
    right = reference(problem, (problem.t0, problem.t1))[-1:]
    solves = [by_scipy(problem, "RK45", tolerance) for tolerance in WORK_TOLERANCES]
    return [(error(solved.states[-1:], right), solved.evaluations) for solved in solves]


WORKED = [PROBLEMS[name] for name in ("A3", "B1", "B4", "B5", "C5", "D1", "D3", "D5", "E1", "E2", "E3")]
"""Those of DETEST on which errors of fifth-order steps decide, from the loosest of the tolerances on."""


@pytest.mark.parametrize(("method", "allowed"), [("dopri5", 1.05), ("tsit5", 1.0)])
def test_the_same_accuracy_takes_no_more_evaluations_than_with_scipys_rk45(method: str, allowed: float) -> None:
    """In the median over the problems; dopri5 and RK45 being one method, 5 % for what the fit leaves open."""
    ratios = []
    for problem in WORKED:
        right = reference(problem, (problem.t0, problem.t1))[-1:]
        solves = [solve(problem, method, tolerance) for tolerance in WORK_TOLERANCES]
        ours = [(error(solution.states[-1:], right), solution.statistics.nfe_forward) for solution in solves]
        theirs = by_rk45(problem)
        lowest, highest = max(min(ours), min(theirs))[0], min(max(ours), max(theirs))[0]
        target = math.sqrt(lowest * highest)  # amid what both have reached
        ratios.append(evaluations_at(ours, target) / evaluations_at(theirs, target))
    assert median(ratios) < allowed, dict(zip(map(str, WORKED), ratios, strict=True))


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3"])
@pytest.mark.parametrize("t1", [1e10, 1e12])
@pytest.mark.parametrize("kind", ["decay", "decay at once", "wave"])
def test_a_solution_that_slows_down_is_followed_for_ages(kind: str, t1: float, method: str) -> None:
    """Begun with steps that are nothing beside the end time, and with about as many of them as SciPy takes.

    Five times the error of SciPy's method of the same order and five tolerances, as on DETEST; a third more
    evaluations, for a controller that lets its steps grow more slowly, and 50 for the start and the end.
    """
    problem = {"decay": slow_decay(t1), "decay at once": slow_decay(t1, 1e4), "wave": slow_wave(t1)}[kind]
    tolerance, peer = 1e-6, {"dopri8": "DOP853", "bosh3": "RK23"}.get(method, "RK45")
    assert problem.exact is not None
    right = problem.exact(vector(t1))
    theirs = by_scipy(problem, peer, tolerance)
    ours = solve(problem, method, tolerance)
    assert error(ours.states[-1:], right) < 5 * error(theirs.states[-1:], right) + 5 * tolerance
    assert ours.statistics.nfe_forward < 4 / 3 * theirs.evaluations + 50


# ---- Stiff problems


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("problem", [ROBERTSON, STIFF_VAN_DER_POL], ids=str)
def test_a_stiff_problem_ends_an_explicit_solve_at_the_step_limit(problem: Problem, method: str) -> None:
    """No underflow: its steps are small beside the interval, but for stability alone, and do not shrink."""
    with pytest.raises(SolverFailure) as failure:
        solve(problem, method, 1e-6, (0.0, min(problem.t1, 1e5)), max_steps=1000)
    assert failure.value.status == Status.STEP_LIMIT
    assert 0 < failure.value.t < problem.t1 / 2


@pytest.mark.parametrize(
    ("problem", "times", "atol"),
    [(ROBERTSON, ROBERTSON_TIMES, 1e-10), (STIFF_VAN_DER_POL, VAN_DER_POL_TIMES, 1e-6)],
    ids=["Robertson", "van der Pol"],
)
def test_the_implicit_method_solves_a_stiff_problem(problem: Problem, times: tuple[float, ...], atol: float) -> None:
    """Every component to twenty times what the tolerances allow a step.

    SciPy's Radau, of order 5, is off by 0.3 times that at the worst, its BDF by 44 times, and the formula of Kvaerno's
    method, with plain Newton iterations, by 3 times.
    """
    right = reference(problem, times)
    states = solve(problem, IMPLICIT, 1e-6, times, atol=atol, max_steps=5000).states
    assert ((states - right).abs() / (atol + 1e-6 * right.abs())).max() < 20


def test_the_implicit_method_keeps_the_mass_of_robertsons_reaction() -> None:
    states = solve(ROBERTSON, IMPLICIT, 1e-6, ROBERTSON_TIMES, atol=1e-10, max_steps=5000).states
    assert (states.sum(1) - 1).abs().max() < 1e-6
    assert states.min() > -1e-8
