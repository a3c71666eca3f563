"""A trained density, as notebooks and commands have it: rows in the units of its data, and what it says of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.ode.counts import nfe_forward
from pipeline.tasks import base
from pipeline.tasks.density import evaluation
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.network import DensityNetwork
from pipeline.tasks.density.preprocessing import Preprocessing
from pipeline.util.array_types import FloatArray


@dataclass(frozen=True)
class TrainedModel(base.TrainedModel[DensityConfig]):
    """A density with its best weights and all that is needed to use it."""

    network: DensityNetwork
    preprocessing: Preprocessing

    @property
    def flow(self) -> Any:
        """The density of points as it was trained on them: `log_prob`, `sample` and, of a `Flow`, what that has."""
        return self.network.density

    @property
    def evaluations(self) -> int | None:
        """Evaluations of the field in the last solve; None for a density without an ODE."""
        return nfe_forward(self.network)

    def points(self, rows: FloatArray, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Rows as the flow sees them, and what is added to each one's log-density to be that of its row.

        Args:
            seed: of the noise of images' whole numbers, and of a table that was trained with noise.
        """
        if self.preprocessing.dequantisation is not None:
            counts = torch.from_numpy(np.asarray(rows))
            return self.preprocessing.dequantised(counts, torch.Generator().manual_seed(seed))
        points = self.preprocessing.points(self.preprocessing.with_noise(rows, seed))
        return points, torch.full((len(points),), -self.preprocessing.log_scale)

    @torch.no_grad()
    def log_prob(self, rows: FloatArray, seed: int = 0) -> FloatArray:
        """Log-density of each row in nats, shape (n,): of a table in its columns' own units, of images on [0, 1]^D.

        Args:
            rows: shape (n, D), numbers as the data set has them.
            seed: of the noise of images' whole numbers, and of the probes where the trace is estimated.
        """
        points, change = self.points(rows, seed)
        generator, device = torch.Generator().manual_seed(seed), next(self.network.parameters()).device
        found = [
            self.flow.log_prob(part.to(device), generator=generator).value.cpu()
            for part in points.split(self.config.evaluation.batch_size)
        ]
        values: FloatArray = (torch.cat(found).double() + change).numpy()
        return values

    def shift(self, rows: FloatArray) -> float:
        """What a hundredth of the tolerances adds to the mean of -log p of the first rows, in nats."""
        points, _ = self.points(rows[: evaluation.CHECKED])
        return evaluation.shift(self.network, points.to(next(self.network.parameters()).device))

    def sample(self, n: int, seed: int = 0) -> FloatArray:
        """Rows of the density, shape (n, D), as the data set has them."""
        return self.preprocessing.rows(self.flow.sample(n, seed))
