"""What a process prints within a block, which is printed all the same.

Blocks may overlap in any order, as those of several threads do: Sacred's own way of it gives back the streams that the
block found, which may be those of another block that is over, and then nothing can be printed any more.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.tracking.lean_sacred import TeeingStreamProxy

_STREAMS = ("stdout", "stderr")
_open: list["PrintedText"] = []
_mutex = threading.Lock()


class PrintedText:
    """What was printed since the block began."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, text: str) -> None:
        """Text that is printed now."""
        self._pieces.append(text)

    def get(self) -> str:
        """All of it."""
        number = len(self._pieces)  # another thread may print meanwhile
        whole = "".join(self._pieces[:number])
        self._pieces[:number] = [whole]
        return whole


class _Tee(TeeingStreamProxy):
    """A stream that also hands what is written to the blocks that are open."""


class _Blocks:
    def write(self, text: str) -> None:
        for block in list(_open):
            block.add(text)

    def flush(self) -> None:
        """There is nothing to flush."""


@contextmanager
def printed_text() -> Iterator[PrintedText]:
    """Take down what any thread prints in the block."""
    text = PrintedText()
    with _mutex:
        _open.append(text)
        for name in _STREAMS:
            if type(getattr(sys, name)) is not _Tee:
                setattr(sys, name, _Tee(getattr(sys, name), _Blocks()))  # type: ignore[no-untyped-call]
    try:
        yield text
    finally:
        with _mutex:
            _open.remove(text)
            for name in _STREAMS:
                if not _open and type(stream := getattr(sys, name)) is _Tee:
                    setattr(sys, name, stream.__wrapped__)
