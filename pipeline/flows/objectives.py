"""What densities are trained by."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from pipeline.flows.log_prob import LogProb
from pipeline.util.errors import InvalidInput

NOTHING: Mapping[str, float] = MappingProxyType({})


class Density(Protocol):
    """What a flow has in common with the densities beside it."""

    def log_prob(self, x: Tensor, *, generator: torch.Generator | None = None) -> LogProb:
        """Of points, shape (n, D), in nats."""

    def sample(self, n: int, seed: int) -> Tensor:
        """Points without gradients, shape (n, D)."""

    def rsample_and_log_prob(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, LogProb]:
        """Points with gradients, and their log-density."""


def negative_log_likelihood(
    density: Density,
    x: Tensor,
    *,
    penalties: Mapping[str, float] = NOTHING,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mean over points of -log p(x) in nats, and of the flow's penalties times these factors."""
    found = density.log_prob(x, generator=generator)
    return -found.value.mean() + _penalty(found, penalties)


def matching_loss(
    density: Density,
    target: Callable[[Tensor], Tensor],
    n: int,
    *,
    penalties: Mapping[str, float] = NOTHING,
    generator: torch.Generator | None = None,
) -> Tensor:
    """KL(q‖p) = E_q[log q(x) - log p(x)] in nats, from n samples of the density q.

    Args:
        target: log p(x) of points, shape (n, D) to (n,). Where it is known up to a constant, so is the divergence.

    Source: Rezende & Mohamed 2015, section 6.1; Chen et al. 2018, section 4.1.
    """
    x, found = density.rsample_and_log_prob(n, generator)
    return (found.value - target(x)).mean() + _penalty(found, penalties)


def _penalty(found: LogProb, factors: Mapping[str, float]) -> Tensor:
    total = found.value.new_zeros(())
    for name, factor in factors.items():
        if name not in found.penalties:
            raise InvalidInput(
                f"the density gave no penalty {name}: a flow gives those that it was made with (penalties=…), and in "
                "training alone; without it this is the likelihood that evaluations tell"
            )
        total = total + factor * found.penalties[name].mean()
    return total
