"""Values whose first derivative is right, and whose second one is refused instead of being wrong."""

from typing import Any

import torch
from torch import Tensor

from pipeline.util.errors import OdenetError


def differentiated_once(value: Tensor, what: str, remedy: str = "") -> Tensor:
    """`value`, through which gradients flow that cannot be differentiated again.

    Args:
        what: it is, and remedy: what helps, for the sentence that says so.
    """
    return _Once.apply(value, what, remedy)  # type: ignore[no-any-return]


def refuse_second_derivatives(what: str, remedy: str) -> None:
    """In a backward pass that is itself to be differentiated, which would go wrong in silence."""
    # Gradients are recorded in a backward pass where it is asked for with create_graph=True alone.
    if torch.is_grad_enabled():
        raise OdenetError(f"the gradient of {what} cannot be differentiated again (create_graph=True){remedy}")


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, what: str, remedy: str) -> Tensor:
        ctx.named = what, remedy
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        refuse_second_derivatives(*ctx.named)
        return gradient, None, None
