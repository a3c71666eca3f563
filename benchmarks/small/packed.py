"""States in parts as one matrix, for libraries that know tensors alone."""

import torch
from torch import Tensor, nn

from benchmarks.small.problems import State


def pack(state: State) -> Tensor:
    """A row for each sample."""
    return state if isinstance(state, Tensor) else torch.cat(state, dim=-1)


def unpack(packed: Tensor, like: State) -> State:
    """The parts of `like`; further dimensions may come first."""
    return packed if isinstance(like, Tensor) else packed.split([part.shape[-1] for part in like], dim=-1)


class PackedField(nn.Module):
    """dz/dt of a field whose states are shaped as `like`."""

    def __init__(self, field: nn.Module, like: State) -> None:
        super().__init__()
        self.field, self._like = field, like

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return pack(self.field(t, unpack(z, self._like)))
