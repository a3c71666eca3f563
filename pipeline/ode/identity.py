"""What modules compute by, beside what they are given: whether they would compute the same again."""

from collections.abc import Hashable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as every_module

DEEPEST = 4
"""How far attributes of attributes are looked at."""
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS_OF_ALL = [
    getattr(every_module, name)
    for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
    if hasattr(every_module, name)
]


def identity_of(modules: Iterable[nn.Module], tensors: Iterable[Tensor]) -> Hashable:
    """Equal where the modules have the same tensors at the same places, the same attributes, modes and hooks.

    Args:
        modules: each with its parts.
        tensors: all of their parameters and buffers.
    """
    placed = [(one.data_ptr(), one.shape, one.stride(), one.dtype, one.device, one.requires_grad) for one in tensors]
    of_modules = [(_This(one), type(one), _attributes(one)) for one in modules]
    return tuple(placed), tuple(of_modules), sum(len(hooks) for hooks in _HOOKS_OF_ALL)


def has_hooks(module: nn.Module) -> bool:
    """Whether something is called before or behind it."""
    return any(vars(module).get(name) for name in _HOOKS) or any(_HOOKS_OF_ALL)


def _attributes(module: nn.Module) -> Hashable:
    own = vars(module)
    kept = {name: value for name, value in own.items() if name not in ("_parameters", "_buffers", "_modules")}
    of_class = {
        name: value
        for kind in type(module).__mro__
        if kind is not nn.Module and kind is not object
        for name, value in vars(kind).items()
        if isinstance(value, _PLAIN) and not name.startswith("__")
    }
    return _value(kept), _value(of_class), tuple((name, _This(one)) for name, one in own["_modules"].items())


@dataclass(frozen=True, eq=False)
class _This:
    """An object, equal to itself alone, and as long as it is known no other takes its place in memory."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _This) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _value(value: Any, within: tuple[int, ...] = ()) -> Hashable:
    """What a value is, where that can be told, else which one."""
    if isinstance(value, _PLAIN):
        return type(value), value if value == value else "no number"
    if id(value) in within or len(within) > DEEPEST:
        return _This(value)
    deeper = (*within, id(value))
    if isinstance(value, Mapping | Set | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        return type(value), tuple((_value(key, deeper), _value(one, deeper)) for key, one in pairs)
    if isinstance(value, Tensor):
        return _This(value), value.data_ptr(), 0 if value.is_inference() else value._version
    if isinstance(value, nn.Module):
        return _This(value), value.training
    if callable(value) or isinstance(value, type) or not hasattr(value, "__dict__"):
        return _This(value)
    return _This(value), _value(vars(value), deeper)
