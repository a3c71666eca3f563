"""Vector-Jacobian products, asked for without what torch loads for a vector.

`torch.autograd.grad` imports SymPy and torch's symbolic shapes, together a third of what a training loads before its
first batch, to compare the shape of each vector that it is given. One scalar's gradient needs none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pipeline.util.errors import OdenetError


class _Pairing(torch.autograd.Function):
    """A scalar whose gradients with respect to tensors are the given vectors."""

    @staticmethod
    def forward(ctx: Any, number: int, *tensors_and_vectors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors_and_vectors[number:])
        return torch.zeros((), device=tensors_and_vectors[0].device)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        vectors = ctx.saved_tensors
        return (None, *vectors, *[None] * len(vectors))


def pullback(
    outputs: Sequence[Tensor], vectors: Sequence[Tensor], inputs: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Sum over the outputs of vᵀ ∂output/∂input, for each input; None where no output depends on it, or it wants none.

    Args:
        vectors: one for each output, of its shape.
    """
    with torch.enable_grad():
        paired = _Pairing.apply(len(outputs), *outputs, *vectors)
    wanted = [one for one in inputs if one.requires_grad]  # they may have been frozen since the forward pass
    try:
        found = iter(torch.autograd.grad(paired, wanted, allow_unused=True))
    except RuntimeError as error:
        if "backward through the graph a second time" not in str(error):
            raise
        raise OdenetError(
            "the field keeps what an evaluation computed with gradients for those behind it, as "
            "torch.nn.utils.parametrize.cached() does, and its steps cannot be differentiated one by one: use "
            "gradient=direct"
        ) from error
    return tuple(next(found) if one.requires_grad else None for one in inputs)


@contextmanager
def hooks_muted(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Hooks on the gradients of parameters run when these are whole, not for what each step adds."""
    # Emptied and filled again, as what computed a parameter, if anything did, holds the same dictionary.
    hooked = [(hooks, dict(hooks)) for hooks in (parameter._backward_hooks for parameter in parameters) if hooks]
    retained = [(parameter, parameter.grad) for parameter in parameters if parameter.retains_grad]
    for hooks, _ in hooked:
        hooks.clear()
    try:
        yield
    finally:
        for hooks, kept in hooked:
            hooks.update(kept)
        for parameter, gradient in retained:
            parameter.grad = gradient
