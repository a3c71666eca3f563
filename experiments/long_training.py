"""The advice to whoever trains for an hour."""

import sys
from collections.abc import Sequence

from torch import nn

from experiments.presets import named_configs
from pipeline.config import Config
from pipeline.ode.counts import ode_blocks
from pipeline.reporting.words import duration
from pipeline.training import Callback
from pipeline.training.callback import Metrics
from pipeline.util.nested import flatten

FAST = "fast"
"""The named configuration that is advised."""
LONG_SECONDS = 3600


class LongTraining(Callback):
    """Says once, after the first epoch, that a long training can be a quicker one; it changes nothing."""

    def __init__(self, task: str, config: Config, model: nn.Module) -> None:
        advised, given = flatten(named_configs(task).get(FAST, {})), flatten(config.to_dict())
        self._max_epochs = config.training.max_epochs
        self._can_be_quicker = bool(ode_blocks(model)) and any(given[key] != value for key, value in advised.items())

    def epoch_done(self, epoch: int, history: Sequence[Metrics]) -> None:
        takes = history[-1]["time.epoch_seconds"] * self._max_epochs
        if epoch == 1 and self._can_be_quicker and takes >= LONG_SECONDS:
            print(
                f"{self._max_epochs} epochs like this one take {duration(takes)}: `with … {FAST}` trains in a fraction "
                "of it where the solver's tolerance is 1e-3 or more, see docs/train.md",
                file=sys.stderr,
                flush=True,
            )
