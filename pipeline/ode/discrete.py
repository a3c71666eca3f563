"""Gradients of the accepted steps, at the sizes that they had: discretise, then optimise.

Source: Gholami, Keutzer & Biros 2019, *ANODE*, for steps that are evaluated again in the backward pass; Griewank &
Walther 2008, *Evaluating Derivatives*, section 12.2, for doing so from few states; Eberhard & Bischof 1999, *Automatic
Differentiation of Numerical Integration Algorithms*, for step sizes held fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.device.random_state import RandomState, get_random_state, is_same_random_state
from pipeline.ode.field import VectorField
from pipeline.ode.inference_mode import ordinary, outside_inference
from pipeline.ode.loop import solve
from pipeline.ode.once import refuse_second_derivatives
from pipeline.ode.path import RecordedPath, Segment, StepGraph
from pipeline.ode.problem import Outcome, Problem
from pipeline.ode.pullback import hooks_muted, pullback
from pipeline.ode.solution import Statistics, Status
from pipeline.ode.start import Start, refuse_unknown
from pipeline.util.errors import InvalidInput, OdenetError

DIFFERENCE_OF_A_REPETITION = {torch.float64: 1e-7, torch.float32: 1e-4}
"""Relative difference from which a step that is evaluated again did not do the same: above what a GPU's sums in
another order come to, below what other random numbers lead to. For coarser fields it is a hundred times that."""


@dataclass
class _Call:
    """What a recorded solve needs beside the tensors that gradients reach."""

    problem: Problem
    start: Start
    statistics: Statistics
    path: RecordedPath
    is_recursive: bool
    outcome: Outcome | None = None


def solve_recorded(
    problem: Problem, began: Start, statistics: Statistics, budget: float, is_recursive: bool
) -> Outcome:
    """The solution, from which gradients flow to the state and to the parameters of the field that the start found.

    Args:
        budget: memory in bytes that the graphs of steps may take; the others are built again in the backward pass,
            which on a CPU changes no bit of the gradient.
        is_recursive: keep no states either, and find them again from the start by halves.

    Raises:
        InvalidInput: a field whose steps cannot be repeated for some of the samples: one that draws random numbers or
            normalises over the batch.
    """
    if problem.per_sample:
        _refuse_batch_statistics(problem.field)
    path = RecordedPath(
        began.field.parameters,
        began.origin.device,
        0 if problem.per_sample else budget,
        began.changing,
        always_builds=problem.method.is_compiled,
        keeps_states=not is_recursive,
    )
    call = _Call(problem, began, statistics, path, is_recursive)
    end, between = _Discrete.apply(began.origin, call, *began.field.origins)
    assert call.outcome is not None
    outcome = replace(call.outcome, end=end, between=between)
    call.outcome = replace(call.outcome, slope=call.outcome.end)  # the slope need not live until the backward pass
    return outcome


class _Discrete(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z0: Tensor, call: _Call, *parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        start, path, problem = call.start, call.path, call.problem
        before = get_random_state(z0.device)
        with path.recording():
            first = start.first if torch.is_grad_enabled() else start.first.detach()
        outcome = solve(problem, start.leaf, path, call.statistics, first, start.snapshot)
        if problem.per_sample:
            refuse_random_numbers(before, z0, "control=sample", "control=batch")
        call.outcome = outcome
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z0, *parameters)  # torch then sees to it that none was changed in place
        ctx.call, ctx.end = call, outcome.end.detach()
        ctx.version = ctx.end._version
        # Not views, which torch would not let a layer behind the solve change in place.
        return outcome.end.detach(), None if outcome.between is None else outcome.between.detach()

    @staticmethod
    def backward(ctx: Any, by_end: Tensor | None, by_between: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives("this solve", ": use gradient=direct")
        z0, *_ = ctx.saved_tensors
        call: _Call = ctx.call
        # Not those that were saved: hooks may hand back others in their place, as those of torch.utils.checkpoint do.
        parameters = call.start.field.parameters
        field = call.start.field.as_in_forward()
        is_as_it_was = ctx.end._version == ctx.version
        with outside_inference(), field.buffers_kept(), field.precision(), hooks_muted(field.parameters):
            flows = [None if flow is None else ordinary(flow) for flow in (by_end, by_between)]
            backward = _Backward(call, field, parameters, ctx.end, is_as_it_was, *flows)
            return backward.run(z0), None, *backward.sums


class _Backward:
    """One backward pass over the segments.

    Attributes:
        gradient: with respect to the state where the pass has come to.
        by_first: with respect to dz/dt there, where the segment behind begins with it too.
        expected: the state there; None where it is not known any more.
        sums: gradients of the parameters.
    """

    def __init__(
        self,
        call: _Call,
        field: VectorField,
        parameters: Sequence[Tensor],
        end: Tensor,
        is_as_it_was: bool,
        by_end: Tensor | None,
        by_between: Tensor | None,
    ) -> None:
        assert call.outcome is not None
        self.call = call
        self.field = field
        self.parameters = parameters
        self.by_between = by_between
        nothing = torch.zeros_like(end) if by_end is None else by_end
        has_event = call.outcome.event_time is not None
        self.by_event = nothing if has_event else None
        self.gradient = torch.zeros_like(end) if has_event else nothing.clone() if call.problem.per_sample else nothing
        # Behind an event the last step was not taken to its end; what others changed in place cannot be compared.
        is_known = is_as_it_was and not has_event
        self.expected = (end.clone() if call.problem.per_sample else end) if is_known else None
        self.by_first: Tensor | None = None
        self.sums: list[Tensor | None] = [None] * len(parameters)

    def run(self, z0: Tensor) -> Tensor:
        """Through all segments; the gradient with respect to the start."""
        segments = self.call.path.segments
        if self.call.is_recursive:
            self._halve(z0, [k for k, one in enumerate(segments) if isinstance(one, Segment)], len(segments))
        else:
            for item in reversed(segments):
                self._step_back(item, item.z if isinstance(item, Segment) else None)
        return self.gradient

    def _halve(self, z: Tensor, numbers: list[int], stop: int) -> None:
        """Go back over the segments of these numbers, the first of which begins at `z`, and what stands behind them."""
        segments = self.call.path.segments
        if len(numbers) > 1:
            middle = len(numbers) // 2
            self._halve(self._ahead(z, numbers[:middle]), numbers[middle:], stop)
            self._halve(z, numbers[:middle], numbers[middle])
            return
        for item in reversed(segments[numbers[0] : stop]):
            self._step_back(item, z)

    @torch.no_grad()
    def _ahead(self, z: Tensor, numbers: list[int]) -> Tensor:
        for number in numbers:
            segment = self.call.path.segments[number]
            assert isinstance(segment, Segment)
            z = self._build(segment, z, None, is_ahead=True).end
        return z

    def _step_back(self, item: Segment | int, z: Tensor | None) -> None:
        if not isinstance(item, Segment):
            if self.by_between is not None:
                self.gradient = self.gradient + self.by_between[item]
            return
        segment, graph = item, item.graph
        segment.graph = None  # frees it as soon as it was walked
        assert z is not None
        first = None if self.call.is_recursive else segment.first
        if graph is None:
            z = z.detach().requires_grad_()
            first = None if first is None else first.detach().requires_grad_()
            with torch.enable_grad():
                graph = self._build(segment, z, first)
            self._compare(segment, graph.end)
        begins = [z] if first is None else [z, first]
        refuse_unknown(graph, [*begins, *self.parameters])
        by_end = self.gradient if segment.rows is None else self.gradient[segment.rows]
        flows = [
            (graph.end, by_end),
            (graph.last, self.by_first),
            (graph.outputs, self._by_outputs(segment)),
        ]
        pairs = [(a, b) for a, b in flows if a is not None and b is not None and a.requires_grad]
        found = pullback([a for a, _ in pairs], [b for _, b in pairs], [*begins, *self.parameters])
        by_z = torch.zeros_like(z) if found[0] is None else found[0]
        self.by_first = None if first is None else found[1]
        shares = found[len(begins) :]
        self.sums = [sum_of(total, share) for total, share in zip(self.sums, shares, strict=True)]
        self._arrive(segment, by_z, z)

    def _arrive(self, segment: Segment, by_z: Tensor, z: Tensor) -> None:
        """At the segment's beginning."""
        if segment.rows is None:
            self.gradient, self.expected = by_z, z.detach()
            return
        self.gradient[segment.rows] = by_z
        if self.expected is not None:
            self.expected[segment.rows] = z.detach()

    def _by_outputs(self, segment: Segment) -> Tensor | None:
        """Gradients with respect to the states within a step, shaped as those."""
        if segment.outputs is None or (self.by_between is None and self.by_event is None):
            return None
        between = self.by_between
        if segment.rows is not None:
            assert segment.pairs is not None
            return None if between is None else between[segment.outputs, segment.rows[segment.pairs]]
        ends_here = self.by_event is not None and int(segment.outputs[-1]) < 0
        inner = segment.outputs[:-1] if ends_here else segment.outputs
        flows = [between[inner] if between is not None else self.gradient.new_zeros((len(inner), *self.gradient.shape))]
        if ends_here and self.by_event is not None:
            flows.append(self.by_event.unsqueeze(0))
        return torch.cat(flows)

    def _build(self, segment: Segment, z: Tensor, first: Tensor | None, is_ahead: bool = False) -> StepGraph:
        """The step again, of the same random numbers and buffers; its end alone where the pass goes ahead."""
        problem, device = self.call.problem, z.device
        method, field = problem.method, self.field.of_rows(segment.rows)
        gpus = [device] if device.type == "cuda" else []
        nfe, last, outputs = 0, None, None
        with torch.random.fork_rng(gpus):
            if first is None:
                segment.before_first.restore(device)
                first, nfe = method.evaluate(field, segment.t, z), 1
            segment.before_stages.restore(device)
            step = method.advance(field, segment.t, segment.dt, z, first, problem.tolerance, segment.keeps)
            nfe += step.nfe
            if segment.keeps and not is_ahead:
                segment.before_last.restore(device)
                last, nfe = method.evaluate(field, segment.end, step.end), nfe + 1
            if last is not None and segment.thetas is not None:
                outputs, nfe = self._within(segment, z, [*step.stages, last]), nfe + method.nfe_within
        statistics = self.call.statistics
        statistics.nfe_backward = (statistics.nfe_backward or 0) + nfe
        return StepGraph(step.end, last, outputs)

    def _within(self, segment: Segment, z: Tensor, stages: Sequence[Tensor]) -> Tensor:
        method, thetas, pairs = self.call.problem.method, segment.thetas, segment.pairs
        assert thetas is not None
        if pairs is None:
            return method.between(thetas, segment.dt, z, method.complete(self.field, segment.t, segment.dt, z, stages))
        assert segment.rows is not None
        field = self.field.of_rows(segment.rows[pairs])
        of_pairs = [stage[pairs] for stage in stages]
        t, dt = segment.t[pairs], segment.dt[pairs]
        return method.between(thetas.unsqueeze(0), dt, z[pairs], method.complete(field, t, dt, z[pairs], of_pairs))[0]

    def _compare(self, segment: Segment, end: Tensor) -> None:
        """Refuse a step that did not come out again as it did."""
        if self.expected is None:
            return
        expected = self.expected if segment.rows is None else self.expected[segment.rows]
        end = end.detach()
        if torch.equal(end, expected):
            return
        allowed = DIFFERENCE_OF_A_REPETITION.get(end.dtype, 1e-4) * (100 if self.field.rounding else 1)
        difference, size = (end - expected).norm(), expected.norm()
        if not difference <= allowed * (size + difference):
            self.call.statistics.status = Status.DIVERGED
            raise OdenetError(
                "a step that was evaluated again in the backward pass came out differently: the field draws random "
                "numbers from a generator of its own, or from torch's while another thread draws too, or changes "
                "something of itself with every evaluation: use gradient=direct"
            )


def sum_of(total: Tensor | None, share: Tensor | None) -> Tensor | None:
    """Of two gradients, None being nothing."""
    if total is None or share is None:
        return share if total is None else total
    return total + share


def _refuse_batch_statistics(field: VectorField) -> None:
    if any(isinstance(module, _BatchNorm) and module.training for module in field.modules):
        raise InvalidInput(
            "the field normalises over its batch, which control=sample takes apart: use group normalisation or none, "
            "or control=batch"
        )


def refuse_random_numbers(before: RandomState, z0: Tensor, chosen: str, instead: str) -> None:
    """Refuse a field that drew some since `before`."""
    if not is_same_random_state(before, get_random_state(z0.device)):
        raise InvalidInput(
            f"the field draws random numbers (dropout?), which {chosen} cannot repeat in the backward pass: "
            f"use {instead}"
        )
