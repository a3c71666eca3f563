"""Warnings that a command prints as one sentence."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO


class OdenetWarning(UserWarning):
    """Something works, but probably not as intended. The message says what, with which value, and what to do."""


@contextmanager
def noting_warnings(note: Callable[[str], None], are_shown: bool = True) -> Iterator[None]:
    """Call `note` once with the message of each different OdenetWarning in the block.

    Args:
        are_shown: also show these warnings as usual; other warnings always are.
    """
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
    """Print each different OdenetWarning in the block as one line to stderr; other warnings are shown as usual."""
    return noting_warnings(lambda sentence: print(f"odenet: warning: {sentence}", file=sys.stderr), are_shown=False)
