"""Max pooling that a compiler takes as it is.

What torch's compiler makes of pooling and its way back takes several times as long on a CPU as what torch has itself.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = [2, 2]


class HalvingMaxPool(nn.Module):
    """The largest of each 2 × 2 elements: (batch, channels, H, W) to (batch, channels, H/2, W/2), rounded up."""

    def forward(self, z: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            largest: Tensor = _pool_as_it_is(z)[0]
            return largest
        return _pool(z)[0]


def _pool(z: Tensor) -> tuple[Tensor, Tensor]:
    """The largest elements, and where each of them lies."""
    return functional.max_pool2d_with_indices(z, KERNEL, ceil_mode=True)


def _pool_backward(gradient: Tensor, z: Tensor, indices: Tensor) -> Tensor:
    padding, dilation, ceil_mode = [0, 0], [1, 1], True
    found: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        gradient, z, KERNEL, KERNEL, padding, dilation, ceil_mode, indices
    )
    return found


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


_pool_as_it_is = torch.library.custom_op("odenet::pool", _pool, mutates_args=())
_pool_backward_as_it_is = torch.library.custom_op("odenet::pool_backward", _pool_backward, mutates_args=())
_pool_as_it_is.register_fake(_pool)
_pool_backward_as_it_is.register_fake(_pool_backward)
_pool_as_it_is.register_autograd(
    lambda ctx, gradient, _indices: _pool_backward_as_it_is(gradient, *ctx.saved_tensors),
    setup_context=_keep_for_backward,
)
