"""What a training tells while it goes on."""

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec

P = ParamSpec("P")

Metrics = dict[str, float]
"""One epoch: `epoch`, `training.loss`, `validation.loss`, `solver.nfe_forward`, …"""


class Callback:
    """Hears of a training's events; each method may be overridden, and may end the training by raising.

    A list of them is given to `fit`, which tells each of every event, in the list's order.
    """

    def run_started(self, run_id: int) -> None:
        """The run has been entered in the store, under this number; a training without a store does not say so."""

    def training_started(self, batches_per_epoch: int, max_epochs: int) -> None:
        """Before the first epoch, or the first one after a resume."""

    def compiling(self) -> None:
        """Before the first epoch, where the network is to be compiled, which may take a minute."""

    def compiled(self, seconds: float | None) -> None:
        """After that; None where the network could not be compiled and stays eager."""

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:
        """After every optimiser step; `loss()` gives the batch's loss and waits for the device."""

    def epoch_done(self, epoch: int, history: Sequence[Metrics]) -> None:
        """After every epoch, its checkpoint written.

        Args:
            epoch: counts from 1.
            history: the metrics of every epoch, those before a resume included; of this one last.
        """

    def training_ended(self) -> None:
        """However the training ended, by an error too."""


def tell(
    callbacks: Sequence[Callback], event: Callable[Concatenate[Any, P], None], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Tell each of an event, in their order: `tell(callbacks, Callback.compiled, 12.5)`."""
    for callback in callbacks:
        getattr(callback, event.__name__)(*args, **kwargs)
