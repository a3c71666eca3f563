"""Ending in an orderly way on Ctrl-C, SIGTERM and SIGHUP."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
QUIET_SECONDS = 0.5
"""Signals that come so soon after one are one with it: a second one would break the orderly end off."""
AGAIN_SECONDS = 0.05
"""After which an interruption that fell into code that swallows exceptions is repeated."""


def heeded(numbers: tuple[signal.Signals, ...] = NUMBERS) -> list[signal.Signals]:
    """Those of the signals that this process was not started to ignore, as `nohup` does with SIGHUP."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the block, unless they are ignored.

    One that arrives where Python swallows exceptions, in a finaliser or a callback from C, is raised again a moment
    later. Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    last, number_of_last = -QUIET_SECONDS, signal.SIGINT
    hook_before = sys.unraisablehook

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal last, number_of_last
        if time.monotonic() - last < QUIET_SECONDS:
            return
        last, number_of_last = time.monotonic(), signal.Signals(number)
        raise KeyboardInterrupt

    def repeat(unraisable: Any) -> None:
        nonlocal last
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook_before(unraisable)
            return
        last = -QUIET_SECONDS
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number_of_last))
        again.daemon = True
        again.start()

    before = {number: signal.signal(number, interrupt) for number in heeded()}
    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = hook_before
        for number, handler in before.items():
            signal.signal(number, handler)


def hides_interruption(error: Exception) -> bool:
    """Whether it is an interruption that Python has made another exception of, as where a class is being made."""
    return isinstance(error.__cause__, KeyboardInterrupt)
