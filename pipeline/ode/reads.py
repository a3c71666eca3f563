"""What an evaluation read, by the graph that it left."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.ode.memory import nodes_behind


def sequence_number() -> int:
    """Nodes that torch adds to graphs from now on have this number or a larger one."""
    node = torch.zeros((), requires_grad=True).clone().grad_fn
    assert node is not None
    return int(node._sequence_nr())


def read(first: Tensor, known: Sequence[Tensor], before: int) -> tuple[list[Tensor], bool]:
    """Further leaves that an evaluation read, and whether it read what was computed before it."""
    leaves, seen = [], {id(tensor) for tensor in known}
    if first.grad_fn is None and first.requires_grad and id(first) not in seen:
        leaves.append(first)  # which has no node of its own
    for node in nodes_behind([first], nodes_of(known)):
        if hasattr(node, "variable"):
            if id(node.variable) not in seen:
                seen.add(id(node.variable))
                leaves.append(node.variable)
        elif node._sequence_nr() < before:
            return leaves, True
    return leaves, False


def nodes_of(tensors: Sequence[Tensor]) -> set[Any]:
    """That tensors come from, of those that were computed."""
    return {tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None}
