"""What the solves of a module's ODE blocks cost, summed over the blocks; of the last forward and backward pass.

Where that is asked for after every batch, give the blocks: to find them in the module takes longer than to add them up.
"""

from collections.abc import Sequence
from typing import Protocol, TypeGuard

import numpy as np
from torch import nn

from pipeline.config import SolverConfig
from pipeline.ode.solution import Statistics


class Solved(Protocol):
    """A part of a model that is the solution of an ODE: an `ODEBlock`, a flow, a latent ODE.

    Attributes:
        statistics: of the last solve.
    """

    field: nn.Module
    solver: SolverConfig
    statistics: Statistics


def ode_blocks(of: nn.Module | Sequence[Solved]) -> list[Solved]:
    """The parts of a module that are solved, none in a residual network; of such parts themselves, these."""
    return [part for part in of.modules() if _is_solved(part)] if isinstance(of, nn.Module) else list(of)


def _is_solved(part: nn.Module) -> TypeGuard[Solved]:
    """By name: from Python 3.12 on, `isinstance` of a protocol does not see what torch's modules have of modules."""
    return all(hasattr(part, name) for name in Solved.__annotations__)


def nfe_forward(of: nn.Module | Sequence[Solved]) -> int | None:
    """Evaluations of the forward pass; None without a block."""
    blocks = ode_blocks(of)
    return sum(block.statistics.nfe_forward for block in blocks) if blocks else None


def nfe_per_sample(of: nn.Module | Sequence[Solved]) -> list[int] | None:
    """Evaluations of the forward pass that each sample took part in.

    None where the samples of a batch share their steps, and without a block.
    """
    counts = [block.statistics.nfe_of_samples for block in ode_blocks(of)]
    own = [of_block for of_block in counts if of_block is not None and of_block.size]
    return np.sum(own, axis=0).tolist() if own and len(own) == len(counts) else None


def nfe_backward(of: nn.Module | Sequence[Solved]) -> int | None:
    """Evaluations of the backward pass so far; None where backward makes none of its own."""
    counts = [block.statistics.nfe_backward for block in ode_blocks(of)]
    counted = [count for count in counts if count is not None]
    return sum(counted) if counted else None


def rejected_steps(of: nn.Module | Sequence[Solved]) -> int | None:
    """Rejected steps of the forward pass; None without a block."""
    blocks = ode_blocks(of)
    return sum(block.statistics.rejected for block in blocks) if blocks else None
