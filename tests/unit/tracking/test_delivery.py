"""How often a run's record is taken to the store."""

import time
from unittest.mock import Mock

import pytest

from pipeline.tracking import delivery
from pipeline.tracking.delivery import DeliveryThread
from pipeline.tracking.record import Record


def test_changes_in_quick_succession_are_delivered_together_and_the_end_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 60.0)
    record = Mock(spec=Record)
    begun, thread = time.monotonic(), DeliveryThread(record, Mock(), "here")
    thread.notify()
    while not record.deliver.called:  # at once
        time.sleep(0.01)
    for _ in range(10):
        thread.notify()
        time.sleep(0.01)
    assert record.deliver.call_count == 1
    assert thread.finish(patience_seconds=10)
    assert record.deliver.call_count == 2
    assert time.monotonic() - begun < 30
