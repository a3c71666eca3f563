"""Standard streams that can always be written to, and that steer no terminal.

What is printed is for people who may have left; what a command works on is in the store. So a stream that cannot be
written loses what is printed from then on, and nothing else; and a sign that its encoding lacks is printed as one that
it has. What is printed may be other people's: control characters in it are written out.
"""

import codecs
import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pipeline.util.printable import printable

SIGNS = {
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "×": "x",
    "±": "+-",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "•": "*",
    "·": ".",
    "∂": "d",
    "²": "2",
    "“": '"',
    "”": '"',
    "’": "'",
    "\u202f": " ",
    "\u00a0": " ",
}
"""What we print -> how a console says it that has no such sign; all others are escaped, so that no two look alike."""
PLAIN = "odenet-plain"
"""The name of that way of encoding."""
_COLOUR = re.compile("(\x1b\\[[0-9;]*m|\r)")
"""What Rich writes for our own styles, and the beginning of a line."""


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        return codecs.replace_errors(error)
    lacking = error.object[error.start : error.end]
    known = (SIGNS.get(sign) for sign in lacking)
    said = (
        plain or sign.encode("ascii", "backslashreplace").decode() for plain, sign in zip(known, lacking, strict=True)
    )
    return "".join(said), error.end


codecs.register_error(PLAIN, _plainly)


class _LastingFile(io.FileIO):
    """A descriptor that takes whatever is written, and loses what it cannot pass on."""

    lost: OSError | None = None
    """Why it began to."""

    def write(self, content: object) -> int:
        if self.lost is None:
            try:
                return super().write(content)  # type: ignore[arg-type]
            except OSError as error:
                self.lost = error
        return memoryview(content).nbytes  # type: ignore[arg-type]


class PrintableStream:
    """A stream whose text has its control characters written out, colours aside."""

    def __init__(self, stream: TextIO) -> None:
        self.behind = stream

    def write(self, text: str) -> int:
        if text.isprintable():
            return self.behind.write(text)
        parts = _COLOUR.split(text)  # every second one is a colour
        self.behind.write("".join(part if k % 2 else printable(part) for k, part in enumerate(parts)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Within it standard output and standard error are printable, and the process's own ones last, here and later.

    Streams that somebody has put in the place of the process's own, as a notebook does, are as they were afterwards.
    """
    _make_own_streams_last()
    before = sys.stdout, sys.stderr
    if sys.stdout is not None:
        sys.stdout = PrintableStream(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = PrintableStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def with_controls(stream: TextIO) -> TextIO:
    """The stream behind a printable one, for bars that move the cursor, and whose own texts are printable."""
    return stream.behind if isinstance(stream, PrintableStream) else stream


def _make_own_streams_last() -> None:
    """From here on this process's standard streams can be written to; those that are closed are open to nothing."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        own, current = getattr(sys, f"__{name}__"), getattr(sys, name)
        if own is None and current is None:
            _open_to_nothing(descriptor)
            lasting = _reading(descriptor) if name == "stdin" else _writing(descriptor, "utf-8", name)
        elif own is not current or _is_lasting(own) or not _is_a_file(own, descriptor):
            continue
        elif name == "stdin":
            own.reconfigure(errors=PLAIN)
            continue
        else:
            own.flush()
            lasting = _writing(descriptor, own.encoding, name)
        setattr(sys, name, lasting)
        setattr(sys, f"__{name}__", lasting)


def lost_output() -> OSError | None:
    """Why standard output could not be written to the end; None where it could, as far as is known."""
    stream = sys.__stdout__
    if stream is None or not _is_lasting(stream):
        return None
    stream.flush()
    lost: OSError | None = stream.buffer.raw.lost  # type: ignore[attr-defined]
    return lost


def is_left(lost: OSError) -> bool:
    """Whether the reader has left, as `head` does when it has enough."""
    return lost.errno == errno.EPIPE


def _writing(descriptor: int, encoding: str, name: str) -> TextIO:
    raw = _LastingFile(descriptor, "w", closefd=False)
    is_at_once = name == "stderr" or raw.isatty()
    buffer = io.BufferedWriter(raw)
    stream = io.TextIOWrapper(buffer, encoding, PLAIN, line_buffering=is_at_once, write_through=name == "stderr")
    stream.mode = "w"  # type: ignore[misc]
    return stream


def _reading(descriptor: int) -> TextIO:
    return open(descriptor, encoding="utf-8", errors=PLAIN, closefd=False)


def _open_to_nothing(descriptor: int) -> None:
    """So that no file that is opened later gets the number, and with it what is printed."""
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)


def _is_lasting(stream: TextIO) -> bool:
    return isinstance(getattr(getattr(stream, "buffer", None), "raw", None), _LastingFile)


def _is_a_file(stream: TextIO, descriptor: int) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == descriptor
    except (OSError, ValueError):
        return False
