"""Layers whose weights take their shapes from what they are given first, as torch's `LazyLinear`."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from pipeline.training.objective import Objective


def fill_lazy_layers(model: nn.Module, objective: Callable[[], Objective]) -> None:
    """Give the weights that have no shape yet theirs, by an item of the validation split.

    What counts weights, averages them or hands them to other workers needs them before the first step.

    Args:
        objective: makes it, where there are such weights.
    """
    if any(is_lazy(weight) for weight in (*model.parameters(), *model.buffers())):
        model.eval()  # statistics of normalisations are the training's alone
        known = objective()
        with torch.no_grad():
            known.loss(model, next(known.validation_batches(1)), None)
