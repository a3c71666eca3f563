"""The exponential moving average of a network's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """An average of a model's weights over the steps of its training, in which the last steps count most.

    Statistics of batch normalisations are averaged too; counts are those of the last step. The decay rises with the
    steps, so that the first weights, which know nothing, are soon forgotten.

    Source: Polyak & Juditsky 1992 for averages of the steps; the rising decay is that of TensorFlow's
    `ExponentialMovingAverage`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self._weights: Mapping[str, Tensor] = model.state_dict()
        """Which share their memory with the model's."""
        self._averages = _copied(self._weights)

    @torch.no_grad()
    def update(self) -> None:
        """Take a step of the optimiser into account."""
        self._steps += 1
        share = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        for name, weight in self._weights.items():
            average = self._averages[name]
            if weight.is_floating_point() or weight.is_complex():
                average.lerp_(weight, share)
            else:
                average.copy_(weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the model has the averages for its weights."""
        own = _copied(self._weights)
        _copy(self._averages, self._weights)
        try:
            yield
        finally:
            _copy(own, self._weights)

    def state_dict(self) -> dict[str, Any]:
        """All that decides what comes next."""
        return {"steps": self._steps, "averages": self._averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Raises:
            KeyError: it is not of this model.
            RuntimeError: neither is it, by its shapes.
        """
        self._steps = state["steps"]
        _copy(state["averages"], self._averages)


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in weights.items()}


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, weight in target.items():
        weight.copy_(source[name])
