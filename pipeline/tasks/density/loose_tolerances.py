"""Tolerances that are too loose for a density."""

import warnings

from pipeline.flows.check import tightened
from pipeline.methods import METHODS
from pipeline.tasks.density import evaluation
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.evaluation import Answers
from pipeline.tasks.density.points import DensityPoints
from pipeline.util.user_warnings import OdenetWarning

LOOSE = 1e-4
"""Tolerance of an adaptive method above which a likelihood has an error that shows."""


class ToleranceWarning(OdenetWarning):
    """A likelihood with a numerical error that shows."""


def warn_of_loose_tolerances(answers: Answers, config: DensityConfig, data: DensityPoints) -> None:
    """Of tolerances above `LOOSE`, with what they do to the likelihood."""
    solver, flow, points = config.solver, config.flow, data.test[: evaluation.CHECKED]
    if METHODS[solver.method].is_adaptive and max(solver.rtol, solver.atol) > LOOSE:
        shift = evaluation.shift_between(answers.network, points, solver, tightened(solver))
        _warn(f"solver.rtol={solver.rtol:g} and atol={solver.atol:g}", shift, "trained")
    if METHODS[flow.test_method].is_adaptive and max(flow.test_rtol, flow.test_atol) > LOOSE:
        _warn(
            f"flow.test_rtol={flow.test_rtol:g} and test_atol={flow.test_atol:g}", answers.checks["nll_shift"], "tested"
        )


def _warn(setting: str, shift: float, done: str) -> None:
    message = (
        f"{setting} are loose for a density: a hundredth of them moves the NLL, as it was {done}, by {shift:+.1g} "
        "nats; use 1e-5 or less"
    )
    warnings.warn(ToleranceWarning(message), stacklevel=2)
