"""Tables of text, which a terminal, Markdown and HTML show alike."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

Item = TypeVar("Item")

NOTHING = "–"
"""What a table shows for a missing value."""


def shown(value: Any, form: str | Callable[[Any], str] = "") -> str:
    """The value as text, or a dash for None.

    Args:
        form: a format specification, or a function from the value to its text.
    """
    if value is None:
        return NOTHING
    try:
        return format(value, form) if isinstance(form, str) else form(value)
    except (TypeError, ValueError):  # of a run that somebody has changed
        return str(value)


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are formatted already."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alignment: str
    """One letter for each column: `l` aligns it to the left, as text, `r` to the right, as numbers."""
    note: str | None = None
    """Sentences below the table."""


class Cells(NamedTuple, Generic[Item]):
    """A column of a table with a row for each of some items."""

    heading: str
    alignment: str
    """`l` or `r`."""
    text: Callable[[Item], str]


def table_of(title: str, items: Sequence[Item], columns: Sequence[Cells[Item]], note: str | None = None) -> TextTable:
    """A row for each item."""
    headings, letters, texts = zip(*columns, strict=True)
    return TextTable(
        title, headings, tuple(tuple(text(item) for text in texts) for item in items), "".join(letters), note
    )


def left(*headings: str) -> list[Column]:
    """Columns of a list that hold words."""
    return [Column(heading, no_wrap=True) for heading in headings]


def right(*headings: str) -> list[Column]:
    """Columns of a list that hold numbers."""
    return [Column(heading, justify="right", no_wrap=True) for heading in headings]


def list_table(columns: Iterable[Column]) -> Table:
    """An empty list as narrow as its cells, for many columns on a terminal."""
    look: dict[str, Any] = {"header_style": "bold", "box": SIMPLE_HEAD, "padding": 0, "pad_edge": False}
    return Table(*columns, **look)


def terminal_table(table: TextTable) -> Table:
    """The table as Rich prints it."""
    printed = Table(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading, letter in zip(table.headings, table.alignment, strict=True):
        # In a narrow window a number goes on below rather than lose its last digits.
        printed.add_column(heading, justify="left" if letter == "l" else "right", overflow="fold")
    for row in table.rows:
        printed.add_row(*row)
    return printed
