"""A state in one tensor or in parts, and the one real tensor that the steps are computed with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from pipeline.util.errors import InvalidInput

State = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""What a field is given and returns: a tensor, or a tuple or a dictionary of them."""
_GIVE_A_TENSOR = "give a tensor (torch.as_tensor)"


@dataclass(frozen=True)
class _Part:
    """Where one part lies in the packed state.

    Attributes:
        shape: of the part; its first dimension is the batch where samples have steps of their own.
        size: real numbers that it takes, of each sample there.
    """

    name: str
    shape: torch.Size
    size: int
    is_complex: bool
    is_channels_last: bool

    def flatten(self, part: Tensor, per_sample: bool) -> Tensor:
        """Its numbers in the order in which they lie in memory."""
        if self.is_complex:
            # Not as a view, whose gradient cannot be one of numbers that begin at an odd place.
            part = torch.stack([part.real, part.imag], dim=-1)
        if self.is_channels_last:
            part = part.permute(0, 2, 3, 1)
        return part.reshape(len(part), prod(part.shape[1:])) if per_sample else part.reshape(-1)

    def unflatten(self, flat: Tensor, per_sample: bool) -> Tensor:
        """The part, from the last dimension of `flat`; those before it, and the batch, are whatever `flat` has."""
        shape: Sequence[int] = self.shape[1:] if per_sample else self.shape
        if self.is_channels_last:
            channels, height, width = self.shape[1:]
            batch = () if per_sample else (self.shape[0],)
            return flat.reshape(*flat.shape[:-1], *batch, height, width, channels).movedim(-1, -3)
        if self.is_complex:
            pairs = flat.reshape((*flat.shape[:-1], *shape, 2))
            return torch.complex(pairs[..., 0], pairs[..., 1])
        return flat.reshape((*flat.shape[:-1], *shape))


