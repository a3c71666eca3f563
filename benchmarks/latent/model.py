"""The model in plain torch, without a library for series: what other solvers are given."""

from collections.abc import Callable
from math import log, pi

import torch
from torch import Tensor, nn

from benchmarks.small.fields import Chain

LATENT, HIDDEN, RECURRENT, DIMENSIONS = 4, 20, 25, 2
Solve = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Of the field, z0 and the times: the states, shape (points, series, latent)."""


class LatentModel(nn.Module):
    """An RNN that reads the values backwards, a field of two hidden layers, a decoder of one.

    The encoder does not see the times, and the noise of the values is given. Sizes as in torchdiffeq's example.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.Linear(DIMENSIONS + RECURRENT, RECURRENT)
        self.posterior = nn.Linear(RECURRENT, 2 * LATENT)
        self.field = Chain((LATENT, HIDDEN, HIDDEN, LATENT), nn.ELU)
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIMENSIONS))

    def loss(self, values: Tensor, times: Tensor, draw: Tensor, noise: float, solve: Solve) -> Tensor:
        """Minus the evidence lower bound in nats, mean over the series."""
        mean, log_variance = self._encoded(values)
        z0 = mean + draw * torch.exp(0.5 * log_variance)
        decoded = self.decoder(solve(self.field, z0, times).permute(1, 0, 2))
        squares = ((values - decoded) / noise) ** 2
        likelihood = -0.5 * (squares + log(2 * pi) + 2 * log(noise)).sum((1, 2))
        divergence = 0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum(1)
        return (divergence - likelihood).mean()

    def _encoded(self, values: Tensor) -> tuple[Tensor, Tensor]:
        state = values.new_zeros(len(values), RECURRENT)
        for point in reversed(range(values.shape[1])):
            state = torch.tanh(self.recurrent(torch.cat([values[:, point], state], dim=1)))
        mean, log_variance = self.posterior(state).chunk(2, dim=1)
        return mean, log_variance
