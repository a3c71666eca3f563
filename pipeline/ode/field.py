"""The field as a solver sees it."""

import copy
import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property, partial
from math import sqrt
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from pipeline.ode.identity import identity_of
from pipeline.ode.path import put_back
from pipeline.ode.state import Layout
from pipeline.util.errors import InvalidInput, brief

TF32_EPS = 2.0**-10


class VectorField:
    """dz/dt = function(t, z) of a packed state, in the number formats of the pass that made this object.

    Gradients are asked for in the backward pass, outside the caller's autocast and, after `functional_call`, with
    other weights in the module: what held in the forward pass holds there too.

    Attributes:
        parameters: the tensors that gradients are to reach, beside the state, as the function reads them.
        origins: the same as the caller has them: in their place the function may be given stand-ins (`cut`).
        context: tensors that the function gets behind z; with step control per sample, the rows of its samples.
        module: that is called, or whose method is; None of another function.
        modules: all that the function is known to call, with their parts.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        layout: Layout,
        device: torch.device,
        parameters: Sequence[Tensor] = (),
        context: Sequence[Tensor] = (),
    ) -> None:
        self.function = function
        self.module = function if isinstance(function, nn.Module) else _owner(function)
        self.modules = modules_of(function)
        self.layout = layout
        self.context = tuple(context)
        _refuse_unsuitable(parameters, self.context, layout)
        self._tensors = _named_tensors(self.module)
        own = [tensor for tensor in self._tensors.values() if tensor.requires_grad]
        self._named = _once_each([*own, *(tensor for tensor in parameters if tensor.requires_grad)])
        self.parameters = _once_each([*self._named, *(tensor for tensor in context if tensor.requires_grad)])
        self.origins = self.parameters
        self._depends_on_time: Callable[[Tensor], Sequence[Any]] | None = getattr(self.module, "at_times", None)
        self._replaced: Mapping[str, Tensor] | None = None
        self._device_type = device.type
        self._autocast = torch.is_autocast_enabled(device.type)
        self._autocast_dtype = torch.get_autocast_dtype(device.type)
        may_be_tf32 = device.type == "cuda" and layout.dtype == torch.float32 and not self._autocast
        self._tf32 = may_be_tf32 and _rounds_to_tf32(self.modules)
        self.coarsest: torch.dtype | None = None
        """Number format of what the function returned where that is coarser than the state's."""
        self._last: ReferenceType[Tensor] | None = None
        """What was returned last, for as long as that is used."""

    def __call__(self, t: Tensor, z: Tensor, of_time: tuple[Any, ...] | None = None) -> Tensor:
        """dz/dt at `t`, a scalar tensor, or with control per sample one of shape (batch, 1, …, 1).

        Args:
            of_time: as `at_times` gave it for `t`, where it was asked.
        """
        if of_time is None:
            (of_time,) = self.at_times([t])
        watches = not (torch.compiler.is_compiling() or z.is_inference())
        last = self._last() if watches and self._last is not None else None
        version, version_of_last = z._version if watches else 0, 0 if last is None else last._version
        arguments = (self.layout.time(t), self.layout.unpack(z), *of_time, *self.context)
        with self._formats():
            if self._replaced is not None and self.module is not None:
                derivative = torch.func.functional_call(self.module, dict(self._replaced), arguments)
            else:
                derivative = self.function(*arguments)
        if watches and z._version != version:
            raise InvalidInput(
                "the field changes the state that it is given in place: write what it returns to a new tensor"
            )
        if last is not None and last._version != version_of_last:
            raise InvalidInput(
                "the field overwrites what it returned before, which is still needed: return a new tensor each time "
                "(.clone() of a buffer)"
            )
        if watches and isinstance(derivative, Tensor) and derivative.dtype != z.dtype:
            self.coarsest = _coarser(derivative.dtype, z.dtype) or self.coarsest
        slope = self.layout.pack_derivative(derivative, z)
        if watches:
            self._last = None if slope.is_inference() else ref(slope)
        return slope

    def at_times(self, times: Sequence[Tensor]) -> list[tuple[Any, ...]]:
        """What the function takes behind z at each of these times.

        Nothing of most fields; of one whose weights depend on time, its method `at_times` computes them for all of the
        times at once.

        Raises:
            InvalidInput: it returned fewer entries than times, or more.
        """
        if self._depends_on_time is None or not times:
            return [()] * len(times)
        shape = (-1,) if times[0].dim() == 0 else (len(times), -1)
        with self._formats():
            of_times = [(one,) for one in self._depends_on_time(torch.stack(list(times)).view(shape))]
        if len(of_times) != len(times):
            raise InvalidInput(
                f"the field's at_times returned {len(of_times)} entries for {len(times)} times: return one for each"
            )
        return of_times

    def of_rows(self, rows: Tensor | None) -> "VectorField":
        """The field for some samples of the batch alone; itself where its context is the same for all."""
        if rows is None or not self.context:
            return self
        chosen = copy.copy(self)
        chosen.context = tuple(tensor[rows] for tensor in self.context)
        return chosen

    @property
    def is_replaced(self) -> bool:
        """Whether it reads other tensors than the module has now: see `as_in_forward`."""
        return self._replaced is not None

    @property
    def formats(self) -> tuple[bool, torch.dtype, bool]:
        """Number formats that it is computed in: whether within autocast, in which one there, whether in TF32."""
        return self._autocast, self._autocast_dtype, self._tf32

    @cached_property
    def identity(self) -> Hashable:
        """What its modules computed by when this was asked first, and for copies of this object too."""
        return self.identity_now()

    def identity_now(self) -> Hashable:
        """Equal where its modules would compute the same."""
        return identity_of(self.modules, self.tensors), self.formats, tuple(self.layout.parts)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that it is known to read, without the context."""
        return _once_each([*self._tensors.values(), *self._buffers(), *self.weights])

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The parameters that are not of the context."""
        of_context = {id(tensor) for tensor in self.context}
        return tuple(tensor for tensor in self.parameters if id(tensor) not in of_context)

    def with_context(self, context: Sequence[Tensor]) -> "VectorField":
        """The same with another context, whose gradients are asked for as its tensors want them."""
        chosen = copy.copy(self)
        chosen.context = tuple(context)
        chosen.parameters = chosen.origins = (*self.weights, *(one for one in context if one.requires_grad))
        return chosen

    def cut(self) -> "VectorField":
        """The same with a context at which graphs begin, whatever it was computed from.

        Of a context that was computed from another tensor that the field reads, torch would hand the gradient on to
        that one within the solve, and the caller's graph would do so again.
        """
        stand_ins = [one.detach().requires_grad_() if one.requires_grad else one for one in self.context]
        chosen = copy.copy(self)
        chosen.context = tuple(stand_ins)
        chosen.parameters = (*self._named, *(one for one in stand_ins if one.requires_grad))
        chosen.origins = (*self._named, *(one for one in self.context if one.requires_grad))
        return chosen

    def also_reading(self, leaves: Sequence[Tensor]) -> "VectorField":
        """The same, whose gradients are to reach these too."""
        chosen = copy.copy(self)
        chosen.parameters = (*self.parameters, *leaves)
        chosen.origins = (*self.origins, *leaves)
        return chosen

    def as_in_forward(self) -> "VectorField":
        """The same with the module's tensors of when this object was made, whatever it has now."""
        now = _named_tensors(self.module)
        replaced = [tensor for name, tensor in self._tensors.items() if now.get(name) is not tensor]
        if not replaced:
            return self
        if self.module is not self.function or self._depends_on_time is not None:
            if not any(tensor.requires_grad for tensor in replaced):
                return self  # buffers that the field itself replaces
            raise InvalidInput(
                "the field's weights were replaced between the forward and the backward pass (functional_call), and it "
                "is not a module that is called alone: use gradient=direct"
            )
        chosen = copy.copy(self)
        chosen._replaced = self._tensors
        return chosen

    def _formats(self) -> AbstractContextManager[Any]:
        return self.precision() if self._autocast else nullcontext()

    def precision(self) -> torch.autocast:
        """The number formats, within which compiled code of the forward pass fits the backward pass too."""
        # Uncached, since torch would hand casts made without gradients to an evaluation that wants them.
        return torch.autocast(self._device_type, self._autocast_dtype, self._autocast, cache_enabled=False)

    def generators(self) -> list[tuple[torch.Generator, Tensor]]:
        """Generators of random numbers that it has, beside torch's own, and their states."""
        held = itertools.chain(*(vars(module).values() for module in self.modules), reads_of(self.function))
        return [(one, one.get_state()) for one in held if isinstance(one, torch.Generator)]

    @property
    def rounding(self) -> float:
        """Root mean square of the relative error of one rounding, where the function rounds to less than its state."""
        if self._autocast:
            return torch.finfo(self._autocast_dtype).eps / sqrt(12)
        if self.coarsest is not None:
            return torch.finfo(self.coarsest).eps / sqrt(12)
        return TF32_EPS / sqrt(12) if self._tf32 else 0.0

    def rounding_above(self, tolerance: float, slope: Tensor) -> str:
        """The number format that it is computed in, where its rounding is above a tolerance; else empty.

        Args:
            slope: what it returned last.
        """
        if self.rounding:
            return self.number_format if self.rounding > tolerance else ""
        shown = coarse_format(slope.detach())
        return format_name(shown) if shown is not None and torch.finfo(shown).eps > tolerance else ""

    @property
    def number_format(self) -> str:
        """As in 'bfloat16'."""
        if self._tf32:
            return "tf32"
        return format_name(self._autocast_dtype if self._autocast else self.coarsest)

    @torch.no_grad()
    def rounds_at(self, t: Tensor, z: Tensor) -> bool:
        """Whether autocast changes what the function returns there."""
        if not self._autocast:
            return True
        exact = copy.copy(self)
        exact._autocast = False
        with self.buffers_kept(), torch.autocast(self._device_type, enabled=False):
            return not torch.equal(exact(t, z), self(t, z))

    @contextmanager
    def buffers_kept(self) -> Iterator[None]:
        """Evaluations within leave no trace in the modules' buffers, such as the statistics of a batch norm."""
        before = self.buffer_values()
        try:
            yield
        finally:
            put_back(before)

    def buffer_values(self) -> list[tuple[Tensor, Tensor]]:
        """Of each buffer of the modules, a copy of what it holds."""
        return [(buffer, buffer.clone()) for buffer in self._buffers()]

    def buffer_versions(self) -> list[tuple[Tensor, int]]:
        """Of each buffer of the modules, how often it was changed in place."""
        return [(buffer, 0 if buffer.is_inference() else buffer._version) for buffer in self._buffers()]

    def _buffers(self) -> tuple[Tensor, ...]:
        return _once_each([buffer for module in self.modules for buffer in module.buffers(recurse=False)])


