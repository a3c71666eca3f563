"""An accelerator on a machine without one: its numbers are on the CPU, and it refuses what CUDA refuses.

Tensors of the device `meta`, which has no numbers of its own, are replaced by tensors that know theirs. What would fail
or wait on a card is so seen where there is none: tensors of two devices in one operation, a generator of the CPU for
numbers there, NumPy's look at what is not on the CPU. Kernels, streams and speed are not imitated.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

ACCELERATOR = torch.device("meta")
aten = torch.ops.aten
BETWEEN_DEVICES = {
    aten.copy_.default,
    aten._to_copy.default,
    aten.lift_fresh.default,
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
"""What takes tensors of both; of an index, whose indices alone may be on the CPU."""
WITHOUT_SCALARS = ("cat", "stack", "mm", "bmm", "addmm", "convolution", "index_select", "gather", "scatter")
"""What refuses a number of the CPU, too, which arithmetic takes."""


class There(torch.Tensor):
    """A tensor on the accelerator; `numbers` is what it has, on the CPU."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> "There":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            layout=numbers.layout,
            device=ACCELERATOR,
        )
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, _types: Any, arguments: Any = (), named: Any = None) -> Any:
        return computed(function, arguments, named or {})

    def __repr__(self, **_: Any) -> str:
        return f"There({self.numbers!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "There":
        if id(self) not in memo:
            found = There(copy.deepcopy(self.numbers.detach()))
            if getattr(self, "_is_param", False):
                found._is_param = True
            memo[id(self)] = found.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of the accelerator to numpy: use Tensor.cpu() first")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def new_tensor(self, data: Any, **options: Any) -> torch.Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device, **options})

    @property
    def is_meta(self) -> bool:
        """No: it has numbers."""
        return False


class Dispatch(TorchDispatchMode):
    """Within it what is made on the accelerator is made there."""

    def __torch_dispatch__(self, function: Any, _types: Any, arguments: Any = (), named: Any = None) -> Any:
        return computed(function, arguments, named or {})


def computed(function: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What the operation gives, on the device that it gives it on."""
    flat, form = pytree.tree_flatten((arguments, named))
    there = [one for one in flat if isinstance(one, There)]
    here = [one for one in flat if isinstance(one, torch.Tensor) and not isinstance(one, There)]
    wanted = named.get("device")
    is_there = bool(there) if wanted is None else torch.device(wanted).type == ACCELERATOR.type
    _refuse(function, arguments, there, here, any(isinstance(one, torch.Generator) for one in flat) and is_there)
    words, options = pytree.tree_unflatten([_on_the_cpu(one) for one in flat], form)
    if wanted is not None:
        options["device"] = _on_the_cpu(torch.device(wanted))
    found = function(*words, **options)
    schema = function._schema
    written = [place for place, one in enumerate(schema.arguments) if one.alias_info and one.alias_info.is_write]
    if len(written) == len(schema.returns) == 1:
        name = schema.arguments[written[0]].name
        return named[name] if name in named else arguments[written[0]]
    return pytree.tree_map_only(torch.Tensor, There, found) if is_there else found


def _refuse(function: Any, arguments: Sequence[Any], there: list[Any], here: list[Any], draws: bool) -> None:
    name = function._schema.name.removeprefix("aten::")
    if draws:
        raise RuntimeError(f"{name} expected a generator of the accelerator, and found one of the CPU")
    if not (there and here):
        return
    if function in BETWEEN_DEVICES:
        if "index" in name and not isinstance(arguments[0], There):
            raise RuntimeError(f"{name}: indices are on the accelerator, and what they choose from is on the CPU")
    elif name.startswith(WITHOUT_SCALARS) or any(one.dim() for one in here):
        raise RuntimeError(f"{name} expected all tensors to be on the same device, and found two")


def _on_the_cpu(value: Any) -> Any:
    """`value` for an operation of the CPU, or as its tensors are stored."""
    if isinstance(value, There):
        return value.numbers
    return torch.device("cpu") if isinstance(value, torch.device) and value == ACCELERATOR else value


def _stored(value: Any) -> Any:
    return pytree.tree_map_only(There, lambda one: one.numbers.detach().clone(), value)


def _made(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` or `torch.as_tensor`, which look at numbers before any dispatch."""

    def made(data: Any, *, device: Any = None, requires_grad: bool = False, **options: Any) -> torch.Tensor:
        found = data.to(**options) if isinstance(data, There) else make(data, **options)
        found = found if device is None else found.to(device)
        return found.requires_grad_() if requires_grad else found

    return made


@contextmanager
def accelerator() -> Iterator[None]:
    """Within it a run is trained and tested on the accelerator."""
    autocast, save, kept = torch.autocast, torch.save, torch.__future__.get_overwrite_module_params_on_conversion()

    class Autocast(autocast):
        def __init__(self, device_type: str, *words: Any, **options: Any) -> None:
            super().__init__(torch.device(_on_the_cpu(torch.device(device_type))).type, *words, **options)

    def asked(name: str) -> Callable[..., Any]:
        ask = getattr(torch, name)
        return lambda device_type="cpu": ask("cpu" if device_type == ACCELERATOR.type else device_type)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "tensor", _made(torch.tensor))
        patch.setattr(torch, "as_tensor", _made(torch.as_tensor))
        patch.setattr(torch, "autocast", Autocast)
        for name in ("is_autocast_enabled", "get_autocast_dtype"):
            patch.setattr(torch, name, asked(name))
        patch.setattr(torch, "save", lambda content, *words, **options: save(_stored(content), *words, **options))
        from pipeline.tracking import run_log

        of_weights = run_log.save
        patch.setattr(run_log, "save", lambda tensors, **options: of_weights(_stored(tensors), **options))
        for module in ("prepare", "task_experiment", "evaluate"):
            patch.setattr(f"experiments.{module}.choose_device", lambda _: ACCELERATOR)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with Dispatch():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(kept)
