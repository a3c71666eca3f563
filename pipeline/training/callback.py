"""What a training tells while it goes on."""

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec

from pipeline.config import TrainingConfig
from pipeline.plugins import registry

P = ParamSpec("P")

Metrics = dict[str, float]
"""One epoch: `epoch`, `training.loss`, `validation.loss`, `solver.nfe_forward`, …"""


class StopTraining(Exception):
    """Raised in `epoch_done` it ends the training as early stopping does: with the best weights, which are scored."""


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
        """After every epoch, its checkpoint written; `StopTraining` makes it the last one.

        That of a plug-in is told of the last epoch again when a run that was broken off is resumed.

        Args:
            epoch: counts from 1.
            history: the metrics of every epoch, those before a resume included; of this one last.
        """

    def training_ended(self) -> None:
        """However the training ended, by an error too."""


def build_callbacks(config: TrainingConfig) -> list[Callback]:
    """Those of plug-ins that `training.callbacks` names, with their options.

    Raises:
        PluginError: one is not a `Callback`.
    """
    callbacks = []
    for name in config.callback_names:
        part = registry.find("callback", name)
        built = part.built(**config.callback_options.get(name, {}))
        if not isinstance(built, Callback):
            raise registry.PluginError(
                f"{part.where}: the callback {name} returned a {type(built).__name__}; return a "
                "pipeline.training.Callback"
            )
        callbacks.append(built)
    return callbacks


def tell_epoch_done(callbacks: Sequence[Callback], epoch: int, history: Sequence[Metrics]) -> bool:
    """Tell each of an epoch's end; whether one of them has ended the training."""
    is_last = False
    for callback in callbacks:
        try:
            callback.epoch_done(epoch, history)
        except StopTraining:
            is_last = True
    return is_last


def tell(
    callbacks: Sequence[Callback], event: Callable[Concatenate[Any, P], None], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Tell each of an event, in their order: `tell(callbacks, Callback.compiled, 12.5)`."""
    for callback in callbacks:
        getattr(callback, event.__name__)(*args, **kwargs)
