"""How much memory graphs take, and how much there is for them."""

from collections.abc import Collection, Hashable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pipeline.device.host_memory import available_memory

SHARE_OF_FREE_MEMORY = 1 / 3
"""What `auto` lets the graphs of one solve take of the memory that is free when it begins.

The rest is for what is not counted: on a CPU a process grew by two bytes for each byte of graphs
(docs/performance-measured.md).
"""


SMALL_STATE = 2**15
"""Elements of a state up to which what surrounds the field costs more than the field."""
LARGEST_WHOLE_GRAPH = 4 * 2**30
"""Bytes that the graph of a whole solve may take with `auto`, where they are known to be enough for all of its steps:
nothing is cut then, counted or evaluated again."""


def budget(device: torch.device) -> float:
    """Bytes that graphs may take with `gradient=auto`."""
    return SHARE_OF_FREE_MEMORY * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes that the device can still give."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return available_memory()


def is_small(z: Tensor) -> bool:
    """Whether the solve of a state is to be kept free of what surrounds the field."""
    return z.numel() <= SMALL_STATE


def fits_whole(evaluation: Tensor, parameters: Iterable[Tensor], evaluations: int) -> bool:
    """Whether the graph of a whole solve is small however many steps it takes, which no free memory decides.

    Args:
        evaluation: of the field, with its graph; the others are taken to be like it.
        parameters: where it begins, with the state; what they take is not counted.
        evaluations: as many as there may be.
    """
    return graph_bytes([evaluation], parameters) * evaluations <= LARGEST_WHOLE_GRAPH


def has_hooks_on_saved_tensors() -> bool:
    """Whether what graphs save is handed to somebody now, whom to ask for it may cost more than it takes."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None


def graph_bytes(outputs: Iterable[Tensor], parameters: Iterable[Tensor]) -> int:
    """What the graph behind `outputs` saved for its backward pass, each storage once.

    Read off the graph: hooks that see each tensor as it is saved would switch off torch's check for tensors that were
    changed in place, and `torch.func` within a field.

    Args:
        parameters: where the graph begins, and so does what is counted.
    """
    known = list(parameters)
    counted: set[int | None] = {tensor.untyped_storage().data_ptr() for tensor in known}
    total = 0
    for node in nodes_behind(outputs, {tensor.grad_fn for tensor in known if tensor.grad_fn is not None}):
        for tensor in _saved_by(node):
            address, size = _storage(tensor)
            if address is None or address not in counted:
                counted.add(address)
                total += size
    return total


def _storage(tensor: Tensor) -> tuple[int | None, int]:
    """Where a tensor's numbers lie, if that can be asked for, and how many bytes lie there."""
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    except RuntimeError:  # of what a transformation by torch.func within the field wrapped
        return None, tensor.nbytes


def nodes_behind(outputs: Iterable[Tensor], ends: Collection[Any] = ()) -> Iterator[Any]:
    """The nodes of a graph, each once, without these and those behind them."""
    seen = set(ends)
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(following for following, _ in node.next_functions if following is not None)


def _saved_by(node: Any) -> Iterator[Tensor]:
    for name in _names_of_saved(node.__class__):
        try:
            saved = getattr(node, name)
        except RuntimeError:  # it was freed, of a graph that the field reads and that was walked before
            continue
        for value in saved if isinstance(saved, (tuple, list)) else (saved,):
            if isinstance(value, Tensor):
                yield value


@cache
def _names_of_saved(kind: Hashable) -> list[str]:
    """Attributes of a kind of node that have what it saved: those of torch's own, and of a torch.autograd.Function."""
    return [name for name in dir(kind) if name.startswith("_saved_") or name == "saved_tensors"]
