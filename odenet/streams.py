"""Standard output and standard error of a command, to which nothing is written that steers a terminal."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pipeline.util.printable import printable

_COLOUR = re.compile("(\x1b\\[[0-9;]*m|\r)")
"""What Rich writes for our own styles, and the beginning of a line."""


class PrintableStream:
    """A stream whose text has its control characters written out, colours aside."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if text.isprintable():
            return self._stream.write(text)
        parts = _COLOUR.split(text)  # every second one is a colour
        self._stream.write("".join(part if k % 2 else printable(part) for k, part in enumerate(parts)))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def printable_streams() -> Iterator[None]:
    """Within it what is printed is printable."""
    before = sys.stdout, sys.stderr
    if sys.stdout is not None:
        sys.stdout = PrintableStream(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = PrintableStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
