"""What a solve leaves for its backward pass: a segment for every accepted step."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.device.random_state import RandomState, get_random_state, set_random_state
from pipeline.ode.memory import graph_bytes


class Snapshot(NamedTuple):
    """What an evaluation depends on beside its arguments."""

    random: RandomState | None
    buffers: list[tuple[Tensor, Tensor]]

    def restore(self, device: torch.device) -> None:
        """Have the next evaluation be as the one that followed this snapshot."""
        set_random_state(self.random, device)
        with torch.no_grad():
            for buffer, value in self.buffers:
                buffer.copy_(value)

    def put_back(self, device: torch.device) -> None:
        """The same of all buffers, most of which nothing has changed."""
        set_random_state(self.random, device)
        put_back(self.buffers)


@torch.no_grad()
def put_back(buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Give each buffer the value beside it again.

    One that has it stays untouched: to torch it would be changed, and what was computed from it could be differentiated
    no more.
    """
    for buffer, value in buffers:
        if not torch.equal(buffer, value):
            buffer.copy_(value)


@dataclass
class Segment:
    """One accepted step, from `z` at `t`, of the whole batch or of some of its samples.

    Attributes:
        t, dt, end: as the method takes them.
        z: where the step's graph begins; None where states are not kept.
        first: dz/dt there as another beginning of the graph; None where that belongs to the step's own graph.
        rows: of those samples in the batch, shape (n,); None for all.
        thetas: fractions of the step at which the solution was asked for, shape (k,) or (1, pairs).
        pairs: of each fraction, where samples have steps of their own, its position among `rows`.
        outputs: of each fraction, its number among the times asked for; -1 for an event that ends the solve.
        keeps: dz/dt at the step's end belongs to its graph, for the solution within.
        graph: what follows from z, its graph kept; None where it is to be built again.
        before_first, before_stages, before_last: snapshots of then.
    """

    t: Tensor
    dt: Tensor
    end: Tensor
    z: Tensor | None
    first: Tensor | None
    rows: Tensor | None
    thetas: Tensor | None
    pairs: Tensor | None
    outputs: Tensor | None
    keeps: bool
    graph: "StepGraph | None"
    before_first: Snapshot
    before_stages: Snapshot
    before_last: Snapshot


class StepGraph(NamedTuple):
    """What follows from a step's beginning.

    Attributes:
        end: the state at its end.
        last: dz/dt there, where the next segment begins with it too; None elsewhere.
        outputs: the states asked for between; None without any.
    """

    end: Tensor
    last: Tensor | None
    outputs: Tensor | None

    def tensors(self) -> list[Tensor]:
        """Those that are there."""
        return [tensor for tensor in self if tensor is not None]


NOTHING = Snapshot(None, [])
"""Of a solve that is not repeated."""


class Path:
    """Of a solve that nothing is recorded of: without gradients, or with those of one graph throughout."""

    records = False

    def recording(self) -> AbstractContextManager[Any]:
        """Around what may become a step."""
        return nullcontext()

    def leaf(self, z: Tensor) -> Tensor:
        """`z` as the next step begins with it."""
        return z

    def snapshot(self) -> Snapshot:
        """Before an evaluation that may have to be repeated."""
        return NOTHING

    def extend(self, segment: Segment) -> None:
        """After every accepted step."""

    def reached(self, z: Tensor) -> None:
        """The state that accepted steps came to."""

    def output(self, index: int) -> None:
        """The state that was last reached is one that was asked for."""


class RecordedPath(Path):
    """Cuts the graph of a solve at every accepted step, and keeps those of the first ones that fit into memory.

    Which are kept changes no bit of a gradient.

    Attributes:
        segments: in the order of the steps; a number stands for an output between two.
        kept_bytes: memory of the graphs that are kept: what they saved for the backward pass, without parameters.
    """

    records = True

    def __init__(
        self,
        parameters: Sequence[Tensor],
        device: torch.device,
        budget: float,
        changing: Sequence[Tensor] = (),
        always_builds: bool = False,
        keeps_states: bool = True,
    ) -> None:
        """
        Args:
            budget: memory that graphs may take, in bytes.
            changing: buffers of the field's module that evaluations change.
            keeps_states: of where the steps begin; they can be found again from the start.
            always_builds: build graphs that are not kept too, as what is compiled would be compiled without them again.
        """
        self.segments: list[Segment | int] = []
        self.kept_bytes = 0
        self._parameters = parameters
        self._device = device
        self._budget = budget
        self._step_bytes: int | None = None
        self._changing = changing
        self._always_builds = always_builds
        self._keeps_states = keeps_states

    @property
    def keeps(self) -> bool:
        """Whether the next step's graph will be kept; of the first one, that may turn out too large."""
        if self._step_bytes is None:
            return self._budget > 0
        # Beside what is kept, the backward pass needs the memory of one graph that it builds again.
        return self.kept_bytes + 2 * self._step_bytes <= self._budget

    def recording(self) -> AbstractContextManager[Any]:
        return torch.enable_grad() if self.keeps or self._always_builds else torch.no_grad()

    def leaf(self, z: Tensor) -> Tensor:
        return z.detach().requires_grad_()

    def snapshot(self) -> Snapshot:
        return Snapshot(get_random_state(self._device), [(buffer, buffer.clone()) for buffer in self._changing])

    def extend(self, segment: Segment) -> None:
        if segment.graph is not None and self._budget < float("inf"):
            if self._step_bytes is None and self._budget > 0:
                self._step_bytes = graph_bytes(segment.graph.tensors(), self._parameters)
            if self._step_bytes is not None and self.kept_bytes + self._step_bytes <= self._budget:
                self.kept_bytes += self._step_bytes
            else:
                segment.graph = None
        if not self._keeps_states:
            segment.z = segment.first = None
        self.segments.append(segment)

    def output(self, index: int) -> None:
        self.segments.append(index)
