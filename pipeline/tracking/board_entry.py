"""What the dashboard lists of a run, as its document holds it: Omniboard shows, sorts and filters nothing else."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.tracking.kind import kind_of, model_and_data
from pipeline.tracking.run_document import RunInfo, result_spec

BOARD = "board"
"""The entry of the document."""
FIGURES = "figures"
"""Within it the results, each by the heading of its metric."""
_DIGITS = 4


def board_entry(document: Mapping[str, Any]) -> dict[str, Any]:
    """`kind`, `model` and `data` as lists have them, and in `figures` the result, by the heading of its metric.

    The result is rounded, so that it fits a column and a filter finds the value that a person reads there. Its full
    value is where it was: `result`, and in `info.test`. Where that is of a part of the test split, `data` says so: its
    column stands beside the result's.
    """
    model, data = model_and_data(document)
    if (tested := RunInfo.read(document).tested) is not None:
        data = f"{data}, tested on {tested}"
    result = document.get("result")
    figures = {}
    if isinstance(result, int | float) and not isinstance(result, bool) and math.isfinite(result):
        figures[figure_key(result_spec(document).heading)] = rounded(result)
    return {"kind": kind_of(document).name, "model": model, "data": data, FIGURES: figures}


def figure_key(heading: str) -> str:
    """The key of a result in `figures`; a path in a document has dots between its keys."""
    return heading.replace(".", "_").replace("$", "_")


def rounded(value: float) -> float:
    """Four decimals, or four significant digits where that is more."""
    if value == 0 or isinstance(value, int):
        return value
    return round(value, max(_DIGITS, _DIGITS - 1 - math.floor(math.log10(abs(value)))))
