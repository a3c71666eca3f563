"""Activations with their derivatives, by which tangents pass through them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.flows.fields.softplus import softplus_and_slope
from pipeline.util.errors import InvalidInput


class Activation(NamedTuple):
    """
    Attributes:
        module: applies it.
        with_slope: what it makes of a tensor, and its derivative there.
    """

    module: type[nn.Module]
    with_slope: Callable[[Tensor], tuple[Tensor, Tensor]]


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    after = torch.tanh(z)
    return after, 1 - after * after


def _silu(z: Tensor) -> tuple[Tensor, Tensor]:
    share = torch.sigmoid(z)
    after = z * share
    return after, share + after * (1 - share)


def _relu(z: Tensor) -> tuple[Tensor, Tensor]:
    return torch.relu(z), (z > 0).to(z.dtype)


ACTIVATIONS = {
    "tanh": Activation(nn.Tanh, _tanh),
    "softplus": Activation(nn.Softplus, softplus_and_slope),
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
