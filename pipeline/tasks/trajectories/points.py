"""Points and where they are to go, or what is to be said of them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Arrays = Mapping[str, FloatArray]
"""`x_train`, `y_train`, `x_test`, `y_test`: points (n, dimension), and either where they go, (n, dimension), or a
number for each, (n,)."""


def signs(count: int) -> FloatArray:
    """-1 and 1 in turns, shape (count, 1)."""
    return np.resize(np.array([-1, 1], np.float32), count)[:, None]
