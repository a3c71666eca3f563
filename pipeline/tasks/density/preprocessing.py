"""From numbers as they are stored to points as a flow sees them, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data.tabular import with_noise
from pipeline.flows import Dequantisation
from pipeline.util.array_types import FloatArray


@dataclass(frozen=True)
class Preprocessing:
    """Columns are shifted and scaled; whole numbers of images are filled up with noise and go through a logit.

    Attributes:
        dimension: D.
        columns: names of a table's.
        mean, scale: of a table's columns; none where they stay as they are.
        widths, deviations: of the uniform and the normal noise that a table's columns are trained with; none without.
        dequantisation: of images.
        image_shape: of images, (channels, height, width).
    """

    dimension: int
    columns: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    dequantisation: Dequantisation | None = None
    image_shape: tuple[int, int, int] | None = None
    widths: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    def with_noise(self, rows: FloatArray, seed: int) -> FloatArray:
        """A table's rows as those are that were trained with: raw ones lie where such a density is not as it was."""
        if not (any(self.widths) or any(self.deviations)):
            return rows
        random = np.random.default_rng(seed)
        return with_noise(np.asarray(rows, np.float64), np.array(self.widths), np.array(self.deviations), random)

    def points(self, rows: FloatArray) -> Tensor:
        """A table's rows, shape (n, D), as points in float32."""
        values = np.asarray(rows, np.float64)
        if self.scale:
            values = (values - np.array(self.mean)) / np.array(self.scale)
        return torch.from_numpy(values.astype(np.float32))

    def dequantised(self, counts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points of images' whole numbers, and log |dy/dx| of each; see `Dequantisation`."""
        assert self.dequantisation is not None
        return self.dequantisation(counts.float(), generator)

    def rows(self, points: Tensor) -> FloatArray:
        """Points of the flow in the numbers that the data have."""
        if self.dequantisation is not None:
            return self.dequantisation.inverse(points).cpu().numpy()
        values = points.double().cpu().numpy()
        return values * np.array(self.scale) + np.array(self.mean) if self.scale else values

    @property
    def log_scale(self) -> float:
        """What is taken from a point's log-density to have that of its row, in the columns' own units."""
        return float(np.log(self.scale).sum()) if self.scale else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As a run records it."""
        return {
            "dimension": self.dimension,
            "columns": list(self.columns),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "widths": list(self.widths),
            "deviations": list(self.deviations),
            "levels": self.dequantisation.levels if self.dequantisation else None,
            "image_shape": list(self.image_shape) if self.image_shape else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], logit: float | None) -> "Preprocessing":
        """What `to_dict` gave; `logit` is that of the configuration."""
        shape = values["image_shape"]
        return cls(
            values["dimension"],
            tuple(values["columns"]),
            tuple(values["mean"]),
            tuple(values["scale"]),
            Dequantisation(values["levels"], logit) if values["levels"] else None,
            (shape[0], shape[1], shape[2]) if shape else None,
            tuple(values.get("widths", ())),  # earlier versions did not store them
            tuple(values.get("deviations", ())),
        )
