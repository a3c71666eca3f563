"""Noticing that the field is computed more coarsely than it is to be solved."""

import warnings
from collections.abc import Iterable, Sequence
from math import hypot

from pipeline.config import SolverConfig
from pipeline.methods import TABLEAUS
from pipeline.ode.field import VectorField
from pipeline.ode.solution import Attempt
from pipeline.util.user_warnings import OdenetWarning

NOTICEABLE = 0.3
"""Error ratio of rounding alone from which it decides about the steps. Measured with the simple ODE-Net in bfloat16:
dopri5 at 1e-4 reaches 0.2 and costs 1.2 times the evaluations of float32, at 1e-5 0.7 and 1.7 times."""


class RoundingWarning(OdenetWarning):
    """The error estimate shows the rounding of the field rather than the error of the steps."""


def warn_of_rounding(
    field: VectorField, solver: SolverConfig, solves: Iterable[tuple[float, Sequence[Attempt]]]
) -> None:
    """Say so where the steps of a solve were so short for its field's rounding and not for the ODE.

    Rounding errors of the stages, taken as independent, enter a step's error estimate with its weights; unlike the
    error of the method they shrink no faster than the step.

    Args:
        solves: of each, the size of dz/dt at t = 0 relative to what the tolerances allow, and its steps.
    """
    weights = hypot(*TABLEAUS[solver.method].error)
    ratio = max(slope * _longest(attempts) for slope, attempts in solves) * weights * field.rounding
    if ratio > NOTICEABLE:
        warnings.warn(
            f"the field is rounded to {field.number_format}, which reaches the errors that solver.rtol="
            f"{solver.rtol:g} and solver.atol={solver.atol:g} allow in a step, so that steps shrink for rounding: "
            "use training.precision=fp32 or looser tolerances",
            RoundingWarning,
            stacklevel=2,
        )


def _longest(attempts: Sequence[Attempt]) -> float:
    """Size of the longest step that was accepted."""
    return max((attempt.dt for attempt in attempts if attempt.accepted), default=0.0)
