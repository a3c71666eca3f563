"""The waits of the tests: a machine that is busy gets more time, one that is not gets no more."""

import subprocess
import sys

import pytest

from tests.helpers import waiting
from tests.helpers.waiting import MOST, Patience, run, slowness, wait_until


class Clock:
    """A time that passes when it is told to, on a machine that is as slow as it is told to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.times = 0.0, 1.0
        monkeypatch.setattr(waiting.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(waiting, "slowness", lambda: self.times)


def test_a_bound_is_reached_in_its_seconds_on_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, patience = Clock(monkeypatch), Patience(200)
    clock.now = 199
    assert not patience.is_over()
    clock.now = 200
    assert patience.is_over()


def test_a_bound_moves_away_for_as_long_as_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, patience = Clock(monkeypatch), Patience(200)
    clock.now = 100
    assert not patience.is_over()
    clock.now, clock.times = 500, 5  # 80 of a quiet machine
    assert not patience.is_over()
    clock.now, clock.times = 519, 1
    assert not patience.is_over()
    clock.now = 520
    assert patience.is_over()


def test_how_slow_the_machine_is_has_bounds() -> None:
    assert 1 <= slowness() <= MOST


def test_a_wait_in_vain_says_what_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "slowness", lambda: 1.0)
    with pytest.raises(AssertionError, match="no sign of it"):
        wait_until(lambda: False, seconds=0.05, told="no sign of it")


def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", "import time; time.sleep(1000)"])
