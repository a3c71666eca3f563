"""Multilayer perceptrons whose layers see t: concatsquash and concat."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from pipeline.device.products import multiply
from pipeline.flows.fields.activations import activation_named


class AtTime(NamedTuple):
    """What a layer has of t.

    Attributes:
        scale: factor of W z, shape (1, outputs) or, for times of samples, (n, outputs); None for one.
        shift: what is added, shaped as it.
    """

    scale: Tensor | None
    shift: Tensor


class ConcatSquash(nn.Module):
    """(W z + b) σ(g t + h) + c t.

    Source: Grathwohl et al. 2019; `concatsquash` is the default of their code.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(1, outputs)
        self.shift = nn.Linear(1, outputs, bias=False)

    def at(self, t: Tensor) -> AtTime:
        """At times of shape (…, 1)."""
        scale = torch.sigmoid(self.gate(t))
        return AtTime(scale, self.linear.bias * scale + self.shift(t))


class Concat(nn.Module):
    """W z + w t + b: a linear layer that gets t beside z.

    Source: Grathwohl et al. 2019, section 3.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        with_time = nn.Linear(inputs + 1, outputs)  # torch's first weights depend on the number of inputs
        self.linear = nn.Linear(inputs, outputs)
        self.shift = nn.Linear(1, outputs, bias=False)
        with torch.no_grad():
            self.shift.weight.copy_(with_time.weight[:, :1])
            self.linear.weight.copy_(with_time.weight[:, 1:])
            self.linear.bias.copy_(with_time.bias)

    def at(self, t: Tensor) -> AtTime:
        """At times of shape (…, 1)."""
        return AtTime(None, self.linear.bias + self.shift(t))


LAYERS: dict[str, type[ConcatSquash | Concat]] = {"concatsquash": ConcatSquash, "concat": Concat}


class MLPField(nn.Module):
    """f(t, z) of layers that see t, with an activation between them."""

    def __init__(
        self,
        dimension: int,
        width: int = 64,
        hidden: int = 3,
        *,
        layer: Literal["concatsquash", "concat"] = "concatsquash",
        activation: str = "tanh",
    ) -> None:
        """
        Args:
            dimension: D, of z.
            width: of the hidden layers.
            hidden: their number.
            layer: how they see t.
            activation: tanh, softplus, silu or relu, whose derivative jumps.

        Raises:
            InvalidInput: an unknown activation.
        """
        super().__init__()
        sizes = (dimension, *[width] * hidden, dimension)
        self.layers = nn.ModuleList(LAYERS[layer](inputs, outputs) for inputs, outputs in pairwise(sizes))
        self.activation = activation_named(activation).module()
        self._activation_name = activation

    def at_times(self, times: Tensor) -> list[list[AtTime]]:
        """What each layer has of the times, shape (stages,) or (stages, n): a list of layers for each stage."""
        column = times.reshape(len(times), -1, 1)
        of_layers = [layer.at(column) for layer in self._layers]
        return [
            [AtTime(None if scale is None else scale[stage], shift[stage]) for scale, shift in of_layers]
            for stage in range(len(times))
        ]

    def forward(self, t: Tensor, z: Tensor, of_time: Sequence[AtTime] | None = None) -> Tensor:
        """dz/dt, shape (n, D), at a scalar t or at times of shape (n, 1)."""
        of_time = self._of_time(t) if of_time is None else of_time
        for number, (layer, at_time) in enumerate(zip(self._layers, of_time, strict=True)):
            z = z if number == 0 else self.activation(z)
            z = _scaled_and_shifted(multiply(z, layer.linear.weight.mT), at_time)
        return z

    def with_tangents(
        self, t: Tensor, z: Tensor, tangents: Tensor, of_time: Sequence[AtTime] | None = None
    ) -> tuple[Tensor, Tensor]:
        """dz/dt, and the Jacobian's products with the tangents, shape (k, n, D): a pass of products alone."""
        of_time = self._of_time(t) if of_time is None else of_time
        with_slope = activation_named(self._activation_name).with_slope
        for number, (layer, at_time) in enumerate(zip(self._layers, of_time, strict=True)):
            if number:
                z, slope = with_slope(z)
                tangents = tangents * slope
            weight = layer.linear.weight.mT
            # Nothing flows back to the tangents that are given, and compiled code multiplies them once for all stages.
            product, tangents = (
                _products(z, tangents, weight) if number else (multiply(z, weight), multiply(tangents, weight))
            )
            z = _scaled_and_shifted(product, at_time)
            tangents = tangents if at_time.scale is None else tangents * at_time.scale
        return z, tangents

    @property
    def _layers(self) -> list[ConcatSquash | Concat]:
        return cast("list[ConcatSquash | Concat]", list(self.layers))

    def _of_time(self, t: Tensor) -> list[AtTime]:
        return self.at_times(t.reshape(1, -1))[0]


def _products(z: Tensor, tangents: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of both with the weight: one product, forward and backward, takes three quarters of the time of two."""
    if tangents.shape[1:] != z.shape:  # axes, of which all points have the same
        return multiply(z, weight), multiply(tangents, weight)
    product, products = multiply(torch.cat([z.unsqueeze(0), tangents]), weight).split([1, len(tangents)])
    return product.squeeze(0), products


def _scaled_and_shifted(product: Tensor, at_time: AtTime) -> Tensor:
    scale, shift = at_time
    return product + shift if scale is None else torch.addcmul(shift, product, scale)
