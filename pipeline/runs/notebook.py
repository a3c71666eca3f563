"""Runs as a notebook shows them: small tables of HTML, in which everything that is stored is text."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from pipeline.runs.listing import list_columns
from pipeline.runs.summary import summaries
from pipeline.util.printable import printable

if TYPE_CHECKING:
    from pipeline.runs.query import StoredRun

SHOWN = 50
"""Of more runs the first so many are shown."""


def runs_html(runs: Sequence["StoredRun"]) -> str:
    """A line a run, with the columns of `odenet runs`."""
    if not runs:
        return "<p>no runs</p>"
    from pipeline.runs.query import Runs

    rows = summaries(Runs(runs[0].database), runs[:SHOWN])
    columns = list_columns(rows)
    head = "".join(f"<th>{_text(column.heading)}</th>" for column in columns)
    lines = [
        "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        for cells in zip(*(column.cells for column in columns), strict=True)
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    more = f"<p>and {len(runs) - SHOWN} more</p>" if len(runs) > SHOWN else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _text(value: str) -> str:
    return escape(printable(value))
