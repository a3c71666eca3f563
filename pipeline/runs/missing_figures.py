"""Figures that a run lacks because they could not be drawn then, drawn from what the store has of it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.runs.annotations import attach_content, refuse_unfinished
from pipeline.runs.query import StoredRun
from pipeline.runs.stored_parts import config_of
from pipeline.tasks.lookup import get_task
from pipeline.tracking.run_document import RunStatus, is_of_task
from pipeline.util.errors import OdenetError, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.tasks.base import Report

_FAILED = re.compile(r"the figure (\S+) could not be drawn")


@dataclass(frozen=True)
class DrawnAgain:
    """What became of the figures that a run lacked."""

    run_id: Any
    drawn: tuple[str, ...]
    """Names of the artifacts that the run now has."""
    left: Mapping[str, str]
    """Name -> why it is still missing."""


def draw_missing(run: StoredRun, home: Path) -> DrawnAgain:
    """Draw what is missing of a run's figures from its numbers, and add it to the run.

    Raises:
        InvalidInput: the run has not ended.
        OdenetError: it changed meanwhile.
    """
    from pipeline.reporting.figure_style import own_style, png

    refuse_unfinished(run, home)
    drawn: list[str] = []
    left: dict[str, str] = {}
    figures = {**_of_training(run), **_of_answers(run)}
    for name in [name for name in figures if name not in run.artifacts]:
        try:
            with own_style():
                content = png(figures[name]())
        except Exception as error:
            left[name] = shortened(f"{type(error).__name__}: {error}", 300)
            continue
        attach_content(run, name, content)
        drawn.append(name)
    for sentence in run.info.get("warnings", ()):
        if (found := _FAILED.match(str(sentence))) and found[1] not in (*figures, *run.artifacts):
            left[found[1]] = (
                f"it needs more than the run has: `odenet evaluate {run.run_id}` draws it, in a run of its own"
            )
    return DrawnAgain(run.run_id, tuple(drawn), left)


def _of_training(run: StoredRun) -> dict[str, "Callable[[], Figure]"]:
    """Artifact -> what draws it, of what the run has the numbers of."""
    from pipeline.reporting.training_figures import plot_function_evaluations, plot_learning_curves, plot_step_sizes

    if run.is_foreign or not is_of_task(run.document) or "history.json" not in run.artifacts:
        return {}
    task, config = get_task(run.task), config_of(run)
    title, history = task.title(config), _json(run, "history.json")
    steps = _json(run, "steps.json") if "steps.json" in run.artifacts else {}
    first, last = steps.get("first_solves") or [], steps.get("last_solves") or []
    figures: dict[str, Callable[[], Figure]] = {
        "learning_curves.png": lambda: plot_learning_curves(
            history, run.info["training"]["best_epoch"], task.metric_specs(), title
        )
    }
    if any("solver.nfe_forward" in row for row in history):
        figures["function_evaluations.png"] = lambda: plot_function_evaluations(history, title)
    if any(first):
        figures["step_sizes.png"] = lambda: plot_step_sizes(first, last, title)
    return figures


def _of_answers(run: StoredRun) -> "Mapping[str, Callable[[], Figure]]":
    """The same of its task's figures of the test split."""
    if run.is_foreign or not is_of_task(run.document) or run.status is not RunStatus.COMPLETED:
        return {}
    task = get_task(run.task)
    try:
        report: Report = task.stored_figures(run.artifact, run.info, task.title(config_of(run)))
    except (OdenetError, ValueError, KeyError):  # what they need is not there, or damaged: they are named as left
        return {}
    return report.figures


def _json(run: StoredRun, name: str) -> Any:
    try:
        return json.loads(run.artifact(name))
    except ValueError as error:
        raise OdenetError(f"{name} of run {run.run_id} is damaged ({error}): its figures cannot be drawn") from None
