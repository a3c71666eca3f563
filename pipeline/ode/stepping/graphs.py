"""The parts of a step as CUDA graphs: one call launches all kernels of a part, and another all of its gradient.

A part is recorded once for each kind of arguments. Tensors are copied to where its graph reads them, and results to
where nobody writes; weights are read where they are. The gradient's graph computes the part again, so that a part keeps
its arguments alone, and may be called any number of times before it is differentiated.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pipeline.device.cuda_graphs import GpuRecorder, Recorder
from pipeline.device.out_of_memory import is_out_of_memory
from pipeline.device.random_state import get_random_state
from pipeline.ode.field import VectorField
from pipeline.ode.once import refuse_second_derivatives
from pipeline.ode.pullback import hooks_muted, pullback
from pipeline.ode.reads import read, sequence_number
from pipeline.util.user_warnings import OdenetWarning

MOST_KINDS = 16
"""Kinds of arguments for which parts are recorded; each keeps the memory of a step."""

_GIVEN = object()
"""In the place of a tensor."""
_PLAIN = (bool, int, float, str, type(None))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

Part = Callable[..., Any]
"""Of a field, tensors and what else can be hashed, to a tensor or a tuple of tensors and lists of them."""


class GraphWarning(OdenetWarning):
    """Steps that were to be CUDA graphs, and are launched kernel by kernel."""


class StepGraphs:
    """The recorded parts of one module's steps.

    What the field reads beside tensors of its modules and their plain attributes is read when a part is recorded.
    """

    def __init__(self, record: Recorder | None = None) -> None:
        """
        Args:
            record: how a computation is recorded; on the current GPU without it.
        """
        self._record = record
        self._recorded: dict[Hashable, _RecordedPart] = {}
        self._is_given_up = False

    def of(self, part: Part) -> Part:
        """The same part, launched as graphs where it can be."""

        def launched(field: VectorField, *arguments: Any) -> Any:
            return self._launch(part, field, arguments)

        return launched

    def __deepcopy__(self, memo: dict[int, Any]) -> "StepGraphs":
        """Of a copied module: its own weights are to be recorded."""
        return StepGraphs(self._record)

    def __reduce__(self) -> tuple[Any, ...]:
        return StepGraphs, ()

    def _launch(self, part: Part, field: VectorField, arguments: tuple[Any, ...]) -> Any:
        tensors = [one for one in arguments if isinstance(one, Tensor)]
        is_odd = field.is_replaced or any(one.requires_grad and one.dim() == 0 for one in tensors)
        if self._is_given_up or is_odd or _is_transformed():
            return part(field, *arguments)
        others = tuple(None if isinstance(one, Tensor) else one for one in arguments)
        inputs = [*tensors, *field.context]
        key = (part, others, _identity(field), *((one.shape, one.stride(), one.dtype, one.device) for one in inputs))
        recorded = self._recorded.get(key)
        if recorded is None:
            reason = self._reason_against(part, field, arguments)
            if reason:
                self._give_up(reason)
                return part(field, *arguments)
            try:
                recorded = self._recorded[key] = self._recording(_Computation(part, field, arguments), inputs)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                self._give_up(f"does what a graph cannot: {str(error).strip().splitlines()[0]}")
                return part(field, *arguments)
        return recorded(field, inputs)

    def _recording(self, compute: "_Computation", inputs: Sequence[Tensor]) -> "_RecordedPart":
        if self._record is None:
            self._record = GpuRecorder()
        return _RecordedPart(compute, inputs, self._record)

    def _reason_against(self, part: Part, field: VectorField, arguments: tuple[Any, ...]) -> str:
        if len(self._recorded) >= MOST_KINDS:
            return (
                f"it is called with more than {MOST_KINDS} kinds of arguments, each of which takes the memory of a step"
            )
        return _reason_by_its_looks(field) or _reason_in_a_trial(part, field, arguments)

    def _give_up(self, reason: str) -> None:
        self._is_given_up = True
        self._recorded.clear()
        message = f"steps are launched kernel by kernel, not as CUDA graphs (training.cuda_graphs): the field {reason}"
        warnings.warn(message, GraphWarning, stacklevel=2)


def _is_transformed() -> bool:
    """Whether tensors stand for others now."""
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def _identity(field: VectorField) -> Hashable:
    """What a recording reads of the field, by where it lies, and what Python decided by when it was made."""
    tensors = [(one.data_ptr(), one.shape, one.stride(), one.dtype, one.requires_grad) for one in field.tensors]
    plain = [
        (id(module), *((name, value) for name, value in vars(module).items() if isinstance(value, _PLAIN)))
        for module in field.modules
    ]
    return field.formats, tuple(field.layout.parts), tuple(tensors), tuple(plain)


def _reason_by_its_looks(field: VectorField) -> str:
    """What a field has that a graph would not notice."""
    if field.module is not field.function:
        return "is a function, not a module whose weights can be found where they are"
    if any(one.grad_fn is not None for one in field.weights):
        return "has weights that are computed anew in every pass"
    if field.generators():
        return "has a generator of random numbers of its own"
    for module in field.modules:
        kind = type(module).__name__
        if any(vars(module).get(hooks) for hooks in _HOOKS):
            return f"has hooks on its {kind}, which a graph does not call"
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                return f"has a tensor {kind}.{name} that is neither a parameter nor a buffer: use register_buffer"
    return ""


class _Computation:
    """A part with its arguments but the tensors, which are given each time."""

    def __init__(self, part: Part, field: VectorField, arguments: tuple[Any, ...]) -> None:
        self.part = part
        # Without what is of one batch, which would stay as long as the recording.
        self.field = field.with_context([])
        self.arguments = [_GIVEN if isinstance(one, Tensor) else one for one in arguments]

    def __call__(self, inputs: Sequence[Tensor]) -> "_Results":
        """
        Args:
            inputs: the tensors among the arguments, and the field's context.
        """
        given = iter(inputs)
        arguments = [next(given) if one is _GIVEN else one for one in self.arguments]
        field = self.field.with_context(list(given))
        found = self.part(field, *arguments)
        self.field.coarsest = field.coarsest
        return _Results.of(found)


class _Results(NamedTuple):
    """What a part returned.

    Attributes:
        shape: how: None for a single tensor; of each entry of a tuple None for a tensor, and the length of a list.
    """

    tensors: list[Tensor]
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, found: Any) -> "_Results":
        if isinstance(found, Tensor):
            return cls([found], None)
        tensors = [one for each in found for one in ([each] if isinstance(each, Tensor) else each)]
        return cls(tensors, tuple(None if isinstance(each, Tensor) else len(each) for each in found))

    def as_returned(self) -> Any:
        if self.shape is None:
            return self.tensors[0]
        rest = iter(self.tensors)
        return tuple(next(rest) if size is None else [next(rest) for _ in range(size)] for size in self.shape)


def _reason_in_a_trial(part: Part, field: VectorField, arguments: tuple[Any, ...]) -> str:
    """What the part does, made once kernel by kernel, that a graph would not do."""
    compute = _Computation(part, field, arguments)
    inputs = [*(one for one in arguments if isinstance(one, Tensor)), *field.context]
    device = inputs[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), field.buffers_kept():
        before, buffers = get_random_state(device), field.buffer_values()
        leaves = _leaves(inputs)
        with torch.enable_grad():
            number = sequence_number()
            outputs = compute(leaves).tensors
        after = get_random_state(device)
        if not all(torch.equal(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None):
            return "draws random numbers, which its gradient's graph would draw anew"
        if not all(torch.equal(buffer, value) for buffer, value in buffers):
            return "changes its buffers, which its gradient's graph would change again"
    for output in outputs:
        others, reads_outside = read(output, [*leaves, *field.weights], number)
        if others or reads_outside:
            return "reads a tensor that wants a gradient and is neither a parameter of its module nor its context"
    return ""


def _leaves(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers, where graphs begin; times and step sizes, of no dimension, want no gradient."""
    return [one.detach().requires_grad_(one.dim() > 0 and one.is_floating_point()) for one in inputs]


