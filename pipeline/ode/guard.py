"""Noticing that the field is computed more coarsely than it is to be solved."""

import warnings
from math import hypot

from pipeline.ode.field import VectorField
from pipeline.ode.solve import Problem

NOTICEABLE = 0.3
"""Error ratio of rounding alone from which it decides about the steps. Measured with the simple ODE-Net in bfloat16:
dopri5 at 1e-4 reaches 0.2 and costs 1.4 times the evaluations of float32, at 1e-5 0.5 and 2.2 times."""


class RoundingWarning(UserWarning):
    """The error estimate shows the rounding of the field rather than the error of the steps."""


def warn_of_rounding(problem: Problem, field: VectorField) -> None:
    """Say so where a solve's steps were so short for its field's rounding and not for the ODE.

    Rounding errors of the stages, taken as independent, enter a step's error estimate with its weights; unlike the
    error of the method they shrink no faster than the step.
    """
    weights = hypot(*problem.tableau.error)
    longest = max((attempt.dt for attempt in problem.attempts if attempt.accepted), default=0.0)
    if longest * weights * field.rounding * problem.slope > NOTICEABLE:
        warnings.warn(
            f"the field is rounded to {field.number_format}, which reaches the errors that solver.rtol="
            f"{problem.rtol:g} and solver.atol={problem.atol:g} allow in a step, so that steps shrink for rounding: "
            "use training.precision=fp32 or looser tolerances",
            RoundingWarning,
            stacklevel=2,
        )
