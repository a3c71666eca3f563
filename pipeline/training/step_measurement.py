"""Single training steps, measured: what a training will cost, and what its backward pass keeps."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import TrainingConfig
from pipeline.device.allocations import Allocations
from pipeline.device.precision import backward, numerics
from pipeline.ode.counts import nfe_backward, nfe_forward
from pipeline.training.division import Division
from pipeline.training.objective import Objective
from pipeline.training.optimisation import build_optimiser


@dataclass(frozen=True)
class StepMeasurement:
    """What steps of a training took; the model is then trained by as many steps."""

    items: int
    """Of each batch."""
    steps: int
    """That were timed, after one that was not."""
    step_seconds: float
    """The median: forward and backward pass and the optimiser."""
    graph_nodes: int
    """Of torch's graph of the loss: the operations that the backward pass goes through."""
    graph_memory_mb: float
    """What the forward pass has left allocated for the backward pass."""
    step_memory_mb: float
    """The most that was allocated at once, above what there was before the step."""
    nfe_forward: int | None
    nfe_backward: int | None

    def to_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


def measure_steps(
    model: nn.Module, objective: Objective, config: TrainingConfig, seed: int, steps: int = 3, with_memory: bool = True
) -> StepMeasurement:
    """Take a step to warm up, `steps` that are timed, and one whose memory is looked at.

    Nothing is compiled: it is the cost of a training's steps as torch takes them by themselves.

    Args:
        with_memory: leave it out where only the time is asked for.

    Raises:
        SolverFailure: an ODE could not be solved.
    """
    measured = _Steps(model, objective, config, seed)
    with numerics(config, objective.device):
        model.train()
        measured.step()
        seconds = [measured.timed_step() for _ in range(steps)]
        nodes, left, peak = measured.watched_step() if with_memory else (0, 0.0, 0.0)
    return StepMeasurement(
        items=measured.items,
        steps=steps,
        step_seconds=statistics.median(seconds),
        graph_nodes=nodes,
        graph_memory_mb=left,
        step_memory_mb=peak,
        nfe_forward=nfe_forward(model),
        nfe_backward=nfe_backward(model),
    )


class _Steps:
    """Training steps, one after the other, over the batches again and again."""

    def __init__(self, model: nn.Module, objective: Objective, config: TrainingConfig, seed: int) -> None:
        self.model, self.objective, self.config = model, objective, config
        self.optimiser = build_optimiser(config, model.parameters())
        self.generator = torch.Generator().manual_seed(seed)
        self.division = Division(objective.training_items, config.batch_size, config.micro_batch_size)
        self.batches = self._forever()
        self.items = self.division.items(1)

    def _forever(self) -> Iterator[list[Any]]:
        """The parts of each batch."""
        while True:
            batches = self.objective.training_batches(self.config.batch_size, self.generator)
            for number, batch in enumerate(batches, start=1):
                parts = self.division.parts(number)
                yield [batch if rows is None else self.objective.part(batch, rows) for rows in parts]

    def step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        parts = next(self.batches)
        for part in parts:
            loss = self._loss(part)
            backward(loss if len(parts) == 1 else loss / len(parts))
        self.optimiser.step()

    def timed_step(self) -> float:
        self._wait()  # what a step before has left to do is none of this one's
        started = time.perf_counter()
        self.step()
        self._wait()
        return time.perf_counter() - started

    def watched_step(self) -> tuple[int, float, float]:
        """Nodes of the graph, MB that it keeps, and the peak of the step in MB; the graph is that of the first part."""
        self.optimiser.zero_grad(set_to_none=True)
        first, *others = next(self.batches)
        with Allocations(self.objective.device) as allocations:
            loss = self._loss(first)
            allocations.mark()
            nodes = count_nodes(loss)
            backward(loss)
            del loss
            for part in others:
                backward(self._loss(part))
            self.optimiser.step()
        return nodes, allocations.marked_mb, allocations.peak_mb

    def _loss(self, part: Any) -> Tensor:
        return self.objective.loss(self.model, part, self.generator).minimised

    def _wait(self) -> None:
        if self.objective.device.type == "cuda":
            torch.cuda.synchronize(self.objective.device)


def count_nodes(output: Tensor) -> int:
    """Nodes of the graph that the backward pass from `output` goes through, those that take gradients up included."""
    seen, ahead = set(), [output.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            ahead += [following for following, _ in node.next_functions]
    return len(seen)
