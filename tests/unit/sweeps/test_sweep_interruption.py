"""What ends a sweep or a study before its time."""

import pytest

from pipeline.sweeps.interruption import Interruption
from pipeline.util.errors import OdenetError


class _Signals:
    """Stands in for the actor, which nobody listens to here."""

    def __init__(self) -> None:
        self.is_interrupted = False

    def interrupt(self) -> None:
        self.is_interrupted = True

    def repeat(self) -> None:
        pass


def new_interruption(signals: _Signals, is_asked_elsewhere: bool = False) -> Interruption:
    return Interruption(signals, lambda: is_asked_elsewhere)  # type: ignore[arg-type]


def test_a_trial_without_room_on_its_disk_stops_all_others_and_its_sentence_is_the_end() -> None:
    signals = _Signals()
    interruption = new_interruption(signals)
    interruption("1", {"outcome": "interrupted", "error": "the disk is full (/home): make room"})
    interruption("2", {"outcome": "interrupted", "error": "the disk is full (/elsewhere): make room"})
    assert interruption.stop_all()
    assert signals.is_interrupted
    with pytest.raises(OdenetError, match=r"^the disk is full \(/home\): make room; then the same command goes on$"):
        interruption.raise_if_asked("the same command goes on")


@pytest.mark.parametrize("report", [{}, {"outcome": "interrupted", "error": None}, {"outcome": "failed", "error": "x"}])
def test_other_ends_of_trials_stop_nobody(report: dict[str, object]) -> None:
    signals = _Signals()
    interruption = new_interruption(signals)
    interruption("1", report)
    assert not interruption.stop_all()
    assert not signals.is_interrupted
    interruption.raise_if_asked("the same command goes on")


def test_who_asks_elsewhere_has_it_ended_as_by_ctrl_c() -> None:
    interruption = new_interruption(_Signals(), is_asked_elsewhere=True)
    assert interruption.stop_all()
    with pytest.raises(KeyboardInterrupt):
        interruption.raise_if_asked("the same command goes on")
