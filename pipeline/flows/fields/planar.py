"""Planar units whose weights a network makes of t."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

UNROLLED = 3
"""Dimensions up to which compiled code adds products up in one loop, as calls of so small products cost more."""


class PlanarWeights(NamedTuple):
    """Of M units at a time.

    Attributes:
        inner: w, shape (D, M); for times of samples (n, D, M).
        bias: b, shape (M,) or (n, M).
        outer: u with its gate, divided by M, shaped as `inner`.
    """

    inner: Tensor
    bias: Tensor
    outer: Tensor


class PlanarField(nn.Module):
    """f(t, z) = 1/M Σ_m σ(g_m(t)) u_m(t) tanh(w_m(t)·z + b_m(t)), where w, b, u and g come of a network of t.

    The divergence has a closed form, 1/M Σ_m σ(g_m)·(u_m · w_m) tanh'(w_m·z + b_m), whose cost does not depend on how
    many directions there are. Gates and units have one number a dimension, as in torchdiffeq's example of the paper.

    Source: Chen et al. 2018, section 4 and appendix D.
    """

    def __init__(self, dimension: int, units: int = 64, hidden: int = 32) -> None:
        """
        Args:
            dimension: D, of z.
            units: M.
            hidden: width of the network of t, which has two hidden layers.
        """
        super().__init__()
        self.dimension, self.units = dimension, units
        outputs = (3 * dimension + 1) * units
        self.layers = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
        )

    def at_times(self, times: Tensor) -> list[PlanarWeights]:
        """The weights at the times, shape (stages,) or (stages, n), in one call of the network."""
        block = self.units * self.dimension
        made = self.layers(times.unsqueeze(-1))
        inner, outer, gate, bias = made.split([block, block, block, self.units], dim=-1)
        outer = outer * torch.sigmoid(gate) * (1 / self.units)
        shape = (self.dimension, self.units)
        stages = zip(inner.unflatten(-1, shape), bias, outer.unflatten(-1, shape), strict=True)
        return [PlanarWeights(*stage) for stage in stages]

    def forward(self, t: Tensor, z: Tensor, weights: PlanarWeights | None = None) -> Tensor:
        """dz/dt, shape (n, D), at a scalar t or at times of shape (n, 1)."""
        weights = self._weights(t) if weights is None else weights
        return _combined(self._activated(z, weights), weights.outer)

    def slope_and_divergence(self, t: Tensor, z: Tensor, weights: PlanarWeights | None = None) -> tuple[Tensor, Tensor]:
        """dz/dt and its divergence, shapes (n, D) and (n,)."""
        weights = self._weights(t) if weights is None else weights
        activated = self._activated(z, weights)
        shares = (weights.inner * weights.outer).sum(-2)
        slope, derivative = _combined(activated, weights.outer), 1 - activated * activated
        if shares.dim() == 1 and not _is_unrolled(weights.inner):
            return slope, derivative @ shares
        return slope, (derivative * shares).sum(-1)

    def with_tangents(
        self, t: Tensor, z: Tensor, tangents: Tensor, weights: PlanarWeights | None = None
    ) -> tuple[Tensor, Tensor]:
        """dz/dt, and the Jacobian's products with the tangents, shape (k, n, D)."""
        weights = self._weights(t) if weights is None else weights
        activated = self._activated(z, weights)
        derivative = 1 - activated * activated
        return _combined(activated, weights.outer), _combined(
            derivative * _applied(tangents, weights.inner), weights.outer
        )

    def _weights(self, t: Tensor) -> PlanarWeights:
        return self.at_times(t.reshape(1, -1) if t.numel() > 1 else t.reshape(1))[0]

    def _activated(self, z: Tensor, weights: PlanarWeights) -> Tensor:
        return torch.tanh(_applied(z, weights.inner) + weights.bias)


def _applied(z: Tensor, inner: Tensor) -> Tensor:
    """w·z of all units, shape (…, n, M)."""
    if inner.dim() == 3:
        return (z.unsqueeze(-1) * inner).sum(-2)
    if _is_unrolled(inner):
        total = z[..., :1] * inner[0]
        for d in range(1, len(inner)):
            total = total + z[..., d : d + 1] * inner[d]
        return total
    return z @ inner


def _combined(activated: Tensor, outer: Tensor) -> Tensor:
    """Σ_m u_m h_m, shape (…, n, D)."""
    if outer.dim() == 3:
        return (activated.unsqueeze(-2) * outer).sum(-1)
    if _is_unrolled(outer):
        return torch.stack([(activated * outer[d]).sum(-1) for d in range(len(outer))], dim=-1)
    return activated @ outer.mT


def _is_unrolled(weights: Tensor, most: int = UNROLLED) -> bool:  # a parameter, as TorchScript reads no globals
    return torch.compiler.is_compiling() and len(weights) <= most