def tensors_given(name: str, given: Tensor | Iterable[Tensor]) -> tuple[Tensor, ...]:
    """What was given as an argument of this name: of one tensor, itself, and not its rows.

    Raises:
        InvalidInput: it is no tensor and no sequence.
    """
    if isinstance(given, Tensor):
        return (given,)
    if not isinstance(given, Iterable):
        raise InvalidInput(f"{name} is {brief(given)}: give a sequence of tensors, as in (weight, bias)")
    return tuple(given)


def _refuse_unsuitable(parameters: Sequence[Any], context: Sequence[Any], layout: Layout) -> None:
    for name, given in (("parameters", parameters), ("context", context)):
        for number, one in enumerate(given):
            if not isinstance(one, Tensor):
                raise InvalidInput(f"{name}[{number}] is a {type(one).__name__}: give a tensor (torch.as_tensor)")
    if not layout.per_sample:
        return
    samples = layout.samples
    for number, tensor in enumerate(context):
        if tensor.dim() == 0 or len(tensor) != samples:
            raise InvalidInput(
                f"context[{number}] has the shape {tuple(tensor.shape)}, and control=sample takes a row for each of "
                f"the {samples} samples from it: give it one (.expand), or let the field hold what is the same for all"
            )


def format_name(dtype: torch.dtype | None) -> str:
    """As in 'bfloat16'."""
    return str(dtype).removeprefix("torch.")


