"""RMSprop, as torch has it."""

from collections.abc import Iterable

from torch import nn, optim

from pipeline import plugins
from pipeline.training.eager_optimiser import eager


@plugins.optimiser("rmsprop")
def rmsprop(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> optim.Optimizer:
    """RMSprop."""
    return eager(optim.RMSprop)(parameters, lr, weight_decay=weight_decay)
