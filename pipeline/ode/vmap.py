"""Noticing `torch.func.vmap`, which hides a dimension of what a solve is decided by."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pipeline.util.errors import InvalidInput


def is_batched(tensor: Tensor) -> bool:
    """Whether `vmap` hides a dimension of it, however far out."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def refuse_vmap(tensors: Iterable[Tensor]) -> None:
    """Refuse a solve directly within `vmap`, and one of tensors that it hides a dimension of.

    Raises:
        InvalidInput: it is one.
    """
    functorch = torch._C._functorch
    innermost = functorch.peek_interpreter_stack()
    is_vmapped = innermost is not None and innermost.key() == functorch.TransformType.Vmap
    if is_vmapped or (innermost is not None and any(map(is_batched, tensors))):
        raise InvalidInput(
            "torch.func.vmap cannot go around a solve, whose steps are decided by numbers: give the batch as the "
            "state's first dimension, with control=sample for steps of each item's own"
        )
