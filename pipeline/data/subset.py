"""Some of many items, the same ones whoever asks."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def draw_subset(number: int, items: int, labels: NDArray[np.int64] | None = None) -> Tensor:
    """Indices of `items` of `number` items, ascending, int64.

    Args:
        labels: of the items; with them classes have the shares that they have of all.
    """
    from sklearn.utils import resample  # takes a second to import, which what has no subset does not need

    drawn = resample(np.arange(number), replace=False, n_samples=items, stratify=labels, random_state=0)
    return torch.from_numpy(np.sort(drawn))
