"""The loop: step after step from t = 0 to the end, each accepted or tried again."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

import torch
from torch import Tensor

from pipeline.config import SolverConfig
from pipeline.device.random_state import RandomState
from pipeline.methods import TABLEAUS
from pipeline.methods.tableau import Tableau
from pipeline.ode.control import EqualSteps, StepSizeControl, end_of_step, first_step, obstacle
from pipeline.ode.solution import Attempt, SolverFailure, Status, state_norm
from pipeline.ode.step import Derivative, Norm, scalar
from pipeline.ode.step_functions import EAGER, StepFunctions
from pipeline.ode.trajectory import Segment, Trajectory


@dataclass
class Problem:
    """dz/dt = derivative(t, z) on [0, t1], how it is solved, and what that has cost so far.

    Attributes:
        norm: size of an error relative to what the tolerances allow.
        direction: the pass that a failure is said to be of.
        first_dt: size of the first step of an adaptive method, where it need not be estimated.
        slope: size of dz/dt at t = 0 relative to what the tolerances allow; 0 for a fixed-step method.
        functions: what the steps are computed with.
        proposed_dt: step size that the first accepted step led to.
    """

    derivative: Derivative
    t1: float
    solver: SolverConfig
    rtol: float
    atol: float
    norm: Norm
    direction: Literal["forward", "backward"]
    first_dt: float | None = None
    functions: StepFunctions = EAGER
    nfe: int = 0
    slope: float = 0.0
    proposed_dt: float | None = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def tableau(self) -> Tableau:
        return TABLEAUS[self.solver.method]

    def evaluate(self, t: float, z: Tensor) -> Tensor:
        """One evaluation, counted."""
        self.nfe += 1
        return self.functions.evaluate(self.derivative, scalar(t, z), z)

    def failure(self, status: Status, t: float, dt: float, z: Tensor) -> SolverFailure:
        """What ends the solve at `t` before a step `dt`."""
        # The adjoint is solved in reversed time.
        reached = t if self.direction == "forward" else self.t1 - t
        return SolverFailure(status, reached, dt, self.nfe, state_norm(z), self.direction)


def solve(problem: Problem, z0: Tensor, path: Trajectory) -> Tensor:
    """z(t1), reached in steps the last of which ends exactly there.

    A step that is not accepted leaves nothing behind. The device is waited for once a step, for its error ratio, and
    twice more to begin an adaptive solve.

    Args:
        path: told of every accepted step.

    Raises:
        SolverFailure: step size underflow, step limit, or a state or derivative that is not finite.
    """
    t, z = 0.0, path.leaf(z0)
    random_first = path.random_state()
    with path.watched():
        first = problem.evaluate(t, z)
    control = _begin(problem, z, first)
    while t < problem.t1:
        end = _end_of_step(problem, control.dt, t, z)
        dt = end - t
        with path.watched():
            trial = _try_step(problem, path, t, end, z, first)
        accepted = control.accepts(dt, trial.ratio)
        problem.attempts.append(Attempt(t, dt, trial.ratio, accepted))
        if accepted:
            path.extend(Segment(t, dt, z, trial.end, random_first, trial.random_stages))
            problem.proposed_dt = problem.proposed_dt or control.dt
            t, z, random_first = end, trial.leaf, trial.random_last
            if trial.last is not None:
                first = trial.last
            elif t < problem.t1:
                with path.watched():
                    first = problem.evaluate(t, z)
        del trial  # with its graph, before the next one is built
    return z


@dataclass
class _StepAttempt:
    """A step that was tried.

    Attributes:
        end: the state that it reached, with its graph.
        leaf: the same as the next step would start from it.
        last: dz/dt there, if the method has evaluated it for its error: the first stage of the next step.
        random_stages, random_last: random states before the stages after the first, and before `last`.
    """

    end: Tensor
    leaf: Tensor
    last: Tensor | None
    ratio: float
    random_stages: RandomState | None
    random_last: RandomState | None


def _try_step(problem: Problem, path: Trajectory, t: float, end: float, z: Tensor, first: Tensor) -> _StepAttempt:
    tableau, dt = problem.tableau, scalar(end - t, z)
    random_stages = path.random_state()
    state, error = problem.functions.advance(problem.derivative, tableau, scalar(t, z), dt, z, first)
    problem.nfe += tableau.advancing_stages - 1
    leaf, last = path.leaf(state), None
    random_last = path.random_state()
    if tableau.first_same_as_last:
        # At the end time it serves the error alone.
        with torch.set_grad_enabled(torch.is_grad_enabled() and end < problem.t1):
            last = problem.evaluate(end, leaf)
    ratio = problem.functions.error_ratio(tableau, dt, z, leaf, error, last, problem.rtol, problem.atol, problem.norm)
    return _StepAttempt(state, leaf, last, float(ratio), random_stages, random_last)


def _begin(problem: Problem, z: Tensor, first: Tensor) -> EqualSteps | StepSizeControl:
    tableau, solver = problem.tableau, problem.solver
    if not tableau.is_adaptive:
        return EqualSteps(problem.t1 / solver.steps)
    dt, problem.slope = first_step(
        problem.evaluate,
        z,
        first,
        problem.t1,
        tableau.error_order,
        problem.rtol,
        problem.atol,
        problem.norm,
        problem.first_dt,
    )
    return StepSizeControl(dt, tableau.error_order, solver.controller)


def _end_of_step(problem: Problem, dt: float, t: float, z: Tensor) -> float:
    """Where a step of about `dt` ends, at the end time at the latest."""
    max_steps = problem.solver.max_steps if problem.tableau.is_adaptive else None
    status = obstacle(dt, problem.t1, problem.attempts, max_steps)
    if status is not None:
        raise problem.failure(status, t, dt if isfinite(dt) else 0.0, z)
    return end_of_step(t, dt, problem.t1)
