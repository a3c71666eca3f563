"""What the solves of a module's ODE blocks cost, summed over the blocks; of the last forward and backward pass."""

from typing import Protocol, runtime_checkable

from torch import nn

from pipeline.config import SolverConfig
from pipeline.ode.solution import Statistics


@runtime_checkable
class Solved(Protocol):
    """A part of a model that is the solution of an ODE: an `ODEBlock`, a flow, a latent ODE.

    Attributes:
        statistics: of the last solve.
    """

    field: nn.Module
    solver: SolverConfig
    statistics: Statistics


def ode_blocks(module: nn.Module) -> list[Solved]:
    """The parts that are solved; none in a residual network."""
    return [part for part in module.modules() if isinstance(part, Solved)]


def nfe_forward(module: nn.Module) -> int | None:
    """Evaluations of the forward pass; None without a block."""
    blocks = ode_blocks(module)
    return sum(block.statistics.nfe_forward for block in blocks) if blocks else None


def nfe_per_sample(module: nn.Module) -> list[int] | None:
    """Evaluations of the forward pass that each sample took part in.

    None where the samples of a batch share their steps, and without a block.
    """
    counts = [[sample.nfe for sample in block.statistics.samples] for block in ode_blocks(module)]
    return [sum(of_sample) for of_sample in zip(*counts, strict=True)] if all(counts) and counts else None


def nfe_backward(module: nn.Module) -> int | None:
    """Evaluations of the backward pass so far; None where backward makes none of its own."""
    counts = [block.statistics.nfe_backward for block in ode_blocks(module)]
    counted = [count for count in counts if count is not None]
    return sum(counted) if counted else None


def rejected_steps(module: nn.Module) -> int | None:
    """Rejected steps of the forward pass; None without a block."""
    blocks = ode_blocks(module)
    return sum(block.statistics.rejected for block in blocks) if blocks else None
