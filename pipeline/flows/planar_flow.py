"""Planar normalizing flows: layers of one unit each."""

from math import ceil, log2
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.flows.base import Normal
from pipeline.flows.log_prob import LogProb


class PlanarFlow(nn.Module):
    """K layers h(y) = y + û tanh(w·y + b), whose log-determinant is log(1 + û·w tanh'(w·y + b)).

    û is u moved along w so that û·w > -1, by which a layer can be inverted. Its inverse has no closed form: it is found
    by bisection along w, one number a point, and a Newton step that carries the gradient.

    Maximum likelihood wants the layers to lead from data to base, where log p(x) is their closed form, as Chen et al.
    2018 train it; density matching from base to data, where samples have one, as Rezende & Mohamed 2015 do.

    Source: Rezende & Mohamed 2015, section 4.1 and appendix A.1.
    """

    def __init__(
        self,
        dimension: int,
        layers: int,
        *,
        leads: Literal["to base", "to data"] = "to base",
        base: Normal | None = None,
    ) -> None:
        """
        Args:
            leads: where the layers lead; in the other direction they are inverted.
        """
        super().__init__()
        self.dimension = dimension
        self.leads = leads
        self.base = Normal(dimension) if base is None else base
        self.w = nn.Parameter(torch.randn(layers, dimension) / dimension**0.5)
        self.u = nn.Parameter(0.1 * torch.randn(layers, dimension))
        self.b = nn.Parameter(torch.zeros(layers))

    def log_prob(self, x: Tensor, *, generator: torch.Generator | None = None) -> LogProb:  # noqa: ARG002 - as of a flow
        """The log-density of points, shape (n, D), in nats."""
        z, change = self._through(x) if self.leads == "to base" else self._back(x)
        return LogProb(self.base.log_prob(z) + change)

    def sample(self, n: int, seed: int) -> Tensor:
        """Shape (n, D), without gradients."""
        with torch.no_grad():
            return self.rsample_and_log_prob(n, torch.Generator().manual_seed(seed))[0]

    def rsample_and_log_prob(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, LogProb]:
        """Points with gradients, and their log-density."""
        z = self.base.sample(n, generator)
        x, change = self._back(z) if self.leads == "to base" else self._through(z)
        return x, LogProb(self.base.log_prob(z) - change)

    def forward(self, z: Tensor) -> Tensor:
        """Where points of the base come to."""
        return (self._back(z) if self.leads == "to base" else self._through(z))[0]

    def inverse(self, x: Tensor) -> Tensor:
        """Where points of the data come from."""
        return (self._through(x) if self.leads == "to base" else self._back(x))[0]

    def _through(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where the layers lead, and their log-determinant, shape (n,)."""
        change = y.new_zeros(len(y))
        for w, u, slope, b in zip(self.w, *self._invertible(), self.b, strict=True):
            activated = torch.tanh(y @ w + b)
            y = y + activated.unsqueeze(1) * u
            change = change + _log_determinant(activated, slope)
        return y, change

    def _back(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where the layers come from, and the inverses' log-determinant."""
        change = y.new_zeros(len(y))
        directions, slopes = self._invertible()
        for w, u, slope, b in zip(self.w.flip(0), directions.flip(0), slopes.flip(0), self.b.flip(0), strict=True):
            activated = torch.tanh(_along(y @ w, slope - 1, b) + b)
            y = y - activated.unsqueeze(1) * u
            change = change - _log_determinant(activated, slope)
        return y, change

    def _invertible(self) -> tuple[Tensor, Tensor]:
        """û, shape (K, D), and 1 + w û, the least slope of each layer along w, shape (K,)."""
        product = (self.w * self.u).sum(1, keepdim=True)
        slope = functional.softplus(product)
        return self.u + (slope - 1 - product) * self.w / self.w.square().sum(1, keepdim=True), slope.squeeze(1)


def _log_determinant(activated: Tensor, slope: Tensor) -> Tensor:
    """log(1 + w û (1 - tanh²)) by 1 + w û, which may be so small that w û is -1 in its number format."""
    squared = activated.square()
    return torch.log(squared + slope * (1 - squared))


def _along(reached: Tensor, strength: Tensor, b: Tensor) -> Tensor:
    """a of a + strength tanh(a + b) = reached, which grows with a; shape (n,)."""
    with torch.no_grad():
        low, high = reached - strength.abs(), reached + strength.abs()
        halvings = ceil(-log2(torch.finfo(reached.dtype).eps)) + 8
        for _ in range(halvings):
            middle = 0.5 * (low + high)
            is_below = middle + strength * torch.tanh(middle + b) < reached
            low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
        found = 0.5 * (low + high)
        slope = 1 + strength * (1 - torch.tanh(found + b).square())
    return found - (found + strength * torch.tanh(found + b) - reached) / slope
