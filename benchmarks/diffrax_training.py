"""The simple ODE-Net in JAX, solved by diffrax as its documentation shows; the whole step is compiled by XLA."""

import time
from typing import Any

import diffrax
import jax
import numpy as np
from jax import Array, lax
from jax import numpy as jnp
from torch import Tensor, nn

from benchmarks.candidates import Precision, Step
from benchmarks.networks import Workload
from pipeline.config import SolverConfig

MAX_STEPS = 64
"""What the gradient's checkpoints are reserved for: with the library's default, 4096, a step takes four times the
memory and twice the time."""
Parameters = dict[str, Array]


class DiffraxTraining:
    """`Training`'s network with the same first weights, images as (batch, height, width, channels)."""

    precision: Precision = "fp32"

    def __init__(self, workload: Workload) -> None:
        network = workload.network(SolverConfig())
        (block,) = network.ode_blocks()
        stem, convolution = network.stem[0], block.field.convolution.convolution
        self.normalisation, linear = block.field.normalisation, network.head[-1]
        self.stride, self.augment, self.final_time = stem.stride[0], workload.model.augment, block.final_time
        self.tolerance = workload.tolerance
        images, labels = workload.batch()
        sides = [-(-side // self.stride) for side in workload.image_shape[1:]]
        head = linear.weight.unflatten(1, (-1, *sides)).permute(2, 3, 1, 0).flatten(0, 2)  # (h · w · channels, classes)
        self.field = {"kernel": _kernel(convolution), "bias": _array(convolution.bias)}
        self.field |= {"scale": _array(self.normalisation.weight), "shift": _array(self.normalisation.bias)}
        self.ends = {"stem": _kernel(stem), "stem_bias": _array(stem.bias)}
        self.ends |= {"head": _array(head), "head_bias": _array(linear.bias)}
        self.batch = _array(images.permute(0, 2, 3, 1)), _array(labels)
        self.nfe_forward, self.nfe_backward = self._count_evaluations()
        self._step = jax.jit(jax.value_and_grad(self._loss, argnums=(0, 1)))
        self._inference = jax.jit(self._loss)
        self._gradient: Parameters = {}

    def step(self) -> Step:
        started = time.perf_counter()
        loss, (self._gradient, _) = jax.block_until_ready(self._step(self.field, self.ends, *self.batch))
        milliseconds = 1000 * (time.perf_counter() - started)
        return Step(milliseconds, self.nfe_forward, self.nfe_backward, float(loss))

    def inference_ms(self) -> float:
        started = time.perf_counter()
        jax.block_until_ready(self._inference(self.field, self.ends, *self.batch))
        return 1000 * (time.perf_counter() - started)

    def gradient(self) -> np.ndarray:
        kernel = np.transpose(self._gradient["kernel"], (3, 2, 0, 1))  # torch's (out, in, height, width)
        parts = kernel, *(self._gradient[name] for name in ("bias", "scale", "shift"))
        return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])

    def _loss(self, field: Parameters, ends: Parameters, images: Array, labels: Array, note: Any = None) -> Array:
        z = _convolve(images, ends["stem"], self.stride) + ends["stem_bias"]
        z = jnp.pad(z, ((0, 0), (0, 0), (0, 0), (0, self.augment)))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda _, z, field: self._derivative(z, field, note)),
            diffrax.Dopri5(),
            t0=0.0,
            t1=self.final_time,
            dt0=None,
            y0=z,
            args=field,
            stepsize_controller=diffrax.PIDController(rtol=self.tolerance, atol=self.tolerance),
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
            max_steps=MAX_STEPS,
        )
        scores = solution.ys[-1].reshape(len(images), -1) @ ends["head"] + ends["head_bias"]
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1).mean()

    def _derivative(self, z: Array, field: Parameters, note: Any) -> Array:
        if note is not None:
            jax.debug.callback(note)
        z = _convolve(z, field["kernel"]) + field["bias"]
        grouped = z.reshape(len(z), -1, self.normalisation.num_groups, z.shape[-1] // self.normalisation.num_groups)
        centred = grouped - grouped.mean((1, 3), keepdims=True)
        normalised = centred * lax.rsqrt(jnp.square(centred).mean((1, 3), keepdims=True) + self.normalisation.eps)
        return jax.nn.relu(normalised.reshape(z.shape) * field["scale"] + field["shift"])

    def _count_evaluations(self) -> tuple[int, int]:
        """Forward and backward, by a copy of the step that tells of each: what is timed does not."""
        calls: list[None] = []

        def loss(*arguments: Any) -> Array:
            return self._loss(*arguments, note=lambda: calls.append(None))

        counts = []
        for function in (loss, jax.grad(loss)):
            calls.clear()
            jax.block_until_ready(jax.jit(function)(self.field, self.ends, *self.batch))
            jax.effects_barrier()
            counts.append(len(calls))
        return counts[0], counts[1] - counts[0]


def _convolve(images: Array, kernel: Array, stride: int = 1) -> Array:
    """3 × 3 convolution, padded by 1, as one product of matrices.

    On a CPU, XLA's own convolution is a little quicker forward and several times slower backward.
    """
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = [padded[:, i : i + height : stride, j : j + width : stride] for i in range(3) for j in range(3)]
    return jnp.concatenate(columns, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _kernel(convolution: nn.Conv2d) -> Array:
    """(height, width, in, out)"""
    return _array(convolution.weight.permute(2, 3, 1, 0))


def _array(tensor: Tensor) -> Array:
    return jnp.asarray(tensor.detach().contiguous().numpy())
