"""What ends a solve before its time."""

from math import inf, isfinite

import numpy as np
from torch import Tensor

from pipeline.ode.control import CUTS_OF_NO_NUMBER, Floats
from pipeline.ode.problem import Problem
from pipeline.ode.solution import SolverFailure, Statistics, Status, state_norm
from pipeline.ode.vector import Vector


def refuse_what_cannot_go_on(
    problem: Problem, statistics: Statistics, vector: Vector, z: Tensor, slope: Tensor, shortest_dt: Floats
) -> None:
    """Raise where an element of the vector cannot take its next step.

    Args:
        z, slope: state of the elements, and dz/dt there.

    Raises:
        SolverFailure: of several elements that cannot, of the one that has come least far.
    """
    is_number = np.isfinite(vector.dt)
    is_lost = vector.dt <= shortest_dt
    is_out_of_steps = vector.tries >= (inf if problem.max_steps is None else problem.max_steps)
    failed = ~is_number | is_lost | (vector.cuts >= CUTS_OF_NO_NUMBER) | is_out_of_steps
    if not failed.any():
        return
    candidates = np.flatnonzero(failed)
    position = int(candidates[np.argmin(np.abs(vector.t[candidates] - problem.t0))])
    statistics.status = Status.STEP_LIMIT
    if not vector.converged:
        statistics.status = Status.NOT_CONVERGED
    elif not is_number[position] or vector.cuts[position]:
        statistics.status = Status.DIVERGED
    elif is_lost[position]:
        statistics.status = Status.UNDERFLOW
    raise _failure(problem, statistics, vector, z, slope, position)


def _failure(
    problem: Problem, statistics: Statistics, vector: Vector, z: Tensor, slope: Tensor, position: int
) -> SolverFailure:
    """What ends the solve at an element of the vector."""
    dt = float(vector.dt[position])
    nfe, sample, state = statistics.nfe_forward, None, z
    if statistics.nfe_of_samples is not None:
        sample, state = int(vector.index[position]), z[position]
        nfe = int(statistics.nfe_of_samples[sample])
    return SolverFailure(
        statistics.status,
        float(vector.t[position]),
        dt if isfinite(dt) else 0.0,
        nfe,
        state_norm(state),
        problem.direction,
        sample,
        problem.field.rounding_above(problem.tolerance.rtol, slope),
    )
