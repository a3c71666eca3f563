"""Tables of words, for a terminal, for Markdown and for HTML alike."""

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

NOTHING = "–"
"""The cell of what there is not."""


@dataclass(frozen=True)
class WordTable:
    """A table whose cells are as they are shown."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alignment: str
    """A letter a column: l for text, r for numbers."""
    note: str | None = None


def terminal_table(table: WordTable) -> Table:
    """The table for a terminal."""
    shown = Table(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading, letter in zip(table.headings, table.alignment, strict=True):
        shown.add_column(heading, justify="left" if letter == "l" else "right")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