class Layout:
    """How a state is packed.

    A single real tensor stays what it is. Parts are laid one behind the other, flat, or with step control per sample
    as (batch, …); complex numbers as two real ones; images of channels_last in that order, so that none is copied on
    the way to the field.

    Attributes:
        is_plain: the state is a single real tensor.
        dtype: number format of the packed state.
        samples: length of the batch, which the first dimension of the first part is taken for.
    """

    def __init__(self, z0: State, per_sample: bool) -> None:
        self.per_sample = per_sample
        self._build: Callable[[Sequence[Tensor]], State] = _single
        if isinstance(z0, Tensor):
            named = {"state": z0}
        elif isinstance(z0, Mapping):
            named = dict(z0)
            self._build = partial(_dictionary, tuple(named))
        elif isinstance(z0, (tuple, list)):
            named = {str(index): part for index, part in enumerate(z0)}
            self._build = getattr(type(z0), "_make", tuple)  # of a NamedTuple
        else:
            raise InvalidInput(
                f"the state is a {type(z0).__name__}: {_GIVE_A_TENSOR}, or a tuple or dictionary of them"
            )
        self._kind = type(z0)
        self._refuse_unsuitable(named)
        self.is_plain = isinstance(z0, Tensor) and not z0.is_complex()
        self.dtype = next(iter(named.values())).real.dtype
        self.parts = [self._part(name, part) for name, part in named.items()]
        self.sizes = [part.size for part in self.parts]
        self.samples = next(iter(self.parts[0].shape), 1)

    def _refuse_unsuitable(self, named: Mapping[str, Tensor]) -> None:
        if not named:
            raise InvalidInput("the state has no parts: give at least one tensor")
        for name, part in named.items():
            if not isinstance(part, Tensor):
                raise InvalidInput(f"the state's {_called(name)} is a {type(part).__name__}: {_GIVE_A_TENSOR}")
            if not (part.is_floating_point() or part.is_complex()):
                raise InvalidInput(
                    f"the state's {_called(name)} is of {part.dtype}, which cannot change continuously: "
                    "give it as floating-point numbers (z0.float())"
                )
            if part.real.dtype not in (torch.float32, torch.float64):
                raise InvalidInput(
                    f"the state's {_called(name)} is of {part.dtype}, whose rounding is above any tolerance: give it "
                    "as float32 (z0.float()); the field may be computed more coarsely (torch.autocast)"
                )
            if part.layout != torch.strided or part.is_meta:
                raise InvalidInput(
                    f"the state's {_called(name)} is {'on the meta device' if part.is_meta else 'sparse'}: give a "
                    "dense tensor of numbers"
                )
            if self.per_sample and (part.dim() == 0 or len(part) != len(next(iter(named.values())))):
                raise InvalidInput(
                    "control=sample needs a state whose first dimension is the batch, the same for all its parts: "
                    "use control=batch"
                )
        kinds = {part.real.dtype for part in named.values()} | {
            torch.empty(0, device=p.device).device for p in named.values()
        }
        if len(kinds) > 2:
            raise InvalidInput(f"the parts of a state must have one number format and one device, not {kinds}")

    def _part(self, name: str, part: Tensor) -> _Part:
        numbers = prod(part.shape[1:] if self.per_sample else part.shape) * (2 if part.is_complex() else 1)
        channels_last = (
            part.dim() == 4 and part.is_contiguous(memory_format=torch.channels_last) and not part.is_contiguous()
        )
        return _Part(name, part.shape, numbers, part.is_complex(), channels_last and not part.is_complex())

    def time(self, t: Tensor) -> Tensor:
        """`t` as a field takes it: with step control per sample of as many dimensions as the part with the most."""
        if self.is_plain or not self.per_sample:
            return t
        return t.reshape(-1, *[1] * (max(len(part.shape) for part in self.parts) - 1))

    def pack(self, state: State) -> Tensor:
        """One real tensor: shaped as a plain state, else (numbers,) or (batch, numbers)."""
        if self.is_plain:
            assert isinstance(state, Tensor)
            return state
        flat = [part.flatten(tensor, self.per_sample) for part, tensor in zip(self.parts, _tensors(state), strict=True)]
        return torch.cat(flat, dim=-1)

    def unpack(self, packed: Tensor) -> State:
        """The state, of views of `packed`; further dimensions in front stay in front."""
        if self.is_plain:
            return packed
        pieces = packed.split(self.sizes, dim=-1)
        return self._build([p.unflatten(piece, self.per_sample) for p, piece in zip(self.parts, pieces, strict=True)])

    def pack_derivative(self, derivative: Any, z: Tensor) -> Tensor:
        """What a field returned at `z`, in its number format and layout.

        Raises:
            InvalidInput: it is not shaped as the state, or complex where that is real.
        """
        if self.is_plain:
            _refuse_other(derivative, z.shape, "state", is_complex=False)
            return _as_laid(derivative.to(z.dtype), z)
        if not isinstance(derivative, Mapping if issubclass(self._kind, Mapping) else (Tensor, tuple, list)):
            raise InvalidInput(
                f"the field returned a {type(derivative).__name__}, and its state is a {self._kind.__name__}"
            )
        tensors = _tensors(derivative, [part.name for part in self.parts])
        if len(tensors) != len(self.parts):
            raise InvalidInput(f"the field returned {len(tensors)} parts, and its state has {len(self.parts)}")
        flat = []
        for part, tensor in zip(self.parts, tensors, strict=True):
            batch = (len(z),) if self.per_sample else part.shape[:1]
            _refuse_other(tensor, torch.Size([*batch, *part.shape[1:]]), part.name, part.is_complex)
            wanted = tensor.to(z.dtype.to_complex()) if part.is_complex else tensor.to(z.dtype)
            flat.append(part.flatten(wanted, self.per_sample))
        return torch.cat(flat, dim=-1)


def _dictionary(names: Sequence[str], parts: Sequence[Tensor]) -> State:
    return dict(zip(names, parts, strict=True))


def _single(parts: Sequence[Tensor]) -> State:
    return parts[0]


def _called(name: str) -> str:
    return "tensor" if name == "state" else f"part {name}"


def _tensors(state: Any, names: Sequence[str] | None = None) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    if not isinstance(state, Mapping):
        return list(state)
    if names is not None and set(names) != set(state):
        raise InvalidInput(f"the field returned the parts {', '.join(state)}, and its state has {', '.join(names)}")
    return [state[name] for name in names or state]


def _refuse_other(derivative: Any, shape: torch.Size, name: str, is_complex: bool) -> None:
    if not isinstance(derivative, Tensor):
        raise InvalidInput(f"the field returned a {type(derivative).__name__} as dz/dt: return a tensor")
    if derivative.is_complex() and not is_complex:
        raise InvalidInput(
            f"the field returned a complex dz/dt for a real state{'' if name == 'state' else f' (part {name})'}: give "
            "z0 as complex numbers (z0.to(torch.complex64)), or return the real part"
        )
    if derivative.shape != shape:
        raise InvalidInput(
            f"the field returned dz/dt of shape {tuple(derivative.shape)} for a state of shape {tuple(shape)}"
            f"{'' if name == 'state' else f' (part {name})'}: return the shape of the state"
        )


def _as_laid(derivative: Tensor, z: Tensor) -> Tensor:
    """In memory as images in channels_last are where the state is."""
    if z.dim() == 4 and z.is_contiguous(memory_format=torch.channels_last):
        return derivative.contiguous(memory_format=torch.channels_last)
    return derivative
