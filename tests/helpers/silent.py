"""A reporter for trainings that nobody watches."""

from typing import Any


class Silent:
    """A reporter that keeps nothing."""

    def compiling(self) -> None:
        pass

    def compiled(self, seconds: float | None) -> None:
        pass

    def batch_done(self, epoch: int, batch: int, loss: Any) -> None:
        pass

    def epoch_done(self, epoch: int, metrics: dict[str, float]) -> None:
        pass
