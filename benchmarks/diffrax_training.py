"""An ODE-Net of ours in JAX, solved by diffrax as its documentation shows; the whole step is compiled by XLA."""

import time
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import numpy as np
from jax import Array
from jax import numpy as jnp
from torch import Tensor

from benchmarks.jax_network import Function, Parameters, translated
from benchmarks.networks import Workload
from benchmarks.padded import pad_whole
from benchmarks.trainable import Precision, Step
from pipeline.config import SolverConfig
from pipeline.ode import ODEBlock
from pipeline.ode.counts import ode_blocks

MAX_STEPS = 64
"""What the gradient's checkpoints are reserved for: with the library's default, 4096, a step takes four times the
memory and twice the time."""


class DiffraxTraining:
    """`Training`'s network with the same first weights, a complex one with the whole padded state."""

    precision: Precision = "fp32"

    def __init__(self, workload: Workload) -> None:
        self.network, self.tolerance = workload.network(SolverConfig()), workload.tolerance
        pad_whole(self.network, workload.image_shape[0])
        self.parameters = {name: _array(parameter) for name, parameter in self.network.named_parameters()}
        images, labels = workload.batch()
        self.batch = _array(images.permute(0, 2, 3, 1)), _array(labels)
        self.nfe_forward, self.nfe_backward = self._count_evaluations()
        loss = self._loss_function()
        self._step, self._inference = jax.jit(jax.value_and_grad(loss)), jax.jit(loss)
        self._gradient: Parameters = {}

    def step(self) -> Step:
        started = time.perf_counter()
        loss, self._gradient = jax.block_until_ready(self._step(self.parameters, *self.batch))
        milliseconds = 1000 * (time.perf_counter() - started)
        return Step(milliseconds, self.nfe_forward, self.nfe_backward, float(loss))

    def inference_ms(self) -> float:
        started = time.perf_counter()
        jax.block_until_ready(self._inference(self.parameters, *self.batch))
        return 1000 * (time.perf_counter() - started)

    def gradient(self) -> np.ndarray:
        of_fields = {id(p) for block in ode_blocks(self.network) for p in block.field.parameters()}
        names = [name for name, parameter in self.network.named_parameters() if id(parameter) in of_fields]
        return np.concatenate([np.asarray(self._gradient[name], np.float64).ravel() for name in names])

    def _loss_function(self, note: Callable[[], object] | None = None) -> Callable[[Parameters, Array, Array], Array]:
        """Of the parameters and a batch; `note` is called at every evaluation of a field."""
        score = translated(self.network, lambda block, field: self._solved(block, field, note))

        def loss(parameters: Parameters, images: Array, labels: Array) -> Array:
            scores = score(parameters, jnp.zeros(()), images)
            return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1).mean()

        return loss

    def _solved(self, block: ODEBlock, field: Function, note: Callable[[], object] | None) -> Function:
        def derivative(t: Array, z: Array, parameters: Parameters) -> Array:
            if note is not None:
                jax.debug.callback(note)
            return field(parameters, t, z)

        def solve(parameters: Parameters, _: Array, z: Array) -> Array:
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(derivative),
                diffrax.Dopri5(),
                t0=0.0,
                t1=block.final_time,
                dt0=None,
                y0=z,
                args=parameters,
                stepsize_controller=diffrax.PIDController(rtol=self.tolerance, atol=self.tolerance),
                adjoint=diffrax.RecursiveCheckpointAdjoint(),
                max_steps=MAX_STEPS,
            )
            return solution.ys[-1]

        return solve

    def _count_evaluations(self) -> tuple[int, int]:
        """Forward and backward, by a copy of the step that tells of each: what is timed does not."""
        calls: list[None] = []
        loss = self._loss_function(note=lambda: calls.append(None))
        counts = []
        for function in (loss, jax.grad(loss)):
            calls.clear()
            jax.block_until_ready(jax.jit(function)(self.parameters, *self.batch))
            jax.effects_barrier()
            counts.append(len(calls))
        return counts[0], counts[1] - counts[0]


def _array(tensor: Tensor) -> Any:
    return jnp.asarray(tensor.detach().contiguous().numpy())
