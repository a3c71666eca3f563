"""The thread that takes a run's record to the store, and keeps trying while the store is away."""

import logging
import threading
import time
from typing import Any

from pymongo.database import Database

from pipeline.tracking.record import NotInStore, Record

log = logging.getLogger("odenet")

RETRY_SECONDS = 2.0
PAUSE_SECONDS = 1.0
"""Between two deliveries of a run that goes on: each sends whole series, and epochs may be short."""


class DeliveryThread:
    """Delivers the record in the background when it has changed, soon but not all the time."""

    def __init__(self, record: Record, database: Database[dict[str, Any]], where: str) -> None:
        self.record = record
        self.database = database
        self.where = where
        self._changed = threading.Event()
        self._finishing = threading.Event()
        self._away_since: float | None = None
        self.is_removed = False
        """Whether the store had the run no more when it was last asked."""
        self._deadline = float("inf")
        self.delivered = False
        self._thread = threading.Thread(target=self._run, name="odenet-delivery", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """The record has changed."""
        self._changed.set()

    def finish(self, patience_seconds: float) -> bool:
        """Deliver what is left and stop; False when the store did not take it within `patience_seconds`."""
        self._deadline = time.monotonic() + patience_seconds
        self._finishing.set()
        self._changed.set()
        self._thread.join(patience_seconds + 30)  # a delivery that began in time may end
        return self.delivered

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            finishing = self._finishing.is_set()
            arrived = self._try_to_deliver()
            if arrived and finishing:
                self.delivered = True
                return
            if arrived:
                self._finishing.wait(PAUSE_SECONDS)
            else:
                if time.monotonic() > self._deadline or (finishing and self.is_removed):
                    return
                self._finishing.wait(RETRY_SECONDS) if not finishing else time.sleep(RETRY_SECONDS / 4)
                self._changed.set()

    def _try_to_deliver(self) -> bool:
        try:
            self.record.deliver(self.database, is_alive=True)
            self.is_removed = False
        except NotInStore:
            if not self.is_removed:
                log.warning(
                    "run %s was removed from the store at %s; it goes on, and its record stays on disk",
                    self.record.run_id,
                    self.where,
                )
            self.is_removed = True
            return False
        except Exception as error:  # whatever it is, the run goes on and is delivered later
            if self._away_since is None:
                self._away_since = time.monotonic()
                log.warning(
                    "the store at %s does not take run %s just now (%s); the run goes on and its record waits on disk",
                    self.where,
                    self.record.run_id,
                    type(error).__name__,
                )
            return False
        if self._away_since is not None:
            log.warning("the store is back after %.0f s; nothing was lost", time.monotonic() - self._away_since)
            self._away_since = None
        return True
