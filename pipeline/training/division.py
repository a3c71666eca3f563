"""Batches that are computed in parts, and what cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config import ConfigError, SolverConfig, TrainingConfig
from pipeline.methods import FIXED_STEP_METHODS
from pipeline.ode.block import ODEBlock
from pipeline.ode.counts import ode_blocks


@dataclass(frozen=True)
class Division:
    """Which items of an epoch's batches are computed at once; batches are counted from 1.

    Attributes:
        training_items: of an epoch.
        batch_size: items of a step of the optimiser; the last batch has what remains.
        micro_batch_size: items that are computed at once; None for the whole batch.
    """

    training_items: int
    batch_size: int
    micro_batch_size: int | None = None

    @property
    def largest(self) -> int:
        """Items that are computed at once, in a whole batch."""
        return self.micro_batch_size or self.batch_size

    def items(self, number: int) -> int:
        """Of the epoch's batch of this number."""
        return min(self.batch_size, self.training_items - (number - 1) * self.batch_size)

    def parts(self, number: int) -> Sequence[slice | None]:
        """The rows of that batch that are computed at once, part after part; None for the whole batch as it is."""
        size = self.micro_batch_size
        if size is None:
            return (None,)
        items = self.items(number)
        return [slice(start, min(start + size, items)) for start in range(0, items, size)]


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


def _shares_steps(solver: SolverConfig) -> bool:
    return solver.control == "batch" and solver.method not in FIXED_STEP_METHODS
