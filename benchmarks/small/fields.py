"""The small fields, in torch."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Weights = tuple[Tensor, Tensor, Tensor]
"""W, b and U of the planar units at a time: (units, dimensions), (units,) and (units, dimensions)."""


class Chain(nn.Module):
    """Linear layers with an activation between them, which do not see t.

    Args:
        gain: factor of torch's first weights.
    """

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module], gain: float = 1.0) -> None:
        super().__init__()
        linear = [nn.Linear(before, after) for before, after in pairwise(sizes)]
        with torch.no_grad():
            for layer in linear:
                layer.weight.mul_(gain)
        self.layers = nn.Sequential(*(part for layer in linear for part in (layer, activation())))[:-1]

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002 - an ODE's field is given t
        return self.layers(z)


class Planar(nn.Module):
    """A continuous normalising flow's field: the mean of planar units, whose weights a network makes of t.

    The state is (z, log p), of shapes (batch, dimensions) and (batch, 1). The trace of the Jacobian is known in closed
    form, so that two products of matrices are all that an evaluation takes.

    Source: Chen et al. 2018, section 4; sizes and gates as in torchdiffeq's example.
    """

    def __init__(self, dimensions: int = 2, hidden: int = 32, units: int = 64) -> None:
        super().__init__()
        self.dimensions, self.units = dimensions, units
        outputs = (3 * dimensions + 1) * units
        self.layers = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
        )

    def weights(self, times: Tensor) -> Weights:
        """At several times at once: the first dimension is that of `times`."""
        block = self.units * self.dimensions
        inner, outer, gate, bias = self.layers(times[:, None]).split([block, block, block, self.units], dim=1)
        shape = (len(times), self.units, self.dimensions)
        gated = outer * torch.sigmoid(gate) / self.units
        return inner.reshape(shape), bias, gated.reshape(shape)

    def at_times(self, times: Tensor) -> list[Weights]:
        """The weights of each of a step's stages, which our engine asks for once a step."""
        inner, bias, outer = self.weights(times)
        return [(inner[stage], bias[stage], outer[stage]) for stage in range(len(times))]

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor], weights: Weights | None = None) -> tuple[Tensor, Tensor]:
        inner, bias, outer = self.at_times(t.reshape(1))[0] if weights is None else weights
        units = torch.tanh(torch.addmm(bias, state[0], inner.t()))
        trace = (1 - units * units) @ (inner * outer).sum(1, keepdim=True)
        return units @ outer, -trace
