"""The optimiser and the schedule that a configuration names."""

import inspect
from collections.abc import Iterable

from torch import nn, optim
from torch.optim.lr_scheduler import LRScheduler

from pipeline.config import TrainingConfig
from pipeline.plugins import registry


def build_optimiser(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The optimiser that `training.optimiser` names, with its options; `momentum` where it takes one."""
    part = registry.find("optimiser", config.optimiser)
    takes_momentum = "momentum" in inspect.signature(part.build).parameters
    options = dict(config.optimiser_options) | ({"momentum": config.momentum} if takes_momentum else {})
    built = part.build(parameters, config.lr, config.weight_decay, **options)
    if not isinstance(built, optim.Optimizer):
        raise _wrong(part, built, "torch.optim.Optimizer")
    return built


def build_schedule(config: TrainingConfig, optimiser: optim.Optimizer) -> LRScheduler:
    """The schedule that `training.schedule` names, with its options, to be stepped once an epoch."""
    part = registry.find("schedule", config.schedule)
    built = part.build(optimiser, config.max_epochs, **config.schedule_options)
    if not isinstance(built, LRScheduler):
        raise _wrong(part, built, "torch.optim.lr_scheduler.LRScheduler")
    return built


def _wrong(part: registry.Part, built: object, wanted: str) -> registry.PluginError:
    given = type(built).__name__
    return registry.PluginError(f"{part.where}: the {part.kind} {part.name} returned a {given}; return a {wanted}")
