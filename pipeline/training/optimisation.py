"""The optimiser and the schedule that a configuration names."""

import inspect
from collections.abc import Iterable

from torch import nn, optim
from torch.optim.lr_scheduler import LRScheduler

from pipeline.config import TrainingConfig
from pipeline.plugins import registry


def build_optimiser(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The optimiser that `training.optimiser` names, with its options; `momentum` where it takes one."""
    build = registry.find("optimiser", config.optimiser).build
    takes_momentum = "momentum" in inspect.signature(build).parameters
    options = dict(config.optimiser_options) | ({"momentum": config.momentum} if takes_momentum else {})
    built: optim.Optimizer = build(parameters, config.lr, config.weight_decay, **options)
    return built


def build_schedule(config: TrainingConfig, optimiser: optim.Optimizer) -> LRScheduler:
    """The schedule that `training.schedule` names, with its options, to be stepped once an epoch."""
    build = registry.find("schedule", config.schedule).build
    built: LRScheduler = build(optimiser, config.max_epochs, **config.schedule_options)
    return built
