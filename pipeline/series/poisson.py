"""The times at which something is observed, as a Poisson process whose intensity depends on the latent state.

Source: Chen et al. 2018, section 5.2 (Poisson process likelihoods).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.series.fields import mlp

NODES = 32
"""Of the quadrature over the time in which each series was watched."""


class Intensity(nn.Module):
    """The logarithm of the rate of observations at a latent state, shape (…, latent) to (…), in 1 / time unit."""

    def __init__(self, latent: int, hidden: Sequence[int] = (20,)) -> None:
        super().__init__()
        self.layers = mlp([latent, *hidden, 1], "tanh")

    def forward(self, z: Tensor) -> Tensor:
        log_rate: Tensor = self.layers(z).squeeze(-1)
        return log_rate


@dataclass(frozen=True)
class Quadrature:
    """Times and weights for an integral over a span of each series.

    Attributes:
        times: shape (b, nodes).
        weights: which sum to the length of the span, shape (b, nodes).
    """

    times: Tensor
    weights: Tensor


def quadrature(begins: Tensor, ends: Tensor, nodes: int = NODES) -> Quadrature:
    """From each of `begins` to its end, shapes (b,), by Gauss and Legendre."""
    points, weights = (torch.from_numpy(array).to(ends) for array in np.polynomial.legendre.leggauss(nodes))
    half = (ends - begins)[:, None] / 2
    return Quadrature(begins[:, None] + half * (points + 1), half * weights)


def log_likelihood(log_rates: Tensor, mask: Tensor, log_rates_within: Tensor, weights: Tensor) -> Tensor:
    """Σ log λ(tᵢ) - ∫ λ dt in nats, shape (…, b).

    Args:
        log_rates: at the times of the observations, shape (…, b, n).
        mask: which of these are observations, shape (b, n).
        log_rates_within: at the times of the quadrature, shape (…, b, nodes).
        weights: of the quadrature, shape (b, nodes).
    """
    integral = (log_rates_within.exp() * weights).sum(-1)
    return (log_rates.masked_fill(~mask, 0.0)).sum(-1) - integral
