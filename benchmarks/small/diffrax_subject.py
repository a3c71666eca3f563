"""A problem in diffrax's hands: the whole step, with its gradient, is compiled by XLA."""

import os
from collections.abc import Callable
from typing import Any, Literal

# Read when JAX is imported: its thread pools would take other threads than the one that is timed.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import diffrax
import jax
import numpy as np
from jax import Array
from jax import numpy as jnp
from torch import Tensor, nn

from benchmarks.small.jax_fields import Parameters, translated
from benchmarks.small.problems import Problem, State

MAX_STEPS = 64
"""What the gradient reserves room for; with the library's default, 4096, a step takes longer."""
ADJOINTS: dict[str, diffrax.AbstractAdjoint] = {
    "checkpointed": diffrax.RecursiveCheckpointAdjoint(checkpoints=MAX_STEPS),  # one for each step: the quickest
    "direct": diffrax.DirectAdjoint(),
}


class DiffraxSubject:
    """With the gradient `checkpointed`, which is the library's default, or `direct`."""

    def __init__(self, problem: Problem, adjoint: Literal["checkpointed", "direct"]) -> None:
        self._problem, self._field, self._adjoint = problem, problem.field(), ADJOINTS[adjoint]
        self._step = jax.jit(jax.value_and_grad(self._loss_function()))
        self._gradient: Parameters = {}
        self.take(nn.utils.parameters_to_vector(self._field.parameters()), problem.start())

    def step(self) -> float:
        loss, self._gradient = jax.block_until_ready(self._step(self._parameters, self._start))
        return float(loss)

    def gradient(self) -> np.ndarray:
        names = [name for name, _ in self._field.named_parameters()]
        return np.concatenate([np.asarray(self._gradient[name], np.float64).ravel() for name in names])

    def evaluations(self) -> tuple[int, int]:
        """By a copy of the step that tells of each: what is timed does not."""
        calls: list[None] = []
        loss = self._loss_function(note=lambda: calls.append(None))
        counts = []
        for function in (loss, jax.grad(loss)):
            calls.clear()
            jax.block_until_ready(jax.jit(function)(self._parameters, self._start))
            jax.effects_barrier()
            counts.append(len(calls))
        return counts[0], counts[1] - counts[0]

    def take(self, weights: Tensor, start: State) -> None:
        nn.utils.vector_to_parameters(weights.detach().clone(), self._field.parameters())
        self._parameters = {name: _array(parameter) for name, parameter in self._field.named_parameters()}
        self._start = _array(start) if isinstance(start, Tensor) else tuple(_array(part) for part in start)

    def _loss_function(self, note: Callable[[], object] | None = None) -> Callable[[Parameters, Any], Array]:
        """Of the parameters and the start; `note` is called at every evaluation of the field."""
        function = translated(self._field)

        def derivative(t: Array, z: Any, parameters: Parameters) -> Any:
            if note is not None:
                jax.debug.callback(note)
            return function(t, z, parameters)

        def loss(parameters: Parameters, start: Any) -> Array:
            return self._problem.loss(self._solved(derivative, parameters, start))

        return loss

    def _solved(self, derivative: Callable[..., Any], parameters: Parameters, start: Any) -> Any:
        times, tolerance = self._problem.times, self._problem.tolerance
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(derivative),
            diffrax.Dopri5(),
            t0=times[0],
            t1=times[-1],
            dt0=None,
            y0=start,
            args=parameters,
            saveat=diffrax.SaveAt(ts=jnp.asarray(times)) if len(times) > 2 else diffrax.SaveAt(t1=True),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            adjoint=self._adjoint,
            max_steps=MAX_STEPS,
        )
        return solution.ys


def _array(tensor: Tensor) -> Any:
    return jnp.asarray(tensor.detach().contiguous().numpy())
