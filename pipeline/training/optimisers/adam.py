"""Adam, as torch has it."""

from collections.abc import Iterable

from torch import nn, optim

from pipeline import plugins


@plugins.optimiser("adam")
def adam(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> optim.Optimizer:
    """Adam."""
    return optim.Adam(parameters, lr, weight_decay=weight_decay)
