"""What a trial reports to Ray Tune and the searcher, epoch by epoch.

Apart from the searcher, whose library takes a second to be imported: workers report, and search nothing.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pipeline.sweeps.crowded_order import violating
from pipeline.sweeps.goal import Goal
from pipeline.sweeps.state import Trial

EPOCH = "epoch"
OBJECTIVE = "objective"
"""What trials report as the searched metric's value so far: a penalty in its place where a constraint is violated."""
PENALTY = 1e300
"""Objective of a trial that came to nothing: TPE ranks what it was told, so any value that no trial reaches will do."""
MEASURED = "measured"
"""Reported as a list of pairs: Tune takes dictionaries apart."""
REPORTED = {f.name for f in fields(Trial)} - {"number", "suggestion"}
"""What a trial reports of itself after every epoch and at its end, under the state's names."""


def worst(mode: str) -> float:
    """The objective of a failure."""
    return PENALTY if mode == "min" else -PENALTY


def objective_value(goal: Goal, value: float | None, measured: Mapping[str, float]) -> float:
    """The objective of a trial that has come to `value`; of several the first one's.

    A trial that violates constraints ranks behind all that meet them, and among its like by how much it misses them.
    """
    mode = goal.objectives[0].mode
    if value is None:
        return worst(mode)
    if not measured or not goal.violated(measured):
        return value
    loss = violating(goal.excess(measured))
    return loss if mode == "min" else -loss


def update(trial: Trial, result: Mapping[str, Any]) -> None:
    """Enter what the trial reported."""
    for name in REPORTED & result.keys():
        setattr(trial, name, dict(result[name]) if name == MEASURED else result[name])
