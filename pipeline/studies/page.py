"""A study as an HTML page that is a single file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from pipeline.comparison.figures import plot_run_curves
from pipeline.reporting.figure_style import own_style
from pipeline.reporting.html import render
from pipeline.reporting.text_table import TextTable
from pipeline.reporting.words import sentence_case
from pipeline.studies.cautions import cautions, conditions
from pipeline.studies.columns import Column
from pipeline.studies.figures import (
    plot_beside,
    plot_evaluations_over_epochs,
    plot_over_levels,
    plot_result_over_cost,
)
from pipeline.studies.result import RowResult, StudyResult
from pipeline.studies.tables import (
    beside_table,
    claims_table,
    doubtful_numbers,
    headline,
    numbers_tables,
    subtitle,
)
from pipeline.tasks.classification.figures import plot_confusion_counts, plot_report_of_counts
from pipeline.tracking.run_document import metric_specs

COSTS = ("nfe_test", "solver.nfe_forward", "nfe_forward", "multiply_adds_test", "epoch_seconds", "parameters")
"""What a result is drawn over, the first that the study reads."""


@dataclass(frozen=True)
class Drawn:
    """A figure with its title and its caption."""

    title: str
    figure: Figure
    text: str
    caption: str


@own_style()
def page(result: StudyResult) -> str:
    """The page with all tables and figures of the study."""
    return render(
        "study.html.j2",
        title=headline(result),
        subtitle=subtitle(result),
        cautions=[*result.study.doubts, *doubtful_numbers(result), *cautions(result)],
        tables=[table for table in (beside_table(result), claims_table(result)) if table.rows],
        numbers=numbers_tables(result),
        figures=[drawn for block, rows in result.blocks.items() for drawn in _figures(result, block, rows)],
        matrices=[drawn for row in result.rows for drawn in _answers(row)],
        runs=_runs_table(result),
        conditions=conditions(result),
        study=result.study.text.strip(),
    )


def _figures(result: StudyResult, block: str, rows: Sequence[RowResult]) -> Iterator[Drawn]:
    of_block = f" – {block}" if block else ""
    columns = {column.name: column for column in result.columns}
    beside = [
        column for column in result.columns if any((row.row.name, column.name) in result.study.paper for row in rows)
    ]
    for column in beside[:3]:
        if (figure := plot_beside(result, rows, column)) is not None:
            yield Drawn(
                sentence_case(f"{column.heading}{of_block}"), figure,
                f"{column.heading} of every row beside the paper's",
                "Points: seeds and their mean, with the interval of the table; squares: the paper.",
            )  # fmt: skip
    if (figure := plot_over_levels(result, rows, result.columns)) is not None:
        yield Drawn(
            f"Over {result.study.axis}{of_block}",
            figure,
            f"Each number over {result.study.axis}",
            "Small points: seeds.",
        )
    what = _first(columns, _result_names(result))
    cost = _first(columns, COSTS)
    if (
        what is not None
        and cost is not None
        and (figure := plot_result_over_cost(result, rows, what, cost)) is not None
    ):
        caption = sentence_case(f"{what.heading} over {cost.heading}, scale {result.scale.name}.")
        yield Drawn(sentence_case(f"{what.heading} over {cost.heading}{of_block}"), figure, caption, caption)
    groups = [row.group for row in rows if any(len(run.history) for run in row.runs)]
    if groups:
        specs = {spec.name: spec for group in groups for run in group.runs for spec in metric_specs(run.document)}
        if (figure := plot_run_curves(groups, specs.values())) is not None:
            yield Drawn(f"Learning curves{of_block}", figure, "Metrics by epoch", "One line a run, one colour a row.")
    if (figure := plot_evaluations_over_epochs(rows, "")) is not None:
        caption = "Mean over seeds, their range shaded; a cross ends a row whose runs did not complete."
        yield Drawn(
            f"Evaluations over epochs{of_block}", figure, "Evaluations of the field per batch by epoch", caption
        )


def _result_names(result: StudyResult) -> list[str]:
    """The quantity that is the result of the runs, else whatever is read first."""
    named = [run.document.get("experiment", {}).get("result", "test.accuracy") for run in result.runs[:1]]
    return [name.partition(".")[2] for name in named]


def _first(columns: dict[str, Column], names: Sequence[str]) -> Column | None:
    return next((columns[name] for name in names if name in columns), None)


def _answers(row: RowResult) -> Iterator[dict[str, Any]]:
    """The confusion matrix and the classification report of a row, summed over its runs."""
    group = row.group
    counts = group.confusion()
    if counts is None:
        return
    ids = ", ".join(str(run.run_id) for run in group.completed if run.answers is not None)
    yield {
        "label": row.row.label,
        "figure": plot_confusion_counts(counts, group.classes, row.row.label),
        "caption": f"Runs {ids} summed.",
    }
    yield {
        "label": row.row.label,
        "figure": plot_report_of_counts(counts, group.classes, row.row.label),
        "caption": f"Precision, recall and F1 of runs {ids}.",
    }


def _runs_table(result: StudyResult) -> TextTable:
    rows = []
    for row in result.rows:
        for answer in row.answers:
            number = "–" if answer.run is None else str(answer.run.run_id)
            rows.append((number, row.row.label, str(answer.seed), answer.outcome.replace("_", " "), answer.why))
    return TextTable(
        "Runs",
        ("run", "row", "seed", "ended", "in its words"),
        tuple(rows),
        "rlrll",
        "`odenet show RUN` tells more of a run, `odenet board` shows it in Omniboard.",
    )
