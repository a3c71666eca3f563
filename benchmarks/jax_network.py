"""Our networks as functions of JAX, of the same parameters by the same names."""

from collections.abc import Callable
from functools import reduce

import jax
from jax import Array, lax
from jax import numpy as jnp
from torch import nn

from benchmarks.padded import Crop, PaddedField
from pipeline.models import Network
from pipeline.models.architectures.complex import Stage, Stages
from pipeline.models.architectures.gladzik import PreActivation
from pipeline.models.architectures.simple import SimpleFunction
from pipeline.models.layers import Convolution, PadChannels
from pipeline.models.pooling import HalvingMaxPool
from pipeline.ode import ODEBlock

Parameters = dict[str, Array]
"""By torch's names and in its layouts."""
Function = Callable[[Parameters, Array, Array], Array]
"""Of the parameters, t, and images (batch, height, width, channels)."""
Solved = Callable[[ODEBlock, Function], Function]
"""What a block makes of its state, with its field as a function."""

CHAINS: dict[type[nn.Module], tuple[str, ...]] = {
    Network: ("stem", "body", "head"),
    SimpleFunction: ("convolution", "normalisation", "activation"),
    Stage: ("convolution", "pooling", "normalisation", "activation"),
    PreActivation: (
        *("normalisation_1", "activation", "convolution_1"),
        *("normalisation_2", "activation", "convolution_2", "normalisation_3"),
    ),
}
"""What is computed one after the other."""


def translated(module: nn.Module, solved: Solved, name: str = "") -> Function:
    """The function that a module of an ODE-Net computes.

    Raises:
        NotImplementedError: a module that only other networks have.
    """

    def part(child: str) -> Function:
        return translated(module.get_submodule(child), solved, f"{name}.{child}".removeprefix("."))

    if type(module) in CHAINS:
        return _chain([part(child) for child in CHAINS[type(module)]])
    match module:
        case nn.Sequential():
            return _chain([part(child) for child, _ in module.named_children()])
        case Stages():
            return _chain([part(f"stages.{index}") for index in range(len(module.stages))])
        case ODEBlock():
            return solved(module, part("field"))
        case PaddedField():
            return _padded_field(module.read, part("stages"))
        case Convolution():
            return _seeing_t(part("convolution")) if module.time_channel else part("convolution")
        case nn.Conv2d():
            return _convolution(module, name)
        case nn.GroupNorm():
            return _group_normalisation(module, name)
        case nn.Linear():
            return lambda parameters, _, z: z @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]
        case nn.Identity():
            return lambda _parameters, _t, z: z
        case nn.ReLU():
            return lambda _parameters, _t, z: jax.nn.relu(z)
        case nn.Flatten():
            return lambda _parameters, _t, z: z.transpose(0, 3, 1, 2).reshape(len(z), -1)  # in torch's order
        case nn.AdaptiveAvgPool2d():
            return lambda _parameters, _t, z: z.mean((1, 2), keepdims=True)
        case HalvingMaxPool():
            return lambda _parameters, _t, z: _largest_of_four(z)
        case PadChannels():
            return lambda _parameters, _t, z: jnp.pad(z, ((0, 0), (0, 0), (0, 0), (0, module.channels)))
        case Crop():
            return lambda _parameters, _t, z: z[:, : module.height, : module.width]
    raise NotImplementedError(f"{name} is a {type(module).__name__}, which has not been written in JAX")


def _chain(functions: list[Function]) -> Function:
    return lambda parameters, t, z: reduce(lambda value, function: function(parameters, t, value), functions, z)


def _seeing_t(convolve: Function) -> Function:
    def function(parameters: Parameters, t: Array, z: Array) -> Array:
        time = jnp.full((*z.shape[:3], 1), t, z.dtype)
        return convolve(parameters, t, jnp.concatenate([time, z], axis=-1))

    return function


def _padded_field(read: int, stages: Function) -> Function:
    def function(parameters: Parameters, t: Array, z: Array) -> Array:
        moves = stages(parameters, t, z[..., :read])
        height, width = (whole - part for whole, part in zip(z.shape[1:3], moves.shape[1:3], strict=True))
        return jnp.pad(moves, ((0, 0), (0, height), (0, width), (0, 0)))

    return function


def _convolution(module: nn.Conv2d, name: str) -> Function:
    """As one product of matrices.

    On a CPU, XLA's own convolution is a little quicker forward and several times slower backward.
    """
    (rows, columns), (stride, _), (padding, _) = module.kernel_size, module.stride, module.padding

    def function(parameters: Parameters, _: Array, z: Array) -> Array:
        padded = jnp.pad(z, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        below, right = padded.shape[1] - rows + 1, padded.shape[2] - columns + 1
        windows = [
            padded[:, i : i + below : stride, j : j + right : stride] for i in range(rows) for j in range(columns)
        ]
        kernel = parameters[f"{name}.weight"].transpose(2, 3, 1, 0)  # from (out, in, height, width)
        product = jnp.concatenate(windows, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
        return product if module.bias is None else product + parameters[f"{name}.bias"]

    return function


def _group_normalisation(module: nn.GroupNorm, name: str) -> Function:
    def function(parameters: Parameters, _: Array, z: Array) -> Array:
        grouped = z.reshape(len(z), -1, module.num_groups, z.shape[-1] // module.num_groups)
        centred = grouped - grouped.mean((1, 3), keepdims=True)
        normalised = centred * lax.rsqrt(jnp.square(centred).mean((1, 3), keepdims=True) + module.eps)
        return normalised.reshape(z.shape) * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]

    return function


def _largest_of_four(z: Array) -> Array:
    """Of each 2 × 2 elements, odd sides rounded up."""
    batch, height, width, channels = z.shape
    even = jnp.pad(z, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), constant_values=-jnp.inf)
    return even.reshape(batch, (height + 1) // 2, 2, (width + 1) // 2, 2, channels).max((2, 4))
