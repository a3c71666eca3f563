"""Whether a run that says RUNNING is alive.

On the machine and in the home of the run its lock tells, whatever a clock says. Elsewhere the time tells at which the
store last heard of it: by the store's own clock, since those of machines differ, and may be set back.
"""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.tracking.run_document import RunStatus, aware
from pipeline.tracking.run_folder import is_locked, run_folder
from pipeline.util.paths import home

HEARTBEAT_PATIENCE = timedelta(seconds=60)
"""A run that is RUNNING and has not been heard of for six heartbeats has died."""

_ahead = timedelta()
"""How far the store's clock is ahead of this machine's, as it was found by the last connection."""


def set_clock_difference(ahead: timedelta) -> None:
    """Note how far the store's clock is ahead of this machine's."""
    global _ahead
    _ahead = ahead


def by_the_stores_clock(moment: datetime | None = None) -> datetime:
    """A moment of this machine's clock, now without one, as the store's clock shows it."""
    return (moment or datetime.now(UTC)) + _ahead


def effective_status(document: Mapping[str, Any], home_folder: Path | None = None) -> RunStatus:
    """The status of a run's document, DIED where it says RUNNING and its process is gone."""
    status = RunStatus(document["status"])
    return RunStatus.DIED if status is RunStatus.RUNNING and not _is_alive(document, home_folder or home()) else status


def _is_alive(document: Mapping[str, Any], home_folder: Path) -> bool:
    locked = is_locked(run_folder(home_folder, document)) if "uid" in document else None
    if locked:
        return True
    if locked is False and document.get("host", {}).get("hostname") == platform.node():
        return False
    if "heard" in document:
        silence = by_the_stores_clock() - aware(document["heard"])
    else:  # of a run of an earlier version, or of another program
        silence = datetime.now(UTC) - aware(document["heartbeat"])
    return abs(silence) <= HEARTBEAT_PATIENCE  # from the future: a clock was set back since
