"""The parts of a step as CUDA graphs: one call launches all kernels of a part, and another all of its gradient.

A part is recorded once for each kind of arguments. Tensors are copied to where its graph reads them, and results to
where nobody writes; weights are read where they are. The gradient's graph computes the part again, so that a part keeps
its arguments alone, and may be called any number of times before it is differentiated.
"""

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from pipeline.device.cuda_graphs import GpuRecorder, Recorder, Recording
from pipeline.ode.field import VectorField
from pipeline.ode.memory import has_hooks_on_saved_tensors
from pipeline.ode.once import refuse_second_derivatives
from pipeline.ode.pullback import pullback
from pipeline.ode.stepping.recordable import reason_by_looks, reason_by_trial
from pipeline.util.user_warnings import OdenetWarning

MOST_KINDS = 16
"""Kinds of arguments for which parts are recorded; each keeps the memory of a step."""
_GIVEN = object()
"""In the place of a tensor."""

Part = Callable[..., Any]
"""Of a field, tensors and what else can be hashed, to a tensor or a tuple of tensors and lists of them."""


class GraphWarning(OdenetWarning):
    """Steps that were to be CUDA graphs, and are launched kernel by kernel."""


class StepGraphs:
    """The recorded parts of one module's steps.

    What the field's Python decides by, beside attributes of its modules, it decides when a part is recorded.
    """

    def __init__(self, record: Callable[[torch.device], Recorder] = GpuRecorder) -> None:
        """
        Args:
            record: makes of a device what records on it.
        """
        self._make_recorder = record
        self._recorder: Recorder | None = None
        self._recorded: dict[Hashable, _RecordedPart] = {}
        self._is_given_up = False

    def of(self, part: Part, eager: Part) -> Part:
        """The same part, launched as graphs where it can be.

        Args:
            eager: computes the same without compiled code, for a trial before it is recorded.
        """

        def launched(field: VectorField, *arguments: Any) -> Any:
            return self._launch(part, eager, field, arguments)

        return launched

    def close(self) -> None:
        """Free all memory; what was launched cannot be differentiated any more."""
        for recorded in self._recorded.values():
            recorded.close()
        self._recorded.clear()
        self._is_given_up = True

    def __deepcopy__(self, memo: dict[int, Any]) -> "StepGraphs":
        """Of a copied module: its own weights are to be recorded."""
        return StepGraphs(self._make_recorder)

    def __reduce__(self) -> tuple[Any, ...]:
        return StepGraphs, ()

    def _launch(self, part: Part, eager: Part, field: VectorField, arguments: tuple[Any, ...]) -> Any:
        tensors = [one for one in arguments if isinstance(one, Tensor)]
        # Times and step sizes, of no dimension, get no gradient.
        is_odd = field.is_replaced or any(one.requires_grad and one.dim() == 0 for one in tensors)
        if self._is_given_up or is_odd or _is_watched():
            return part(field, *arguments)
        inputs = [*tensors, *field.context]
        wanted = [*(one.dim() > 0 for one in tensors), *(one.requires_grad for one in field.context)]
        others = tuple(None if isinstance(one, Tensor) else one for one in arguments)
        kinds = [(one.shape, one.stride(), one.dtype, one.device) for one in inputs]
        # A field may ask whether gradients are recorded, and a part without them needs no second graph.
        key = (part, others, field.identity, torch.is_grad_enabled(), *kinds, *wanted)
        recorded = self._recorded.get(key)
        if recorded is None:
            reason = self._reason_against(eager, field, arguments, inputs, wanted)
            if reason:
                self._give_up(reason)
                return part(field, *arguments)
            if self._recorder is None:
                self._recorder = self._make_recorder(inputs[0].device)
            compute = _Computation(part, field, arguments)
            recorded = self._recorded[key] = _RecordedPart(compute, inputs, wanted, self._recorder)
        return recorded(field, inputs)

    def _reason_against(
        self,
        eager: Part,
        field: VectorField,
        arguments: tuple[Any, ...],
        inputs: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> str:
        if len(self._recorded) >= MOST_KINDS:
            return (
                f"is called with more than {MOST_KINDS} kinds of arguments, or attributes that change, and each takes "
                "the memory of a step"
            )
        if reason := reason_by_looks(field, inputs):
            return reason
        compute, leaves = _Computation(eager, field, arguments), _leaves(inputs, wanted)
        weights = compute.stand_ins()
        return reason_by_trial(lambda: compute(leaves, weights).tensors, field, leaves, list(weights.values()))

    def _give_up(self, reason: str) -> None:
        self._is_given_up = True
        self._recorded.clear()  # and not closed: what this solve has launched is still to be differentiated
        message = f"steps are launched kernel by kernel, not as CUDA graphs (training.cuda_graphs): the field {reason}"
        warnings.warn(message, GraphWarning, stacklevel=2)


def _is_watched() -> bool:
    """Whether tensors stand for others now, or somebody is told of what graphs save."""
    is_transformed = forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None
    return is_transformed or has_hooks_on_saved_tensors()


def _leaves(inputs: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
    """The same numbers at the same places, where graphs begin."""
    return [one.detach().requires_grad_(wants) for one, wants in zip(inputs, wanted, strict=True)]


class _Computation:
    """A part with its arguments but the tensors, which are given each time, as are the weights of its field."""

    def __init__(self, part: Part, field: VectorField, arguments: tuple[Any, ...]) -> None:
        self.part = part
        # Without what is of one batch, which would stay as long as the recording.
        self.field = field.with_context([])
        self.arguments = [_GIVEN if isinstance(one, Tensor) else one for one in arguments]
        assert field.module is not None
        self._within = _Within(field.module, self._compute)

    def stand_ins(self) -> dict[str, Tensor]:
        """The weights' numbers at their places, where a graph begins: their own nodes would belong to other streams."""
        names = {id(one): name for name, one in self._within.named_parameters()}
        return {names[id(one)]: one.detach().requires_grad_() for one in self.field.weights}

    def __call__(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> "_Results":
        """
        Args:
            inputs: the tensors among the arguments, and the field's context.
        """
        results: _Results = torch.func.functional_call(self._within, dict(weights), (inputs,))
        return results

    def _compute(self, inputs: Sequence[Tensor]) -> "_Results":
        given = iter(inputs)
        arguments = [next(given) if one is _GIVEN else one for one in self.arguments]
        field = self.field.with_context(list(given))
        found = self.part(field, *arguments)
        self.field.coarsest = field.coarsest
        return _Results.of(found)


class _Within(nn.Module):
    """Calls a function, within which a module has other weights where `functional_call` gives them to this one."""

    def __init__(self, module: nn.Module, function: Callable[[Sequence[Tensor]], Any]) -> None:
        super().__init__()
        self.module = module
        self.function = function

    def forward(self, inputs: Sequence[Tensor]) -> Any:
        return self.function(inputs)


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


class _RecordedPart:
    """A part for one kind of arguments.

    Attributes:
        is_differentiable: of each of its results, whether gradients flow from it.
    """

    def __init__(
        self, compute: _Computation, inputs: Sequence[Tensor], wanted: Sequence[bool], record: Recorder
    ) -> None:
        self._compute: _Computation | None = compute
        self._wanted = wanted
        self._records_gradients = torch.is_grad_enabled()
        self._inputs = [torch.empty_like(one).copy_(one.detach()) for one in inputs]
        self._shape: tuple[int | None, ...] | None = None
        self.is_differentiable: list[bool] = []
        self._has_gradient: list[bool] = []
        self._forward: Recording | None = record(self._outputs)
        results = zip(self._forward.outputs, self.is_differentiable, strict=True)
        self._flows = [torch.zeros_like(one) for one, wants in results if wants]
        self._backward: Recording | None = record(self._gradients) if self._flows else None

    def close(self) -> None:
        """Free its memory."""
        self._compute = self._forward = self._backward = None
        self._inputs, self._flows = [], []

    def _computed(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Its results, and the leaves and the weights that they begin with."""
        assert self._compute is not None
        leaves, weights = _leaves(self._inputs, self._wanted), self._compute.stand_ins()
        with torch.set_grad_enabled(self._records_gradients):
            results = self._compute(leaves, weights)
        self._shape = results.shape
        self.is_differentiable = [self._records_gradients and one.requires_grad for one in results.tensors]
        return results.tensors, leaves, list(weights.values())

    def _outputs(self) -> Sequence[Tensor]:
        return [one.detach() for one in self._computed()[0]]

    def _gradients(self) -> Sequence[Tensor]:
        results, leaves, weights = self._computed()
        outputs = [one for one in results if one.requires_grad]
        found = pullback(outputs, self._flows, [*leaves, *weights])
        self._has_gradient = [one is not None for one in found]
        return [one for one in found if one is not None]

    def __call__(self, field: VectorField, inputs: Sequence[Tensor]) -> Any:
        assert self._compute is not None
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
        assert self._forward is not None
        torch._foreach_copy_(self._inputs, list(inputs))
        self._forward.replay()
        return [one.clone() for one in self._forward.outputs]

    @torch.no_grad()
    def backward(self, inputs: Sequence[Tensor], flows: Sequence[Tensor]) -> list[Tensor | None]:
        """Gradients with respect to the inputs, where they are wanted, and to the weights.

        Args:
            flows: with respect to each of the results.

        Raises:
            RuntimeError: it was closed.
        """
        if self._backward is None:
            raise RuntimeError("the CUDA graphs of this solve are closed: differentiate it before the training ends")
        torch._foreach_copy_(self._inputs, list(inputs))
        chosen = [flow for flow, wants in zip(flows, self.is_differentiable, strict=True) if wants]
        torch._foreach_copy_(self._flows, chosen)
        self._backward.replay()
        found = iter(self._backward.outputs)
        return [next(found).clone() if has_one else None for has_one in self._has_gradient]


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
