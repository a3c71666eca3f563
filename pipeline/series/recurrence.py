"""A tanh RNN over all of its inputs, with a backward pass that takes the products of all times at once."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def tanh_recurrence(inputs: Tensor, weight: Tensor) -> Tensor:
    """h_k = tanh(inputs_k + W h_{k-1}) from h_0 = 0.

    Args:
        inputs: what the inputs and the bias come to, shape (k, b, hidden).
        weight: W, shape (hidden, hidden).

    Returns:
        All states, h_0 among them, shape (k + 1, b, hidden).
    """
    return _TanhRecurrence.apply(inputs, weight)  # type: ignore[no-any-return]


class _TanhRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        length, batch, hidden = inputs.shape
        states = inputs.new_empty(length + 1, batch, hidden)
        states[0] = 0.0
        transposed = weight.t()
        for before, behind, given in zip(states[:-1].unbind(), states[1:].unbind(), inputs.unbind(), strict=True):
            torch.addmm(given, before, transposed, out=behind)
            behind.tanh_()
        ctx.save_for_backward(states, weight)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        states, weight = ctx.saved_tensors
        of_inputs = torch.empty_like(states[1:])
        slopes = (1 - states[1:].square()).unbind()
        arriving = gradient.unbind()
        behind = arriving[-1]
        for k in range(len(slopes) - 1, -1, -1):
            torch.mul(behind, slopes[k], out=of_inputs[k])
            behind = torch.addmm(arriving[k], of_inputs[k], weight)
        of_weight = of_inputs.flatten(0, 1).t() @ states[:-1].flatten(0, 1)
        return of_inputs, of_weight
