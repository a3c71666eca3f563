"""Stochastic gradient descent with momentum, as torch has it."""

from collections.abc import Iterable

from torch import nn, optim

from pipeline import plugins
from pipeline.training.eager_optimiser import eager


@plugins.optimiser("sgd")
def sgd(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, *, momentum: float = 0.9
) -> optim.Optimizer:
    """Stochastic gradient descent with momentum; `momentum` is training.momentum."""
    return eager(optim.SGD)(parameters, lr, momentum=momentum, weight_decay=weight_decay)
