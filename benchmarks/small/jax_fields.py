"""The small fields in JAX, of the same parameters by the same names."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax import numpy as jnp
from torch import nn

from benchmarks.small.fields import Chain, Planar

Parameters = dict[str, Array]
"""By torch's names and in its layouts."""
Function = Callable[[Array, Any, Parameters], Any]
"""dz/dt of t, the state and the parameters, as diffrax calls it."""
_ACTIVATIONS: dict[type[nn.Module], Callable[[Array], Array]] = {nn.Tanh: jnp.tanh, nn.ELU: jax.nn.elu}


def translated(field: nn.Module) -> Function:
    """The function that a field computes."""
    match field:
        case Chain():
            return lambda _, z, parameters: _through(field.layers, parameters, z)
        case Planar():
            return _planar(field)
    raise NotImplementedError(f"{type(field).__name__} has not been written in JAX")


def _through(layers: nn.Sequential, parameters: Parameters, z: Array) -> Array:
    for name, layer in layers.named_children():
        if isinstance(layer, nn.Linear):
            z = z @ parameters[f"layers.{name}.weight"].T + parameters[f"layers.{name}.bias"]
        else:
            z = _ACTIVATIONS[type(layer)](z)
    return z


def _planar(field: Planar) -> Function:
    shape, block = (field.dimension, field.units), field.units * field.dimension

    def function(t: Array, state: tuple[Array, Array], parameters: Parameters) -> tuple[Array, Array]:
        made = _through(field.layers, parameters, jnp.reshape(t, (1, 1)))[0]
        inner, outer, gate, bias = jnp.split(made, (block, 2 * block, 3 * block))
        inner, outer = inner.reshape(shape), (outer * jax.nn.sigmoid(gate) / field.units).reshape(shape)
        units = jnp.tanh(state[0] @ inner + bias)
        trace = (1 - units**2) @ (inner * outer).sum(0)[:, None]
        return units @ outer.T, -trace

    return function
