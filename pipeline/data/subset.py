"""Some of many items, the same ones whoever asks."""

import numpy as np
import torch
from torch import Tensor

from pipeline.data.stratified import Labels, draw


def draw_subset(number: int, items: int, labels: Labels | None = None) -> Tensor:
    """Indices of `items` of `number` items, ascending, int64.

    Args:
        labels: of the items; with them classes have the shares that they have of all.
    """
    return torch.from_numpy(np.sort(draw(number, items, 0, labels)))
