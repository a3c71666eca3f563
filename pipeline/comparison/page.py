"""A comparison as one HTML file that needs nothing beside itself."""

from html import escape
from pathlib import Path

from pipeline.comparison.compare import ComparedRun, Comparison, Group
from pipeline.comparison.fairness import find_unfairness
from pipeline.comparison.tables import (
    conditions,
    config_table,
    cost_table,
    results_table,
    runs_table,
    tests_table,
)
from pipeline.reporting.figures import RunCurve, plot_confusion_counts, plot_run_curves
from pipeline.reporting.html import care, document, image, section, wide_figure, write_whole
from pipeline.reporting.html import conditions as conditions_section


def page(comparison: Comparison) -> str:
    """The whole page: images inlined, no scripts, nothing from elsewhere."""
    groups, runs = comparison.groups, comparison.runs
    title = " against ".join(group.name for group in groups) if len(groups) < 4 else f"{len(groups)} configurations"
    data = sorted({Path(run.config["data.name"]).stem for run in runs})
    return document(
        title[0].upper() + title[1:],
        f"{len(runs)} runs on {', '.join(data)}: {_members(groups)}",
        [
            care(find_unfairness(comparison)),
            section(results_table(groups)),
            _curves(comparison),
            section(tests_table(comparison)),
            section(cost_table(groups)),
            _matrices(groups),
            section(config_table(comparison)),
            section(runs_table(comparison)),
            conditions_section(conditions(comparison)),
        ],
    )


def write_page(comparison: Comparison, path: Path) -> None:
    """Write `page`, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_whole(page(comparison), path)


def _members(groups: tuple[Group, ...]) -> str:
    return "; ".join(f"{group.label} (runs {', '.join(str(run.run_id) for run in group.runs)})" for group in groups)


def _curves(comparison: Comparison) -> str:
    curves = [_curve(run, group) for group in comparison.groups for run in group.runs if len(run.history)]
    if not curves:
        return "<section><h2>Learning curves</h2><p>No run came to the end of an epoch.</p></section>"
    missing = [str(run.run_id) for run in comparison.runs if not len(run.history)]
    gap = f" Without an epoch, and so without a curve: run {', '.join(missing)}." if missing else ""
    return wide_figure(
        "Learning curves",
        plot_run_curves(curves, ""),
        "Loss, accuracy and evaluations by epoch",
        f"One line a run, one colour a group.{gap}",
    )


def _curve(run: ComparedRun, group: Group) -> RunCurve:
    return RunCurve(group.label, run.history, run.best_epoch, run.completed)


def _matrices(groups: tuple[Group, ...]) -> str:
    figures = "".join(_matrix(group) for group in groups)
    return f'<section><h2>Confusion matrices</h2><div class="matrices">{figures}</div></section>'


def _matrix(group: Group) -> str:
    counts = group.confusion()
    if counts is None:
        return f"<p>{escape(group.label)}: no run with predictions.</p>"
    summed = [str(run.run_id) for run in group.completed if run.answers is not None]
    caption = f"{'Runs' if len(summed) > 1 else 'Run'} {', '.join(summed)}{' summed' if len(summed) > 1 else ''}."
    matrix = image(plot_confusion_counts(counts, group.classes, group.label), f"Confusion matrix of {group.label}")
    return f"<figure>{matrix}<figcaption>{escape(caption)}</figcaption></figure>"
