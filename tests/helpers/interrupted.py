"""Trainings that are interrupted between epochs, and what of one is the same whenever it is done again."""

from pipeline.training import Callback, Fitted


class InterruptedAfter(Callback):
    """Ends a training as Ctrl-C does, once it has had so many epochs."""

    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def epoch_done(self, epoch: int, history: object) -> None:  # noqa: ARG002
        if epoch == self.last:
            raise KeyboardInterrupt


def without_clock(fitted: Fitted) -> list[dict[str, float]]:
    """The metrics of the epochs without seconds and memory."""
    return [{k: v for k, v in row.items() if not k.startswith(("time.", "memory."))} for row in fitted.history]
