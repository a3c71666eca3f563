"""Any runs as one interactive HTML page that is a single file and asks nothing of a network."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.reporting.html import render
from pipeline.reporting.importance import METHOD
from pipeline.reporting.run_address import run_address
from pipeline.reporting.words import counted, listed
from pipeline.runs.listing import ListColumn, list_columns
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.report.curves import Curve, Number, load_curves
from pipeline.runs.report.groups import find_importances, main_result
from pipeline.runs.report.scripts import content_policy, own_script, packed, plotly_script
from pipeline.runs.report.variables import Variable, find_variables, text_of
from pipeline.runs.summary import LAST, RunSummary, summary
from pipeline.tracking.run_document import MACHINE, STEPS, is_of_task
from pipeline.util.files import write_result

DIGITS = 5
"""Significant digits of a point of a curve."""
COSTS = ("test.nfe_forward", "last solver.nfe_forward", "parameters", "last time.epoch_seconds", "seconds")
"""What accuracy is first set against, the first of them that the runs have."""


def write_page(
    runs: Runs,
    found: Sequence[StoredRun],
    path: Path,
    *,
    title: str = "",
    notes: Sequence[str] = (),
    first: Sequence[str] = (),
    board: str | None = None,
) -> int:
    """Write the page, whole or not at all.

    Args:
        title: what the runs are; their number where it is empty.
        notes: what a reader should know, by sentences.
        first: settings that stand before the others, such as those that a sweep has searched.
        board: the address of an Omniboard with the store's runs, to which the page then links.

    Returns:
        The size of the file in bytes.

    Raises:
        OdenetError: the file cannot be written.
    """
    content = page(runs, found, title=title, notes=notes, first=first, board=board).encode()
    write_result(path, content, "page")
    return len(content)


def page(
    runs: Runs,
    found: Sequence[StoredRun],
    *,
    title: str = "",
    notes: Sequence[str] = (),
    first: Sequence[str] = (),
    board: str | None = None,
) -> str:
    """The page's HTML; arguments as for `write_page`."""
    curves = load_curves(runs, found)
    last = _last_values(curves)
    rows = [summary(run.document, last.get(run.run_id, {})) for run in found]
    variables = find_variables(found, rows, curves, first)
    document = page_data(found, rows, curves, variables, board)
    script, plotly = own_script(), plotly_script()
    return render(
        "runs.html.j2",
        title=title or counted(len(found), "run"),
        subtitle=_subtitle(rows),
        policy=content_policy(script, plotly),
        script=Markup(script),  # noqa: S704 - it is ours
        plotly=packed(plotly),
        data=packed(json.dumps(document, allow_nan=False, separators=(",", ":"))),
        notes=[*notes, *_notes(found, curves)],
        method=METHOD,
        board=board,
    )


def _last_values(curves: Sequence[Curve]) -> dict[Any, dict[str, float]]:
    """Of each run what `Runs.last_values` would ask the store for once more."""
    last: dict[Any, dict[str, float]] = {}
    for curve in curves:
        if curve.metric in LAST and curve.last is not None:
            values = last.setdefault(curve.run_id, {})
            values |= {curve.metric: curve.last, "epoch": max(curve.steps[-1] or 0, values.get("epoch", 0))}
    return last


def page_data(
    found: Sequence[StoredRun],
    rows: Sequence[RunSummary],
    curves: Sequence[Curve],
    variables: Sequence[Variable],
    board: str | None = None,
) -> dict[str, Any]:
    """Everything that the page shows of the runs, as plain values."""
    everyone = range(len(rows))
    result = main_result(rows, variables, everyone)
    names = {one.name for one in variables}
    return {
        "runs": [_run(row, board) for row in rows],
        "columns": [_column(column, rows) for column in _columns(rows)],
        "variables": [_variable(one) for one in variables],
        "metrics": _metrics(found, curves),
        "importances": [
            {"group": one.group, "result": one.result, "says": one.importance.says, "settings": _bars(one.importance)}
            for one in find_importances(rows, variables)
        ],
        "first": {
            "result": None if result is None else result.name,
            "cost": next((name for name in COSTS if name in names), None),
        },
    }


