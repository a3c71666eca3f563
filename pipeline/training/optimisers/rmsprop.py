"""RMSprop, as torch has it."""

from collections.abc import Iterable

from torch import nn, optim

from pipeline import plugins


@plugins.optimiser("rmsprop")
def rmsprop(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> optim.Optimizer:
    """RMSprop."""
    return optim.RMSprop(parameters, lr, weight_decay=weight_decay)
