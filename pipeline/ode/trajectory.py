"""What a solve leaves for its backward pass: a segment for every accepted step."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.device.random_state import RandomState, get_random_state


@dataclass
class Segment:
    """One accepted step, from `z` at `t`.

    Attributes:
        z: a leaf: the step's graph begins here.
        end: z(t + dt) with its graph; None where that was dropped, to be built again in the backward pass.
        random_first, random_stages: random states before the first stage was evaluated, and before the others.
    """

    t: float
    dt: float
    z: Tensor
    end: Tensor | None
    random_first: RandomState | None
    random_stages: RandomState | None


class Trajectory:
    """Of a solve without gradients: keeps nothing."""

    def leaf(self, z: Tensor) -> Tensor:
        """The state as the next step starts from it."""
        return z

    def random_state(self) -> RandomState | None:
        """What the next evaluation will draw from."""
        return None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around every evaluation that may become part of an accepted step."""
        yield

    def extend(self, segment: Segment) -> None:
        """After every accepted step."""


class GradientPath(Trajectory):
    """Cuts the graph of a solve at every accepted step, and keeps those of the last ones that fit into `graph_bytes`.

    Of the last ones, as the backward pass walks and frees them before it builds the others again, one at a time.

    Attributes:
        segments: in the order of the steps.
        kept_bytes: memory of the graphs that are kept: what they saved for the backward pass, without parameters.
    """

    def __init__(self, device: torch.device, parameters: tuple[Tensor, ...], graph_bytes: float) -> None:
        self.segments: list[Segment] = []
        self.kept_bytes = 0
        self._device = device
        self._parameters = {parameter.untyped_storage().data_ptr() for parameter in parameters}
        self._graph_bytes = graph_bytes
        self._kept: deque[tuple[Segment, int]] = deque()
        self._saved: dict[int, int] = {}

    def leaf(self, z: Tensor) -> Tensor:
        return z.detach().requires_grad_()

    def random_state(self) -> RandomState:
        return get_random_state(self._device)

    @contextmanager
    def watched(self) -> Iterator[None]:
        saved = self._saved

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()  # an output that was saved with its graph would keep that alive for ever

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            yield

    def extend(self, segment: Segment) -> None:
        size = sum(size for storage, size in self._saved.items() if storage not in self._parameters)
        self._saved = {}
        self.segments.append(segment)
        self._kept.append((segment, size))
        self.kept_bytes += size
        while self._kept and self.kept_bytes >= self._graph_bytes:
            oldest, size = self._kept.popleft()
            oldest.end = None
            self.kept_bytes -= size
