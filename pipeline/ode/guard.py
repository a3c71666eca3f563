"""Noticing that the field is computed more coarsely than it is to be solved."""

import warnings
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from pipeline.ode.field import coarse_format, format_name
from pipeline.ode.problem import Outcome, Problem
from pipeline.ode.solution import Statistics
from pipeline.util.user_warnings import OdenetWarning

NOTICEABLE = 0.3
"""Error ratio of rounding alone from which it decides about the steps. Measured with the simple ODE-Net in bfloat16:
dopri5 at 1e-4 reaches 0.2 and costs 1.2 times the evaluations of float32, at 1e-5 0.7 and 1.7 times."""

MANY_STEPS = 20
"""From which on a field is looked at that does not say itself how it is computed."""


class RoundingWarning(OdenetWarning):
    """The error estimate shows the rounding of the field rather than the error of the steps."""


def warn_of_rounding(problem: Problem, z0: Tensor, outcome: Outcome, statistics: Statistics) -> None:
    """Say so where the steps of a solve were so short for its field's rounding and not for the ODE.

    Rounding errors of the stages, taken as independent, enter a step's error estimate with its weights; unlike the
    error of the method they shrink no faster than the step. That a field rounds its values and casts them back is
    looked for in a solve of many steps, where its last evaluation shows it.
    """
    field, tolerance, weight = problem.field, problem.tolerance, problem.method.error_weight
    number_format = ""
    if outcome.roughness * weight * field.rounding > NOTICEABLE:
        number_format = field.number_format if _rounds(problem, z0, outcome) else ""
    elif not field.rounding and weight and statistics.accepted >= MANY_STEPS:
        # Whatever the slope shows, as the norm may be one of several processes, all of which must ask for it.
        change = tolerance.norm(outcome.slope / tolerance.of(outcome.end.detach().abs())).max()
        if (shown := coarse_format(outcome.slope)) is not None:
            roughness = float(change) * max(float(np.abs(trial.dt).max()) for trial in statistics.trials)
            if roughness * weight * torch.finfo(shown).eps / sqrt(12) > NOTICEABLE:
                number_format = format_name(shown)
    if number_format:
        warnings.warn(
            f"the field is rounded to {number_format}, which reaches the errors that rtol={tolerance.rtol:g} and "
            f"atol={tolerance.atol:g} allow in a step, so that steps shrink for rounding: compute it in float32 "
            "(precision fp32) or use looser tolerances",
            RoundingWarning,
            stacklevel=2,
        )


def _rounds(problem: Problem, z0: Tensor, outcome: Outcome) -> bool:
    """Whether anything of the field is rounded where the solve begins, or ends, or in the middle of its time."""
    end = outcome.end.detach()
    t0, t1 = problem.t0, problem.legs[-1].end
    points = ((t0, z0.detach()), (t1, end), (0.5 * (t0 + t1), end))
    return any(problem.field.rounds_at(problem.column(t, z), z) for t, z in points)
