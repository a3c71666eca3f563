"""A tanh RNN over all of its inputs, whose backward pass takes the products for the weight's gradient at once."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def tanh_recurrence(inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """h_k = tanh(inputs_k + W h_{k-1}) from h_0 = 0.

    Args:
        inputs: what the inputs and the bias come to, shape (k, b, hidden).
        weight: W, shape (hidden, hidden).

    Returns:
        All states, h_0 among them, shape (k + 1, b, hidden), and the last of them, shape (b, hidden): where that alone
        is used, the backward pass has less to do.
    """
    # In the weight's number format, where autocast has rounded the inputs: products that are written cannot mix them.
    return _TanhRecurrence.apply(inputs.to(weight.dtype), weight)  # type: ignore[no-any-return]


class _TanhRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        length, batch, hidden = inputs.shape
        states = inputs.new_empty(length + 1, batch, hidden)
        states[0] = 0.0
        transposed = weight.t()
        steps = states.unbind()
        for before, behind, given in zip(steps[:-1], steps[1:], inputs.unbind(), strict=True):
            torch.mm(before, transposed, out=behind)
            behind.add_(given).tanh_()
        ctx.save_for_backward(states, weight)
        ctx.set_materialize_grads(False)
        return states, steps[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_states: Tensor | None, of_last: Tensor | None) -> tuple[Tensor, Tensor]:
        states, weight = ctx.saved_tensors
        steps, of_inputs = states.unbind(), torch.empty_like(states[1:])
        arriving = None if of_states is None else of_states.unbind()
        behind = torch.zeros_like(steps[-1]) if of_last is None else of_last.contiguous().clone()
        for k in range(len(steps) - 1, 0, -1):
            if arriving is not None:
                behind.add_(arriving[k])
            slope = of_inputs[k - 1]
            torch.ops.aten.tanh_backward.grad_input(behind, steps[k], grad_input=slope)
            torch.mm(slope, weight, out=behind)
        of_weight = of_inputs.flatten(0, 1).t() @ states[:-1].flatten(0, 1)
        return of_inputs, of_weight
