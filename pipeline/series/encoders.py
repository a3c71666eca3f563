"""The posterior of a latent state from the observations of a series, read backwards in time."""

from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.series.batch import SeriesBatch
from pipeline.series.cells import Cell
from pipeline.series.likelihood import gaussian_kl
from pipeline.util.errors import InvalidInput


class Posterior(NamedTuple):
    """A Gaussian of the latent state at the start of each series, its dimensions independent.

    Attributes:
        mean, sd: shape (b, latent).
    """

    mean: Tensor
    sd: Tensor

    def sample(self, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Shape (samples, b, latent), with gradients to mean and sd; the noise is drawn on the generator's device.

        Raises:
            InvalidInput: less than one sample.
        """
        if samples < 1:
            raise InvalidInput(f"{samples} samples of a posterior say nothing: take one at least")
        device = self.mean.device if generator is None else generator.device
        shape = (samples, *self.mean.shape)
        noise = torch.randn(shape, generator=generator, device=device, dtype=self.mean.dtype).to(self.mean.device)
        return torch.addcmul(self.mean, self.sd, noise)

    def kl(self) -> Tensor:
        """From N(0, 1), in nats, shape (b,)."""
        return gaussian_kl(self.mean, self.sd)

    def entropy(self) -> Tensor:
        """In nats, shape (b,)."""
        return (self.sd.log() + (log(2 * pi) + 1) / 2).sum(-1)


class Encoder(nn.Module):
    """A cell that reads the observations from the last to the first, and a layer that makes a posterior of its state.

    Source: Chen et al. 2018, section 5, with an RNN; Rubanova, Chen & Duvenaud 2019, section 3.2, with an ODE-RNN.
    """

    def __init__(self, cell: Cell, latent: int) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.features_width, 2 * latent)

    def forward(self, batch: SeriesBatch, time_unit: float = 1.0) -> Posterior:
        """
        Args:
            time_unit: what the cell takes for a unit of time, in that of the series.
        """
        observations = batch.descending
        state = self.cell.last(observations, observations.gaps / time_unit)
        state = self.cell.evolve(state, observations.rest[:, None] / time_unit)
        # The state of an ODE begins with it, and stays in full precision under autocast.
        mean, log_variance = self.head(self.cell.features(state)).to(batch.values.dtype).chunk(2, dim=-1)
        return Posterior(mean, torch.exp(log_variance / 2))
