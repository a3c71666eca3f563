"""Signals before a command has begun and after it is over, where nobody could handle the exception that they raise.

Imported first, so that an interruption of the imports ends the process with a line as well. In a process that is not
the command, a notebook for one, nothing is changed.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

INTERRUPTED = 130
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMMANDS = ("/odenet", "/odenet/main.py", "/experiments/classification.py", "/experiments/demo.py")
"""The installed command, and what `python -m` runs."""
LINE = b"odenet: interrupted\n"


def _end(_number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, LINE)
    os._exit(INTERRUPTED)


def end_in_a_line() -> None:
    """From here on a signal that this process heeds ends it at once, with a line."""
    for number in NUMBERS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


def end_with(status: int) -> None:
    """The command is over, and its work is done: a signal from here on changes nothing of its exit status."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os._exit(status)

    for number in NUMBERS:
        if signal.getsignal(number) is _end:
            signal.signal(number, end)


if sys.argv[0].endswith(COMMANDS):
    end_in_a_line()
