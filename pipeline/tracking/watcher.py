"""Looking on while a run goes on, from within its process."""

from typing import Protocol

from pipeline.tracking.record import Record


class Watcher(Protocol):
    """Told of a run's training as it goes; may end the run by raising."""

    def batch_done(self) -> None:
        """After every batch."""

    def epoch_done(self, record: Record) -> None:
        """After every epoch, which is in the record."""


class Nobody:
    """Does not look."""

    def batch_done(self) -> None:
        pass

    def epoch_done(self, record: Record) -> None:
        pass
