"""Runs that go on, as a page of a terminal: how far they are, their losses, and a line that shows how these went."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from pipeline.reporting.text_table import NOTHING, shown
from pipeline.runs.listing import ListColumn, duration, fitted_table
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.summary import summary
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.store import translate_store_errors

CURVES = ("validation.loss", "training.loss", "step.loss")
"""The first of these that a run has is drawn."""
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
    "curve": None,
}
"""Heading -> worth, as a list of runs has it."""
BARS = "▁▂▃▄▅▆▇█"


def live_table(runs: Runs, run_ids: Sequence[int | str] = (), width: int | None = None) -> tuple[Table, bool]:
    """A line for each of the runs, or for all that go on; and whether one of them does.

    Args:
        width: of the terminal, as `pipeline.runs.listing.runs_table` takes it.
    """
    found = [runs.get(run_id) for run_id in run_ids] or runs.find({"status": RunStatus.RUNNING.value})
    cells = [_cells(run) for run in found]
    columns = [
        ListColumn(heading, tuple(row[place] for row in cells), worth, heading in ("epoch", "took", "loss"))
        for place, (heading, worth) in enumerate(COLUMNS.items())
    ]
    return fitted_table(columns, width), any(run.status is RunStatus.RUNNING for run in found)


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
        found: list[dict[str, Any]] = list(run.database.metrics.find(query, {"name": True, "values": True}))
    return {series["name"]: series["values"] for series in found}


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """The values in one line, the last of each `width` equal stretches of them; gaps where they are no numbers."""
    stretch = max(1, math.ceil(len(values) / width))
    shown_values = [values[min(start + stretch, len(values)) - 1] for start in range(0, len(values), stretch)]
    finite = [value for value in shown_values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] if math.isfinite(value) else " " for value in shown_values)
