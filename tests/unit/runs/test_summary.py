"""A run as a line of a list."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.runs.summary import summary
from tests.helpers.records import document_of

BEGUN = datetime(2026, 11, 29, 12, tzinfo=UTC)


def minutes(number: float) -> datetime:
    return BEGUN + timedelta(minutes=number)


@pytest.mark.parametrize(
    ("sessions", "took"),
    [
        ([], 60),
        ([{"time": minutes(50), "ended_before": minutes(10)}], 20),
        ([{"time": minutes(20), "ended_before": minutes(10)}, {"time": minutes(50), "ended_before": minutes(30)}], 30),
        ([{"time": minutes(50)}], 60),
    ],
    ids=["once", "resumed", "twice", "by an earlier version"],
)
def test_a_run_took_as_long_as_it_went_on(sessions: list[dict[str, datetime]], took: float) -> None:
    document = document_of(1, status="COMPLETED", start_time=BEGUN, stop_time=minutes(60), resumed=sessions)
    assert summary(document, {}).seconds == pytest.approx(60 * took)
