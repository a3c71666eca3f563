"""The field as a solver sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt

import torch
from torch import Tensor, nn

TF32_EPS = 2.0**-10


class VectorField:
    """dz/dt = module(t, z) in the number formats of the pass that made this object, wherever it is called from.

    Gradients are asked for in the backward pass, outside the caller's autocast: the precision of the forward pass
    holds there too. The derivative has the dtype of the state whatever precision the module computes in, and lies
    in memory as images in channels_last do where the state does.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.module = module
        self.parameters = tuple(p for p in module.parameters() if p.requires_grad)
        self._device_type = device.type
        self._autocast = torch.is_autocast_enabled(device.type)
        self._autocast_dtype = torch.get_autocast_dtype(device.type)
        self._tf32 = device.type == "cuda" and not self._autocast and torch.backends.cudnn.allow_tf32

    def __call__(self, t: Tensor, z: Tensor) -> Tensor:
        """dz/dt at `t`, a scalar tensor, or with control per sample one of shape (batch, 1, …, 1)."""
        with self.precision():
            derivative: Tensor = self.module(t, z)
        derivative = derivative.to(z.dtype)
        if z.dim() == 4 and z.is_contiguous(memory_format=torch.channels_last):
            return derivative.contiguous(memory_format=torch.channels_last)
        return derivative

    def precision(self) -> torch.autocast:
        """The number formats, within which compiled code of the forward pass fits the backward pass too."""
        # Uncached, since torch would hand casts made without gradients to an evaluation that wants them.
        return torch.autocast(self._device_type, self._autocast_dtype, self._autocast, cache_enabled=False)

    @property
    def rounding(self) -> float:
        """Root mean square of the relative error of one rounding, where the module rounds to less than its dtype."""
        if self._autocast:
            return torch.finfo(self._autocast_dtype).eps / sqrt(12)
        return TF32_EPS / sqrt(12) if self._tf32 else 0.0

    @property
    def number_format(self) -> str:
        """As in 'bfloat16'."""
        if self._tf32:
            return "tf32"
        return str(self._autocast_dtype).removeprefix("torch.")

    @contextmanager
    def buffers_kept(self) -> Iterator[None]:
        """Evaluations within leave no trace in the module's buffers, such as the statistics of a batch norm."""
        before = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        try:
            yield
        finally:
            for buffer, value in before:
                buffer.copy_(value)
