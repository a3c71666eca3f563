"""What a density is learnt from: rows of numbers, a distribution to draw from without end, or a log-density."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.util.array_types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

Sample = Callable[[int, np.random.Generator], FloatArray]
"""(n, where chance comes from) -> points, shape (n, D)."""
LogDensity = Callable[["Tensor"], "Tensor"]
"""Points, shape (n, D) -> their log-density in nats, shape (n,)."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A table or images, already parted.

    Attributes:
        train, test: shape (n, D); of whole numbers with `levels`.
        validation: the rows that the data set itself keeps for that; None where they are taken from `train`.
        columns: names, one a dimension; none of images.
        levels: how many values each number has, from 0 on, of images.
        image_shape: (channels, height, width), of images.
        is_published: whether the rows are prepared as published, so that nothing of them is changed or complained of.
    """

    train: NDArray[Any]
    test: NDArray[Any]
    validation: NDArray[Any] | None = None
    columns: tuple[str, ...] = ()
    levels: int | None = None
    image_shape: tuple[int, int, int] | None = None
    is_published: bool = False


@dataclass(frozen=True, eq=False)
class Endless:
    """A distribution that is drawn from as long as a training goes on.

    Attributes:
        log_density: of it, where it is known exactly.
    """

    sample: Sample
    log_density: LogDensity | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """A distribution that is known by its density, up to a constant, on a line or in the plane.

    Attributes:
        box: lowest and highest number of each dimension, around all of the density that matters.
    """

    log_density: LogDensity
    box: tuple[tuple[float, float], ...]


Source = Rows | Endless | Target
