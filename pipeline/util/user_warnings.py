"""Warnings of ours, which are told to a person in one sentence."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO


class OdenetWarning(UserWarning):
    """Something that works, but likely not as it is meant to; the message names the thing, the value and the remedy."""


@contextmanager
def noting_warnings(note: Callable[[str], None], are_shown: bool = True) -> Iterator[None]:
    """Call `note` with the sentence of each of our warnings within, once; then show it as outside, or not at all."""
    show, noted = warnings.showwarning, set()

    def look(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        is_ours, sentence = issubclass(category, OdenetWarning), str(message)
        if is_ours and sentence not in noted:
            noted.add(sentence)
            note(sentence)
        if are_shown or not is_ours:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = look
    try:
        yield
    finally:
        warnings.showwarning = show


def warnings_in_a_line() -> AbstractContextManager[None]:
    """Show each of our warnings within once, in a line of stderr, and the others as Python does."""
    return noting_warnings(lambda sentence: print(f"odenet: warning: {sentence}", file=sys.stderr), are_shown=False)
