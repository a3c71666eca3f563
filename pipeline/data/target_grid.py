"""A density that is known up to a constant, on a line or in the plane: its constant, and points drawn from it."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from pipeline.data.points import Target
from pipeline.util.array_types import FloatArray

CELLS = 1_000_000
"""Of the grid; in the plane a thousand along each axis."""
AT_ONCE = 100_000


@dataclass(frozen=True, eq=False)
class TargetGrid:
    """The density in cells of one size over the target's box.

    Attributes:
        log_normaliser: log ∫ of it over the box, by the midpoints of the cells.
    """

    low: FloatArray
    size: FloatArray
    """Of a cell."""
    along: int
    """Cells along an axis."""
    cumulated: FloatArray
    """Probability up to and with each cell, shape (CELLS,)."""
    log_normaliser: float

    @classmethod
    def of(cls, target: Target) -> "TargetGrid":
        """The grid of a target on a line or in the plane."""
        dimension = len(target.box)
        along = round(CELLS ** (1 / dimension))
        low = np.array([ends[0] for ends in target.box])
        size = (np.array([ends[1] for ends in target.box]) - low) / along
        values = torch.cat([target.log_density(rows).double() for rows in _midpoints(low, size, along).split(AT_ONCE)])
        log_normaliser = float(values.logsumexp(0)) + float(np.log(prod(size)))
        cumulated = np.cumsum(values.softmax(0).numpy())
        return cls(low, size, along, cumulated / cumulated[-1], log_normaliser)

    def sample(self, n: int, random: np.random.Generator) -> FloatArray:
        """Points, shape (n, D): cells by their probability, places in them alike."""
        cells = np.searchsorted(self.cumulated, random.random(n))
        corners = np.stack(np.unravel_index(cells, (self.along,) * len(self.low)), 1)
        places: FloatArray = self.low + self.size * (corners + random.random((n, len(self.low))))
        return places


def _midpoints(low: FloatArray, size: FloatArray, along: int) -> Tensor:
    places = torch.arange(along, dtype=torch.float64) + 0.5
    axes = [start + width * places for start, width in zip(low, size, strict=True)]
    return torch.cartesian_prod(*axes).reshape(-1, len(axes))
