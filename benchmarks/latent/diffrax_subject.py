"""The step in diffrax's hands: all of it, with its gradient, is compiled by XLA."""

from collections.abc import Callable
from math import log, pi
from typing import Any

import diffrax
import jax
import numpy as np
from jax import Array
from jax import numpy as jnp
from torch import nn

from benchmarks.latent.model import RECURRENT
from benchmarks.latent.problem import NOISE, LatentProblem
from benchmarks.small.diffrax_subject import ADJOINTS, MAX_STEPS

Parameters = dict[str, Array]
"""By torch's names and in its layouts."""
EVALUATIONS_A_STEP, EVALUATIONS_TO_BEGIN = 6, 2
"""Of dopri5, whose last stage is the first of the next step; and of the choice of the first step."""


class DiffraxSubject:
    """The model of the other candidates, with the encoder as a scan.

    Args:
        is_per_series: each series is solved with steps of its own, mapped over the batch, as in the library's example;
            otherwise the whole batch has one.
    """

    def __init__(self, problem: LatentProblem, tolerance: float, is_per_series: bool) -> None:
        model = problem.model()
        self._parameters = {name: jnp.asarray(value.detach().numpy()) for name, value in model.named_parameters()}
        self._field = [name for name, layer in model.field.layers.named_children() if isinstance(layer, nn.Linear)]
        self._data = tuple(jnp.asarray(tensor.numpy()) for tensor in (problem.values, problem.times, problem.draw))
        self._tolerance, self._is_per_series = tolerance, is_per_series
        self._step = jax.jit(jax.value_and_grad(self._loss, has_aux=True))
        self._gradient: Parameters = {}
        self._steps = 0

    def step(self) -> float:
        (loss, steps), self._gradient = jax.block_until_ready(self._step(self._parameters, *self._data))
        self._steps = int(steps)
        return float(loss)

    def gradient(self) -> np.ndarray:
        return np.concatenate([np.asarray(self._gradient[name], np.float64).ravel() for name in self._parameters])

    def evaluations(self) -> tuple[int, int]:
        """Forward, of the series with the most; backward they are not counted."""
        self.step()
        return EVALUATIONS_A_STEP * self._steps + EVALUATIONS_TO_BEGIN, 0

    def _loss(self, parameters: Parameters, values: Array, times: Array, draw: Array) -> tuple[Array, Array]:
        mean, log_variance = _encoded(parameters, values)
        z0 = mean + draw * jnp.exp(0.5 * log_variance)
        solve: Callable[..., Any] = self._solved
        if self._is_per_series:
            solve = jax.vmap(solve, in_axes=(None, 0, None), out_axes=(1, 0))
        states, steps = solve(parameters, z0, times)
        hidden = jax.nn.relu(_linear(parameters, "decoder.0", states))
        decoded = _linear(parameters, "decoder.2", hidden)
        squares = ((values.transpose(1, 0, 2) - decoded) / NOISE) ** 2
        likelihood = -0.5 * (squares + log(2 * pi) + 2 * log(NOISE)).sum((0, 2))
        divergence = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(1)
        return (divergence - likelihood).mean(), jnp.max(steps)

    def _solved(self, parameters: Parameters, z0: Array, times: Array) -> tuple[Array, Array]:
        def derivative(t: Array, z: Array, args: Any) -> Array:  # noqa: ARG001
            for name in self._field[:-1]:
                z = jax.nn.elu(_linear(parameters, f"field.layers.{name}", z))
            return _linear(parameters, f"field.layers.{self._field[-1]}", z)

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(derivative),
            diffrax.Dopri5(),
            t0=times[0],
            t1=times[-1],
            dt0=None,
            y0=z0,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=self._tolerance, atol=self._tolerance),
            adjoint=ADJOINTS["checkpointed"],
            max_steps=MAX_STEPS,
        )
        return solution.ys, solution.stats["num_steps"]


def _encoded(parameters: Parameters, values: Array) -> tuple[Array, Array]:
    def read(state: Array, point: Array) -> tuple[Array, None]:
        return jnp.tanh(_linear(parameters, "recurrent", jnp.concatenate([point, state], axis=1))), None

    state, _ = jax.lax.scan(read, jnp.zeros((len(values), RECURRENT)), values.transpose(1, 0, 2), reverse=True)
    mean, log_variance = jnp.split(_linear(parameters, "posterior", state), 2, axis=1)
    return mean, log_variance


def _linear(parameters: Parameters, name: str, inputs: Array) -> Array:
    return inputs @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]
