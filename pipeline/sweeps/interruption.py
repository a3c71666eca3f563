"""Ctrl-C for a sweep: its trials end in order, then the sweep does."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray.tune import Stopper

from pipeline.sweeps.state import INTERRUPTED
from pipeline.sweeps.stop_signals import StopSignals
from pipeline.util.errors import OdenetError
from pipeline.util.interruption import QUIET_SECONDS, heeded


class Interruption(Stopper):
    """Ends Ray Tune's loop once it is asked to; all trials are told first.

    Args:
        is_asked_elsewhere: whether `odenet stop` has asked.

    Attributes:
        why: the sentence of a trial that could not go on for no fault of its own, as where a disk is full, so that none
            can; None otherwise.
    """

    def __init__(self, stop_signals: StopSignals, is_asked_elsewhere: Callable[[], bool]) -> None:
        self.is_asked = False
        self.why: str | None = None
        self._stop_signals, self._is_asked_elsewhere = stop_signals, is_asked_elsewhere

    def __getstate__(self) -> dict[str, bool]:
        """What Ray Tune keeps of it on the disk, from which nothing is asked."""
        return {"is_asked": self.is_asked}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        if result.get("outcome") == INTERRUPTED and result.get("error"):
            self.is_asked, self.why = True, self.why or result["error"]
        return False

    def stop_all(self) -> bool:
        self.is_asked = self.is_asked or self._is_asked_elsewhere()
        if self.is_asked:
            self._stop_signals.interrupt()
        self._stop_signals.repeat()
        return self.is_asked

    def raise_if_asked(self, remedy: str) -> None:
        """Where it was asked for.

        Args:
            remedy: how to go on, said where a trial could not.

        Raises:
            OdenetError: a trial could not go on.
            KeyboardInterrupt: the user asked.
        """
        if self.why is not None:
            raise OdenetError(f"{self.why}; then {remedy}")
        if self.is_asked:
            raise KeyboardInterrupt


@contextmanager
def interruptible(
    stop_signals: StopSignals, is_asked_elsewhere: Callable[[], bool] = lambda: False
) -> Iterator[Interruption]:
    """Within it the first Ctrl-C, SIGTERM or SIGHUP asks for the end; a later one is a KeyboardInterrupt.

    Those that follow at once count as one with the first, and those that are ignored stay so.
    """
    interruption = Interruption(stop_signals, is_asked_elsewhere)
    asked = math.inf

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        now = time.monotonic()
        if interruption.is_asked and now - asked > QUIET_SECONDS:
            raise KeyboardInterrupt
        asked = now
        interruption.is_asked = True

    before = {number: signal.signal(number, ask) for number in heeded()}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