class _RecordedPart:
    """A part for one kind of arguments."""

    def __init__(self, compute: _Computation, inputs: Sequence[Tensor], record: Recorder) -> None:
        self._compute = compute
        self._inputs = [torch.empty_like(one).copy_(one.detach()) for one in inputs]
        self.weights = compute.field.weights
        self.is_differentiable: list[bool] = []
        self._has_gradient: list[bool] = []
        self._shape: tuple[int | None, ...] | None = None
        with torch.no_grad():
            self._forward = record(self._outputs)
        with torch.enable_grad():
            outputs = compute(_leaves(self._inputs)).tensors
        self.is_differentiable = [one.requires_grad for one in outputs]
        wanted = [one for one, wants in zip(outputs, self.is_differentiable, strict=True) if wants]
        self._flows = [torch.zeros_like(one, memory_format=torch.preserve_format).detach() for one in wanted]
        self._backward = record(self._gradients)

    def _outputs(self) -> Sequence[Tensor]:
        results = self._compute(self._inputs)
        self._shape = results.shape
        return results.tensors

    def _gradients(self) -> Sequence[Tensor]:
        leaves = _leaves(self._inputs)
        with torch.enable_grad():
            outputs = self._compute(leaves).tensors
        wanted = [one for one, wants in zip(outputs, self.is_differentiable, strict=True) if wants]
        with hooks_muted(self.weights):
            found = pullback(wanted, self._flows, [*leaves, *self.weights])
        self._has_gradient = [one is not None for one in found]
        return [one for one in found if one is not None]

    def __call__(self, field: VectorField, inputs: Sequence[Tensor]) -> Any:
        field.coarsest = self._compute.field.coarsest
        weights = field.weights
        if torch.is_grad_enabled() and any(one.requires_grad for one in (*inputs, *weights)):
            outputs = list(_Launched.apply(self, len(inputs), *inputs, *weights))
        else:
            outputs = self.forward(inputs)
        return _Results(outputs, self._shape).as_returned()

    @torch.no_grad()
    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The results, as tensors of their own."""
        self._take(inputs)
        self._forward.replay()
        return [one.clone() for one in self._forward.outputs]

    @torch.no_grad()
    def backward(self, inputs: Sequence[Tensor], flows: Sequence[Tensor]) -> list[Tensor | None]:
        """Gradients with respect to the inputs and the weights.

        Args:
            flows: with respect to each of the results.
        """
        self._take(inputs)
        chosen = [flow for flow, wants in zip(flows, self.is_differentiable, strict=True) if wants]
        for place, flow in zip(self._flows, chosen, strict=True):
            place.copy_(flow)
        self._backward.replay()
        found = iter(self._backward.outputs)
        return [next(found).clone() if has_one else None for has_one in self._has_gradient]

    def _take(self, inputs: Sequence[Tensor]) -> None:
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value)


class _Launched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: _RecordedPart, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs = part.forward(tensors[:count])
        ctx.part, ctx.count = part, count
        ctx.save_for_backward(*tensors)  # torch then sees to it that none was changed in place
        ctx.mark_non_differentiable(
            *(one for one, wants in zip(outputs, part.is_differentiable, strict=True) if not wants)
        )
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *flows: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives("steps that are CUDA graphs", ": use training.cuda_graphs=False")
        inputs = ctx.saved_tensors[: ctx.count]
        return None, None, *ctx.part.backward(inputs, flows)
