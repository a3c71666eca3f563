"""Warnings of ours, which are told to a person in one sentence."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


class OdenetWarning(UserWarning):
    """Something that works, but likely not as it is meant to; the message names the thing, the value and the remedy."""


@contextmanager
def noting_warnings(note: Callable[[str], None]) -> Iterator[None]:
    """Call `note` with the sentence of each of our warnings within, once, before it is shown."""
    noted = set()

    def look_at(sentence: str) -> bool:
        if sentence not in noted:
            noted.add(sentence)
            note(sentence)
        return True

    with _looking_at_warnings(look_at):
        yield


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Show each of our warnings within once, in a line of stderr, and the others as Python does."""
    told = set()

    def tell(sentence: str) -> bool:
        if sentence not in told:
            told.add(sentence)
            print(f"odenet: warning: {sentence}", file=sys.stderr)
        return False

    with _looking_at_warnings(tell):
        yield


@contextmanager
def _looking_at_warnings(look_at: Callable[[str], bool]) -> Iterator[None]:
    """`look_at` says whether a warning of ours is still to be shown."""
    show = warnings.showwarning

    def look(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, OdenetWarning) or look_at(str(message)):
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = look
    try:
        yield
    finally:
        warnings.showwarning = show
