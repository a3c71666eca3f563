"""Activations with their derivatives, by which tangents pass through them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.util.errors import InvalidInput


class Activation(NamedTuple):
    """
    Attributes:
        module: applies it.
        derivative: of it, from what went in and what came out.
    """

    module: type[nn.Module]
    derivative: Callable[[Tensor, Tensor], Tensor]


def _tanh(before: Tensor, after: Tensor) -> Tensor:  # noqa: ARG001 - a derivative takes both
    return 1 - after * after


def _softplus(before: Tensor, after: Tensor) -> Tensor:  # noqa: ARG001
    return torch.sigmoid(before)


def _silu(before: Tensor, after: Tensor) -> Tensor:
    share = torch.sigmoid(before)
    return share + after * (1 - share)


def _relu(before: Tensor, after: Tensor) -> Tensor:  # noqa: ARG001
    return (before > 0).to(before.dtype)


ACTIVATIONS = {
    "tanh": Activation(nn.Tanh, _tanh),
    "softplus": Activation(nn.Softplus, _softplus),
    "silu": Activation(nn.SiLU, _silu),
    "relu": Activation(nn.ReLU, _relu),
}


def activation_named(name: str) -> Activation:
    """
    Raises:
        InvalidInput: there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise InvalidInput(
            f"there is no activation {name!r} for a flow's field: choose one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]
