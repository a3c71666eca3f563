"""A comparison as an HTML page that is a single file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.comparison.compare import Comparison
from pipeline.comparison.fairness import find_unfairness
from pipeline.comparison.figures import plot_run_curves
from pipeline.comparison.groups import Group
from pipeline.comparison.tables import (
    conditions,
    config_table,
    cost_table,
    results_table,
    runs_table,
    tests_table,
)
from pipeline.config.display_names import data_name
from pipeline.reporting.figure_style import own_style
from pipeline.reporting.html import render
from pipeline.tasks.classification.figures import plot_confusion_counts
from pipeline.util.files import write_result


@own_style()
def page(comparison: Comparison, tried: Mapping[str, int] | None = None) -> str:
    """The page with all tables and figures of the comparison; `tried` as `find_unfairness` takes it."""
    groups, runs, test = comparison.groups, comparison.runs, comparison.paired_test
    title = " against ".join(group.name for group in groups) if len(groups) < 4 else f"{len(groups)} configurations"
    data = sorted({data_name({"name": run.config.get("data.name")}) for run in runs})
    missing = _run_ids([run.run_id for run in runs if not len(run.history)])
    has_classes = any(group.classes for group in groups)
    gap = f" Without an epoch, and so without a curve: run {missing}." if missing else ""
    return render(
        "comparison.html.j2",
        title=title[0].upper() + title[1:],
        subtitle=f"{len(runs)} runs on {', '.join(data)}: {'; '.join(map(_members, groups))}",
        cautions=find_unfairness(comparison, tried),
        results=results_table(comparison),
        curves=plot_run_curves(groups, comparison.metrics),
        curves_caption=f"One line a run, one colour a group.{gap}",
        tests=None if test is None else tests_table(comparison, test),
        cost=cost_table(groups),
        matrices=[_matrix(group) for group in groups if _may_have_matrix(group)] if has_classes else [],
        config=config_table(comparison),
        runs=runs_table(comparison),
        conditions=conditions(comparison),
    )


def write_page(comparison: Comparison, path: Path, tried: Mapping[str, int] | None = None) -> None:
    """Write the page, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_result(path, page(comparison, tried), "page")


def _members(group: Group) -> str:
    return f"{group.label} (runs {_run_ids([run.run_id for run in group.runs])})"


def _may_have_matrix(group: Group) -> bool:
    """A group of which no run completed is said to lack one; one that has none by its task is left out."""
    return bool(group.classes) or not group.completed


def _matrix(group: Group) -> dict[str, Any]:
    """The confusion matrix of all runs of the group with predictions; its figure is None without any."""
    counts = group.confusion()
    summed = [run.run_id for run in group.completed if run.answers is not None]
    return {
        "label": group.label,
        "figure": None if counts is None else plot_confusion_counts(counts, group.classes, group.label),
        "caption": f"Runs {_run_ids(summed)} summed." if len(summed) > 1 else f"Run {_run_ids(summed)}.",
    }


def _run_ids(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids))
