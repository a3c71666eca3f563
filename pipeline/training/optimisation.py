"""The optimiser and the schedule that a configuration names."""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn, optim
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pipeline.config import TrainingConfig
from pipeline.plugins import registry
from pipeline.plugins.decorators import STEPS_PER_EPOCH
from pipeline.util.errors import InvalidInput


def takes_momentum(optimiser: str) -> bool:
    """Whether the optimiser of this name is given `training.momentum`."""
    return "momentum" in inspect.signature(registry.find("optimiser", optimiser).build).parameters


def build_optimiser(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The optimiser that `training.optimiser` names, with its options; `momentum` where it takes one.

    Raises:
        InvalidInput: there is nothing to train.
        PluginError: a plug-in gives something else.
    """
    wanted = list(parameters)
    if not any(parameter.requires_grad for parameter in wanted):
        raise InvalidInput("the model has no weights that want a gradient: there is nothing to train")
    part = registry.find("optimiser", config.optimiser)
    momentum = {"momentum": config.momentum} if takes_momentum(config.optimiser) else {}
    built = part.built(wanted, config.lr, config.weight_decay, **config.optimiser_options, **momentum)
    if not isinstance(built, optim.Optimizer):
        raise _wrong(part, built, "torch.optim.Optimizer")
    closure = inspect.signature(type(built).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise registry.PluginError(
            f"{part.where}: the optimiser {part.name} returned {type(built).__name__}, whose steps evaluate the loss "
            "themselves, and here a step has the gradients of one batch: return another"
        )
    return built


def build_schedule(config: TrainingConfig, optimiser: optim.Optimizer, steps_per_epoch: int) -> LRScheduler:
    """The schedule that `training.schedule` names, with its options; it is told `steps_per_epoch` where it takes them.

    It is to be stepped once an epoch, a `ReduceLROnPlateau` with its validation loss, or after every step of the
    optimiser where `is_stepped_each_time`.
    """
    part = registry.find("schedule", config.schedule)
    steps = {STEPS_PER_EPOCH: steps_per_epoch} if is_stepped_each_time(config) else {}
    built = part.built(optimiser, config.max_epochs, **config.schedule_options, **steps)
    if not isinstance(built, LRScheduler):
        raise _wrong(part, built, "torch.optim.lr_scheduler.LRScheduler")
    if isinstance(built, ReduceLROnPlateau) and steps:
        raise registry.PluginError(
            f"{part.where}: the schedule {part.name} returned a ReduceLROnPlateau, which is stepped by the validation "
            f"loss after each epoch: leave its argument {STEPS_PER_EPOCH} out"
        )
    return built


def is_stepped_each_time(config: TrainingConfig) -> bool:
    """Whether the schedule is stepped after every step of the optimiser, as one that takes `steps_per_epoch` is."""
    part = registry.find("schedule", config.schedule)
    return STEPS_PER_EPOCH in inspect.signature(part.build).parameters


def warmed_up(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """The share of the schedule's learning rate that the optimiser's step number `step`, from 0 on, is taken with."""
    rising = config.warmup_epochs * steps_per_epoch
    return min(1.0, (step + 1) / rising) if rising else 1.0


@contextmanager
def scaled_rates(optimiser: optim.Optimizer, share: float) -> Iterator[None]:
    """Within it the learning rates are this share of theirs, from which a schedule computes the next ones."""
    rates = [group["lr"] for group in optimiser.param_groups]
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = share * rate
    yield
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate


def _wrong(part: registry.Part, built: object, wanted: str) -> registry.PluginError:
    given = type(built).__name__
    return registry.PluginError(f"{part.where}: the {part.kind} {part.name} returned a {given}; return a {wanted}")
