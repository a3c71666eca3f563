"""What is trained: the model, data and settings of torchdiffeq's example of a latent ODE, on data of our own making."""

from dataclasses import dataclass
from functools import cached_property
from math import pi

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.latent.model import LatentModel

SERIES, POINTS, NOISE = 1000, 100, 0.3


@dataclass(frozen=True)
class LatentProblem:
    """The same in every process.

    Attributes:
        weights: of the model, in torch's order; torch's first ones without them.
    """

    weights: np.ndarray | None = None

    def model(self) -> LatentModel:
        torch.manual_seed(0)
        model = LatentModel()
        if self.weights is not None:
            nn.utils.vector_to_parameters(torch.from_numpy(self.weights), model.parameters())
        return model

    @cached_property
    def times(self) -> Tensor:
        """The first hundred of five hundred over six half turns, shape (points,)."""
        return torch.linspace(0, 6 * pi, 500)[:POINTS]

    @cached_property
    def values(self) -> Tensor:
        """Spirals, half of them clockwise, from angles and radii by chance on; shape (series, points, 2)."""
        generator = torch.Generator().manual_seed(1)
        directions = torch.tensor([1.0, -1.0]).repeat(SERIES // 2)[:, None]
        angles = directions * self.times + 2 * pi * torch.rand(SERIES, 1, generator=generator)
        radii = 0.5 + 2 * torch.rand(SERIES, 1, generator=generator) + 0.3 * self.times
        truth = radii[:, :, None] * torch.stack([angles.cos(), angles.sin()], dim=2)
        return truth + NOISE * torch.randn(truth.shape, generator=generator)

    @cached_property
    def draw(self) -> Tensor:
        """What the latent states are drawn by, the same in all steps; shape (series, latent)."""
        return torch.randn(SERIES, 4, generator=torch.Generator().manual_seed(2))
