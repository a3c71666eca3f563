"""What stands for CUDA graphs where there is no GPU: the operations that a computation made, made again one by one.

As a graph's, they read what lies where their arguments lay and write where their results lay; nothing of Python's is
done again, and what a GPU refuses to record is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.device.cuda_graphs import Recording

NEED_THE_HOST = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")
"""Operations whose result the host waits for, or whose size it does."""


class Tape(TorchDispatchMode):
    """Notes every operation within it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in NEED_THE_HOST:
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")
        found = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, _tensors(found)))
        return found

    @torch.no_grad()
    def play(self) -> None:
        """Make the operations again."""
        for operation, args, kwargs, places in self.operations:
            found = _tensors(operation(*args, **kwargs))
            for place, value in zip(places, found, strict=True):
                if place.untyped_storage().data_ptr() != value.untyped_storage().data_ptr():
                    place.copy_(value)


def _tensors(found: Any) -> list[Tensor]:
    return [one for one in tree_leaves(found) if isinstance(one, Tensor)]


class TapeRecorder:
    """Records on a CPU; it is given as what makes a recorder, too.

    Attributes:
        replays: how often each recording was played.
    """

    def __init__(self) -> None:
        self.replays: list[int] = []

    def of_device(self, device: torch.device) -> "TapeRecorder":  # noqa: ARG002
        """Itself."""
        return self

    def __call__(self, compute: Callable[[], Sequence[Tensor]]) -> Recording:
        compute()
        number = len(self.replays)
        self.replays.append(0)
        with Tape() as tape:
            outputs = list(compute())

        def replay() -> None:
            self.replays[number] += 1
            tape.play()

        return Recording(replay, [one.detach() for one in outputs])
