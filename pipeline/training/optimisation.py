"""Optimisers and their learning rate schedules."""

from collections.abc import Iterable

from torch import nn, optim
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from pipeline.config.sections import TrainingConfig


def build_optimiser(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The optimiser that `training.optimiser` names."""
    lr, weight_decay = config.lr, config.weight_decay
    match config.optimiser:
        case "sgd":
            return optim.SGD(parameters, lr, momentum=config.momentum, weight_decay=weight_decay)
        case "adam":
            return optim.Adam(parameters, lr, weight_decay=weight_decay)
        case "adamw":
            return optim.AdamW(parameters, lr, weight_decay=weight_decay)
        case "rmsprop":
            return optim.RMSprop(parameters, lr, weight_decay=weight_decay)


def build_schedule(config: TrainingConfig, optimiser: optim.Optimizer) -> LRScheduler:
    """The schedule that `training.schedule` names, stepped once an epoch.

    `step` divides the rate by 10 after every 0.3 × max_epochs (Gładzik 2019, section 4.3.1).
    """
    match config.schedule:
        case "constant":
            return LambdaLR(optimiser, lambda _: 1.0)
        case "step":
            # In tenths, so that 0.3 × 10 epochs is exactly 3.
            return LambdaLR(optimiser, lambda epoch: 10.0 ** -(10 * epoch // (3 * config.max_epochs)))
        case "cosine":
            return CosineAnnealingLR(optimiser, T_max=config.max_epochs)
