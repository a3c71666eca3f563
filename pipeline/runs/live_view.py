"""Runs that go on, as a page of a terminal: how far they are, their losses, and a line that shows how these went."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.table import Table

from pipeline.reporting.text_table import NOTHING, shown
from pipeline.runs.listing import ListColumn, duration, fitted_table
from pipeline.runs.query import RunNotFound, Runs, StoredRun
from pipeline.runs.summary import summary
from pipeline.tracking.readable import is_series
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.store import translate_store_errors

CURVES = ("validation.loss", "training.loss", "step.loss", "validation/loss", "loss")
"""The first of these that a run has is drawn; the last two are names that scripts of one's own give."""
WIDTH = 24
"""Characters of a curve."""
COLUMNS = {
    "run": None,
    "name": 2,
    "status": None,
    "model": 3,
    "data": 4,
    "epoch": None,
    "took": 5,
    "loss": None,
    "curve": 6,
}
"""Heading -> worth, as a list of runs has it."""
BARS = "▁▂▃▄▅▆▇█"


def followed(runs: Runs, seen: Sequence[StoredRun] = ()) -> list[StoredRun]:
    """The runs that go on, behind those of `seen` as they are now; what was removed is left out."""
    going_on = {run.run_id: run for run in runs.find({"status": RunStatus.RUNNING.value})}
    ended = []
    for run_id in (run.run_id for run in seen if run.run_id not in going_on):
        with suppress(RunNotFound):
            ended.append(runs.get(run_id))
    return [*ended, *going_on.values()]


def live_table(found: Sequence[StoredRun], width: int | None = None) -> Table:
    """A line for each of the runs.

    Args:
        width: of the terminal, as `pipeline.runs.listing.runs_table` takes it.
    """
    cells = [_cells(run) for run in found]
    columns = [
        ListColumn(heading, tuple(row[place] for row in cells), worth, heading in ("epoch", "took", "loss"))
        for place, (heading, worth) in enumerate(COLUMNS.items())
    ]
    return fitted_table(columns, width)


def _cells(run: StoredRun) -> Sequence[str]:
    curves = _curves(run)
    row = summary(run.document, {})
    values = next((curves[name] for name in CURVES if curves.get(name)), [])
    epochs = len(curves.get("training.loss", ()))
    limit = run.whole_config.get("training.max_epochs")
    return (
        str(run.run_id),
        row.name or NOTHING,
        row.status.value,
        row.model,
        row.data,
        f"{epochs}/{limit}" if limit else str(epochs or NOTHING),
        duration(row.seconds),
        shown(values[-1], ".4f") if values else NOTHING,
        sparkline(values),
    )


def _curves(run: StoredRun) -> Mapping[str, list[float]]:
    query = {"run_id": run.run_id, "name": {"$in": list(CURVES)}}
    with translate_store_errors():
        found: list[dict[str, Any]] = list(run.database.metrics.find(query))
    return {
        series["name"]: [math.nan if value is None else value for value in series["values"]]
        for series in found
        if is_series(series)
    }


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """The values in one line, the last of each `width` equal stretches of them; gaps where they are no numbers."""
    stretch = max(1, math.ceil(len(values) / width))
    shown_values = [values[min(start + stretch, len(values)) - 1] for start in range(0, len(values), stretch)]
    finite = [value for value in shown_values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    half = high / 2 - low / 2  # as the difference of the largest numbers is none
    tops = [0.0 if not half else (value / 2 - low / 2) / half for value in finite]
    bars = iter(BARS[round(top * (len(BARS) - 1))] for top in tops)
    return "".join(next(bars) if math.isfinite(value) else " " for value in shown_values)