def coarse_format(values: Tensor) -> torch.dtype | None:
    """The number format that values were rounded to and cast back from; None where they show none.

    Simple numbers, which whatever their size fit into every format, show none.
    """
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        if _coarser(dtype, values.dtype) and _fits(values, dtype):
            return None if _fits(torch.frexp(values).mantissa, torch.float8_e5m2) else dtype
    return None


def _fits(values: Tensor, dtype: torch.dtype) -> bool:
    return bool((values.to(dtype).to(values.dtype) == values).all())


def _rounds_to_tf32(modules: Iterable[nn.Module]) -> bool:
    """Whether a GPU may round what goes into products.

    Of matrices where it was allowed to; in convolutions and recurrent layers torch allows it unless told otherwise.
    """
    if torch.backends.cuda.matmul.fp32_precision == "tf32":
        return True
    cudnn: Any = torch.backends.cudnn
    kinds = ((nn.RNNBase, cudnn.rnn), (_ConvNd, cudnn.conv))
    allowed = tuple(kind for kind, backend in kinds if backend.fp32_precision == "tf32")
    return any(isinstance(module, allowed) for module in modules)


def _owner(function: Callable[..., Any]) -> nn.Module | None:
    """The module whose method a function is."""
    owner = getattr(function, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def modules_of(function: Callable[..., Any]) -> tuple[nn.Module, ...]:
    """The modules that a field calls, with their parts: itself, its owner, and those that its code names."""
    whole = [one for one in (function, _owner(function), *reads_of(function)) if isinstance(one, nn.Module)]
    return tuple({id(part): part for one in whole for part in one.modules()}.values())


def reads_of(function: Callable[..., Any]) -> Iterator[object]:
    """What the code of a function names beside its arguments: of its closure, of its file, and bound by `partial`."""
    if isinstance(function, partial):
        bound = (*function.args, *function.keywords.values())
        yield from (function.func, *bound, *reads_of(function.func))
        return
    function = getattr(function, "__func__", function)
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # what it is to hold comes later
            yield cell.cell_contents
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    yield from (known[name] for name in (() if code is None else code.co_names) if name in known)


def _once_each(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple({id(tensor): tensor for tensor in tensors}.values())


def _named_tensors(module: nn.Module | None) -> dict[str, Tensor]:
    return {} if module is None else dict([*module.named_parameters(), *module.named_buffers()])


def _coarser(dtype: torch.dtype, than: torch.dtype) -> torch.dtype | None:
    if dtype.is_floating_point and torch.finfo(dtype).eps > torch.finfo(than).eps:
        return dtype
    return None