def _run(row: RunSummary, board: str | None) -> dict[str, Any]:
    is_linked = board is not None and isinstance(row.run_id, int)
    return {
        "id": text_of(row.run_id),
        "label": text_of(row.name or f"{row.model} on {row.data}"),
        "address": run_address(board, row.run_id) if is_linked and board is not None else None,
    }


def _columns(rows: Sequence[RunSummary]) -> list[ListColumn]:
    """Those of `odenet runs` that are not empty; for the age, which changes, the time at which the run began."""
    started = ListColumn("started (UTC)", tuple(row.started[:16].replace("T", " ") for row in rows), None)
    return [started if one.heading == "age" else one for one in list_columns(rows) if not one.is_empty]


def _column(column: ListColumn, rows: Sequence[RunSummary]) -> dict[str, Any]:
    exact: Mapping[str, Any] = {
        "run": [row.run_id if isinstance(row.run_id, int) else None for row in rows],
        "took": [row.seconds for row in rows],
        "NFE": [row.nfe_forward for row in rows],
    }
    return {
        "heading": text_of(column.heading),
        "cells": [text_of(cell) for cell in column.cells],
        "isNumber": column.is_number,
        "order": exact.get(column.heading),
    }


def _variable(one: Variable) -> dict[str, Any]:
    values = [_rounded(value, 7) if isinstance(value, float) else value for value in one.values]
    return {
        "name": one.name,
        "label": one.label,
        "kind": one.kind,
        "better": one.better,
        "isShare": one.is_share,
        "values": values,
    }


def _metrics(found: Sequence[StoredRun], curves: Sequence[Curve]) -> dict[str, Any]:
    """Metric -> its axis and its curves, each a run's place, the place of its steps and its values.

    Most runs have the same steps, so each list of them is there once.
    """
    places = {run.run_id: place for place, run in enumerate(found)}
    by_epochs = "epoch" if any(is_of_task(run.document) for run in found) else "step"
    steps: dict[tuple[Number, ...], int] = {}
    metrics: dict[str, dict[str, Any]] = {}
    for curve in sorted(curves, key=lambda one: (one.metric.startswith((STEPS, MACHINE)), one.metric)):
        between = {STEPS: "step of the optimiser", MACHINE: "seconds of the training"}
        axis = next((words for start, words in between.items() if curve.metric.startswith(start)), by_epochs)
        metric = metrics.setdefault(text_of(curve.metric), {"axis": axis, "curves": []})
        values = [_rounded(value, DIGITS) for value in curve.values]
        metric["curves"].append([places[curve.run_id], steps.setdefault(curve.steps, len(steps)), values])
    return {"steps": [list(one) for one in steps], "byName": metrics}


def _rounded(value: float | None, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def _bars(importance: Any) -> list[dict[str, Any]]:
    return [vars(one) | {"isCertain": one.is_certain} for one in importance.settings]


def _subtitle(rows: Sequence[RunSummary]) -> str:
    statuses = Counter(row.status.value for row in rows)
    what = listed([f"{number} {status}" for status, number in statuses.most_common()])
    of = listed(list(dict.fromkeys(f"{text_of(row.model)} on {text_of(row.data)}" for row in rows)), most=4)
    return f"{what}: {of}. Written {datetime.now(UTC):%d %B %Y, %H:%M} UTC."


def _notes(found: Sequence[StoredRun], curves: Sequence[Curve]) -> list[str]:
    thinned = sum(not curve.is_whole for curve in curves)
    most = max((len(curve.values) for curve in curves if not curve.is_whole), default=0)
    infinite = list(dict.fromkeys(str(curve.run_id) for curve in curves if curve.not_finite))
    having = {curve.run_id for curve in curves}
    without = [str(run.run_id) for run in found if run.run_id not in having]
    sentences = []
    if thinned:
        sentences.append(
            f"{counted(thinned, 'curve')} of {len(curves):,} are thinned to at most {most} points: the first, "
            "the last, and of equal parts between them the lowest and the highest."
        )
    if infinite:
        sentences.append(f"Values that are no finite numbers are gaps in the curves: run {listed(infinite)}.")
    if without:
        sentences.append(f"Without a point of any metric, and so without a curve: run {listed(without)}.")
    return sentences
