"""Whether a part of a step does, each time that it is made, what a recording of it would do."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.device.random_state import get_random_state, is_same_random_state
from pipeline.ode.field import VectorField
from pipeline.ode.identity import has_hooks
from pipeline.ode.pullback import pullback

WAIT_FOR_NUMBERS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "_unique2")
"""Operations whose result, or its size, the host waits for."""
MADE = ("lift", "lift_fresh")
"""What is given to these was made just now, of Python's numbers."""
COPIES = ("_to_copy", "copy_")


def reason_by_looks(field: VectorField, inputs: Sequence[Tensor]) -> str:
    """What a field has that a recording would not notice; empty where nothing is found."""
    if field.module is None or field.module is not field.function:
        return "is a function, not a module whose weights can be found where they are"
    named = {id(one) for one in field.module.parameters()}
    if any(id(one) not in named for one in field.weights):
        return "has parameters= that its module does not have"
    if len({one.device for one in (*inputs, *field.tensors)}) > 1:
        return "has tensors on several devices"
    if field.generators():
        return "has a generator of random numbers of its own"
    hooked = next((type(one).__name__ for one in field.modules if has_hooks(one)), None)
    return f"has hooks on its {hooked}, which a recording does not call" if hooked else ""


def reason_by_trial(
    compute: Callable[[], Sequence[Tensor]], field: VectorField, inputs: Sequence[Tensor], weights: Sequence[Tensor]
) -> str:
    """What a computation did, made once with its gradient, that a recording would not do; empty where it did nothing.

    Args:
        inputs, weights: all that it is given, of which gradients are wanted of those that require some.
    """
    device = inputs[0].device
    identity, buffers = field.identity_now(), field.buffer_values()
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus), _other_random_numbers_kept() as others, field.buffers_kept():
        before = get_random_state(device)
        watch = _Watch([*inputs, *weights, *field.tensors])
        try:
            with _no_waiting(device), watch:
                outputs = [one for one in compute() if one.requires_grad]
                watch.is_reading_freely = True
                if outputs:
                    pullback(outputs, [torch.zeros_like(one) for one in outputs], [*inputs, *weights])
        except _Refused as refused:
            return str(refused)
        if others.were_drawn or not is_same_random_state(before, get_random_state(device)):
            return "draws random numbers, which a recording would not, or draw anew for its gradient"
        if not all(_is_same(buffer, value) for buffer, value in buffers):
            return "changes its buffers, which its gradient would change again"
    return "" if field.identity_now() == identity else "changes its attributes in every evaluation"


def _is_same(one: Tensor, other: Tensor) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())


@contextmanager
def _no_waiting(device: torch.device) -> Iterator[None]:
    """Within it what waits for a GPU is refused."""
    if device.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        raise _Refused("waits for numbers of the GPU on the host") from error
    finally:
        torch.cuda.set_sync_debug_mode(before)


class _OtherRandomNumbers:
    """Python's and NumPy's."""

    def __init__(self) -> None:
        self._before = random.getstate(), np.random.get_state(legacy=False)

    @property
    def were_drawn(self) -> bool:
        now = random.getstate(), np.random.get_state(legacy=False)
        return now[0] != self._before[0] or str(now[1]) != str(self._before[1])

    def put_back(self) -> None:
        random.setstate(self._before[0])
        np.random.set_state(self._before[1])


@contextmanager
def _other_random_numbers_kept() -> Iterator[_OtherRandomNumbers]:
    before = _OtherRandomNumbers()
    try:
        yield before
    finally:
        before.put_back()


class _Refused(Exception):
    """What was done ends the trial."""


class _Watch(TorchDispatchMode):
    """Refuses what waits for numbers, and tensors that were neither given nor made within.

    Attributes:
        is_reading_freely: what is read is not looked at any more.
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_reading_freely = False
        self._known = {_place(one) for one in known}
        self._made: list[Tensor] = []  # as another might come to lie where one was freed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAIT_FOR_NUMBERS:
            raise _Refused(f"waits for numbers on the host ({name.strip('_')})")
        given = _tensors((args, kwargs or {}))
        for one in () if name in MADE else given:
            if not (self.is_reading_freely or one.numel() == 0 or _place(one) in self._known):
                raise _Refused(
                    f"reads a tensor of shape {tuple(one.shape)} that is neither a parameter nor a buffer of its "
                    "module (register_buffer), nor its context"
                )
        found = func(*args, **(kwargs or {}))
        made = _tensors(found)
        if name in COPIES and len({one.device for one in (*given, *made)}) > 1:
            raise _Refused("copies numbers from one device to another")
        self._made += made
        self._known |= {_place(one) for one in made}
        return found


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
