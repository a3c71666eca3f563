"""Batches that are computed in parts, and what cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config import ConfigError, SolverConfig, TrainingConfig
from pipeline.methods import FIXED_STEP_METHODS, TABLEAUS
from pipeline.ode.block import ODEBlock
from pipeline.ode.counts import ode_blocks


@dataclass(frozen=True)
class Division:
    """Which items of an epoch's batches are computed at once; batches are counted from 1.

    Attributes:
        training_items: of an epoch.
        batch_size: items of a step of the optimiser; the last batch has what remains.
        micro_batch_size: items that are computed at once; None for all that there are.
        rank, workers: which of how many processes computes its share of each batch.
    """

    training_items: int
    batch_size: int
    micro_batch_size: int | None = None
    rank: int = 0
    workers: int = 1

    @property
    def largest(self) -> int:
        """Items that are computed at once, in a whole batch."""
        return self.micro_batch_size or self.batch_size

    def items(self, number: int) -> int:
        """Of the epoch's batch of this number."""
        return min(self.batch_size, self.training_items - (number - 1) * self.batch_size)

    def parts(self, number: int) -> Sequence[slice | None]:
        """The rows of that batch that are computed at once, part after part; None for the whole batch as it is."""
        if self.micro_batch_size is None and self.workers == 1:
            return (None,)
        items = self.items(number)
        begin, end = (items * rank // self.workers for rank in (self.rank, self.rank + 1))
        size = self.micro_batch_size or end - begin
        return [slice(start, min(start + size, end)) for start in range(begin, end, size)]


def refuse_parts(model: nn.Module, config: TrainingConfig) -> None:
    """Refuse `training.micro_batch_size` for a model whose items depend on the rest of their batch.

    Raises:
        ConfigError: by batch normalisation, or by how it is solved.
    """
    size = config.micro_batch_size
    if size is None:
        return
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise ConfigError(
            f"training.micro_batch_size is {size}, but batch normalisation takes its statistics from a whole batch: "
            "use model.normalisation=group or none, or leave training.micro_batch_size out"
        )
    blocks = ode_blocks(model)
    if any(_shares_steps(block.solver) for block in blocks):
        raise ConfigError(
            f"training.micro_batch_size is {size}, but with solver.control=batch the errors of a whole batch decide "
            "about its steps: use solver.control=sample, a method with equal steps such as rk4, or in its place "
            "solver.gradient=checkpointed, which keeps one state a step"
        )
    if any(isinstance(block, ODEBlock) and block.end_time_spread for block in blocks):
        raise ConfigError(
            f"training.micro_batch_size is {size}, but with regularisation.end_time_spread a whole batch ends at one "
            "random time: leave one of them out"
        )


def _can_share_steps(solver: SolverConfig) -> bool:
    """Whether its steps are those of the whole batch, up to rounding, where each process has a part of it.

    Implicit steps are corrected until the whole batch is solved, or as here the part.
    """
    return solver.engine == "odenet" and solver.method in TABLEAUS


def _shares_steps(solver: SolverConfig) -> bool:
    return solver.control == "batch" and solver.method not in FIXED_STEP_METHODS


def refuse_workers(model: nn.Module, config: TrainingConfig, training_items: int, workers: int) -> None:
    """Refuse several processes for what they cannot train on some items of a batch each.

    Raises:
        ConfigError: too few items, or by the model or how it is solved or computed.
    """
    last = training_items % config.batch_size or config.batch_size
    if config.batch_size < workers:
        raise ConfigError(
            f"{workers} workers share batches of training.batch_size={config.batch_size}: use at most as many workers"
        )
    if min(last, training_items) < workers:
        raise ConfigError(
            f"the last batch of an epoch of {training_items} training items has {last}, which are not enough for "
            f"{workers} workers: use another training.batch_size, or fewer workers"
        )
    if config.compile is True:
        raise ConfigError(
            "training.compile is True, but what several workers ask each other in a step cannot be compiled: use "
            "training.compile=auto"
        )
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise ConfigError(
            "batch normalisation takes its statistics from a whole batch, of which each worker has a part: use "
            "model.normalisation=group or none, or one worker"
        )
    for block in ode_blocks(model):
        if _shares_steps(block.solver) and not (isinstance(block, ODEBlock) and _can_share_steps(block.solver)):
            raise ConfigError(
                "with solver.control=batch the steps of several workers follow from the errors in all of them, which "
                "takes solver.engine=odenet and an explicit method such as dopri5: use these, solver.control=sample or "
                "one worker"
            )
        if isinstance(block, ODEBlock) and block.end_time_spread:
            raise ConfigError(
                "with regularisation.end_time_spread a whole batch ends at one random time, which several workers do "
                "not draw together: leave it out, or use one worker"
            )
