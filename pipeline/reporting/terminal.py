"""The terminal as our tables and sentences are printed to it: what they hold is text, and nothing in it is obeyed.

No markup of Rich's, no emoji, no escape codes: names, keys and files of runs are other people's. What is ours to be
styled is a `Text`, made by `styled`.
"""

from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.text import Text

from pipeline.util.printable import printable

WIDEST = 100_000
"""Characters of a line."""


class Terminal(Console):
    """Rich's console that takes every string as it stands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text with its control characters written out."""
        return super().render_str(printable(text), **options)


def print_in_full(console: Console, table: RenderableType) -> None:
    """Print a table as wide as it is: its lines may be longer than those of the terminal, and nothing is cut."""
    width = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    Terminal(width=max(width, console.width), file=console.file).print(table)


def styled(*parts: str | tuple[str, str]) -> Text:
    """A text of which each part is as it stands, or has the style that comes with it: `("run", "bold")`."""
    return Text.assemble(
        *(printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts)
    )
