"""Adam with decoupled weight decay, as torch has it."""

from collections.abc import Iterable

from torch import nn, optim

from pipeline import plugins
from pipeline.training.eager_optimiser import eager


@plugins.optimiser("adamw")
def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> optim.Optimizer:
    """Adam with decoupled weight decay."""
    return eager(optim.AdamW)(parameters, lr, weight_decay=weight_decay)
