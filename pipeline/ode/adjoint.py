"""Gradients from the adjoint ODE, solved backwards from the end: optimise, then discretise.

Source: Chen et al. 2018, section 2 and appendices B and C.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from pipeline.device.random_state import get_random_state
from pipeline.ode.discrete import refuse_random_numbers, sum_of
from pipeline.ode.field import VectorField
from pipeline.ode.inference_mode import ordinary, outside_inference
from pipeline.ode.loop import solve
from pipeline.ode.once import refuse_second_derivatives
from pipeline.ode.path import Path
from pipeline.ode.problem import Outcome, Problem
from pipeline.ode.pullback import hooks_muted, pullback
from pipeline.ode.solution import AdjointFailure, SolverFailure, Statistics, Status
from pipeline.ode.start import Start, refuse_unknown
from pipeline.ode.state import Layout
from pipeline.ode.times import legs
from pipeline.ode.tolerance import PackedNorm, Tolerance
from pipeline.util.errors import InvalidInput, OdenetError
from pipeline.util.user_warnings import OdenetWarning

NOTICEABLE_MISS = 1000.0
"""So many times what the tolerances allow may the state come back away from what it was, unwarned: at 1e-6 a gradient
is then wrong in its third digit, if it is as wrong as the state."""
ROUNDINGS = 1000
"""So many roundings of the state's number format may it be away, whatever the tolerances ask for."""
NOTICEABLE_OF_EQUAL_STEPS = 0.05
"""Relative distance from which the same is said of a method of equal steps, whose errors no tolerance bounds."""
NOT_THE_SAME_STATE = 1.0
"""Relative distance from which the state that comes back has nothing in common with what it was."""


SMALL_GRADIENTS = (
    "the gradients that come into the adjoint are smaller than its absolute tolerance of {atol:g}, which so does not "
    "bound their errors: choose a smaller adjoint_atol, or gradient=auto, which differentiates the steps"
)
"""They are not scaled: a tolerance would no longer mean what it does in the papers, nor evaluations be theirs."""


class AdjointWarning(OdenetWarning):
    """The backward solve did not find the way back to the states of the forward solve."""


@dataclass
class _Call:
    """What an adjoint solve needs beside the tensors that gradients reach.

    Attributes:
        times: of the solve, the start and the end among them.
        knots: where the field jumps.
        tolerance: of the backward solve; its norm is that of the state.
        sizes: that the state came to in the forward solve.
    """

    problem: Problem
    began: Start
    times: Sequence[float]
    knots: Sequence[float]
    tolerance: Tolerance
    statistics: Statistics
    outcome: Outcome | None = None
    sizes: "_Sizes | None" = None


class _Sizes(Path):
    """Remembers how large the state became.

    Attributes:
        largest: the largest size of each of its elements.
        length: its largest norm.
    """

    def __init__(self, z0: Tensor) -> None:
        self.largest, self.length = z0.detach().abs(), z0.detach().norm()

    def reached(self, z: Tensor) -> None:
        self.largest = torch.maximum(self.largest, z.detach().abs())
        self.length = torch.maximum(self.length, z.detach().norm())


def solve_with_adjoint(
    problem: Problem,
    began: Start,
    times: Sequence[float],
    knots: Sequence[float],
    tolerance: Tolerance,
    statistics: Statistics,
) -> Outcome:
    """The solution, from which gradients flow to the state and to the field's parameters through the adjoint ODE.

    It is solved back in one sweep, with a jump at every time that was asked for, where the state is set to what it was.
    """
    call = _Call(problem, began, times, knots, tolerance, statistics)
    end, between = _Adjoint.apply(began.origin, call, *began.field.origins)
    assert call.outcome is not None
    outcome, call.outcome = replace(call.outcome, end=end, between=between), None
    return outcome


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z0: Tensor, call: _Call, *parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        generators, random = call.problem.field.generators(), get_random_state(z0.device)
        call.sizes = _Sizes(z0)
        outcome = solve(call.problem, z0, call.sizes, call.statistics, call.began.first.detach())
        call.sizes.reached(outcome.end)
        refuse_random_numbers(random, z0, "gradient=adjoint", "gradient=auto")
        if any(not torch.equal(generator.get_state(), before) for generator, before in generators):
            raise InvalidInput(
                "the field draws random numbers from a generator of its own, which the backward solve of "
                "gradient=adjoint cannot draw again: use gradient=direct"
            )
        call.outcome = outcome
        if outcome.event_time is not None:
            passed = 1 if outcome.between is None else 1 + len(outcome.between)
            call.times = [*call.times[:passed], outcome.event_time]
        ctx.set_materialize_grads(False)
        ctx.call = call
        states = [outcome.end] if outcome.between is None else [outcome.end, outcome.between]
        ctx.save_for_backward(z0, *states, *parameters)
        ctx.has_between = outcome.between is not None
        # Not what is saved, which a layer behind the solve may change in place.
        return outcome.end.clone(), None if outcome.between is None else outcome.between.clone()

    @staticmethod
    def backward(ctx: Any, by_end: Tensor | None, by_between: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives("this solve", ": use gradient=direct")
        _refuse_several_vectors((by_end, by_between))
        z0, end, *rest = ctx.saved_tensors
        between = rest[0] if ctx.has_between else None
        call: _Call = ctx.call
        parameters = call.began.field.parameters  # not those that were saved, in whose place hooks may hand back others
        field = call.began.field.as_in_forward()
        states = [z0, *(between if between is not None else ()), end]
        with outside_inference(), field.buffers_kept(), hooks_muted(field.parameters):
            flows = [*([None] * (len(states) - 2) if by_between is None else by_between), by_end]
            flows = [None if flow is None else ordinary(flow) for flow in flows]
            by_state, by_parameters = _Sweep(call, field, parameters, states, flows).run()
        return by_state, None, *by_parameters


def _refuse_several_vectors(flows: Sequence[Tensor | None]) -> None:
    """Of which each would have a backward solve of its own."""
    functorch = torch._C._functorch
    given = [flow for flow in flows if flow is not None]
    if any(functorch.is_legacy_batchedtensor(flow) or functorch.is_batchedtensor(flow) for flow in given):
        raise OdenetError(
            "gradient=adjoint solves back for one vector, and not for several at once (is_grads_batched=True, vmap): "
            "use gradient=auto"
        )


class _Sweep:
    """The backward solve of (z, a, g), the state, its adjoint and the parameters' gradients, as one flat vector.

    d(z, a, g)/dt = (f, -a ∂f/∂z, -a ∂f/∂parameters).

    Attributes:
        times, states: of the solve, one of each for an event that happened at once.
        flows: gradients that come in at each time behind the start, None where none does.
    """

    def __init__(
        self,
        call: _Call,
        field: VectorField,
        parameters: Sequence[Tensor],
        states: Sequence[Tensor],
        flows: Sequence[Tensor | None],
    ) -> None:
        self.call = call
        self.field = field
        self.parameters = parameters
        self.times = call.times
        if self.times[-1] == self.times[-2]:
            # An event that happened at once: nothing is solved back from it.
            self.times, states = self.times[:-1], states[:-1]
            flows = [*flows[:-2], sum_of(flows[-2] if len(flows) > 1 else None, flows[-1])]
        self.states = states
        self.shape, self.size = states[0].shape, states[0].numel()
        sizes = [call.tolerance.norm(flow.detach()).max() for flow in flows if flow is not None]
        largest = float(torch.stack(sizes).max()) if sizes else 0.0
        if 0 < largest < call.tolerance.atol:
            warnings.warn(SMALL_GRADIENTS.format(atol=call.tolerance.atol), AdjointWarning, stacklevel=2)
        self.flows = [None if flow is None else flow.flatten() for flow in flows]
        legs_back = legs(self.times[::-1], call.knots, True, states[0].dtype) if len(self.times) > 1 else []
        self.reached = [None if leg.output is None else len(self.times) - 2 - leg.output for leg in legs_back]
        self.legs = [replace(leg, output=None) for leg in legs_back]

    def run(self) -> tuple[Tensor, list[Tensor]]:
        """The gradients of the start and of the parameters."""
        statistics = Statistics()
        begin = self._flat(self.states[-1], self._flow(-1))
        try:
            solved = solve(self._problem(begin), begin, Path(), statistics).end if self.legs else begin
        except SolverFailure as failure:
            self.call.statistics.status = failure.status
            raise
        finally:
            counted = self.call.statistics
            counted.nfe_backward = (counted.nfe_backward or 0) + statistics.nfe_forward
        z, by_state, by_parameters = solved.split([self.size, self.size, solved.numel() - 2 * self.size])
        self._compare(z, 0)
        shares = by_parameters.split([_real_numbers(p) for p in self.parameters])
        shaped = [_shaped_as(share, p) for share, p in zip(shares, self.parameters, strict=True)]
        return by_state.view(self.shape), shaped

    def _problem(self, begin: Tensor) -> Problem:
        # Not kept by this object, to which it refers: both would live until Python looks for such rings.
        return replace(
            self.call.problem,
            field=VectorField(self._derivative, Layout(begin, per_sample=False), begin.device),
            tolerance=replace(self.call.tolerance, norm=self._seminorm(self.call.tolerance.norm)),
            legs=self.legs,
            first_dt=None,
            direction="backward",
            event=None,
            change=self._jump,
        )

    def _flow(self, number: int) -> Tensor:
        flow = self.flows[number]
        return torch.zeros_like(self.states[-1]).flatten() if flow is None else flow

    def _flat(self, z: Tensor, adjoint: Tensor) -> Tensor:
        nothing = z.new_zeros(sum(map(_real_numbers, self.parameters)))
        return torch.cat([z.detach().flatten(), adjoint, nothing])

    def _derivative(self, t: Tensor, flat: Tensor) -> Tensor:
        z = flat[: self.size].view(self.shape).detach().requires_grad_()
        adjoint = flat[self.size : 2 * self.size].view(self.shape)
        with torch.enable_grad():
            slope = self.field(t, z)
        inputs = (z, *self.parameters)
        if not slope.requires_grad:
            return torch.cat([slope.flatten(), flat.new_zeros(flat.numel() - self.size)])
        refuse_unknown([slope], inputs)
        found = pullback([slope], [-adjoint], inputs)
        shares = [torch.zeros_like(one) if share is None else share for one, share in zip(inputs, found, strict=True)]
        return torch.cat([slope.detach().flatten(), *(_reals(share).to(flat.dtype).flatten() for share in shares)])

    def _jump(self, leg: int, flat: Tensor) -> Tensor:
        """At the end of the leg before: the gradient of the state there comes in."""
        number = self.reached[leg - 1]
        if number is None:
            return flat
        self._compare(flat[: self.size], number)
        adjoint = flat[self.size : 2 * self.size] + self._flow(number - 1)
        return torch.cat([self.states[number].detach().flatten(), adjoint, flat[2 * self.size :]])

    def _compare(self, z: Tensor, number: int) -> None:
        """Say so where the state came back as another, and refuse what is nothing like it.

        What it is off by is measured against the largest state of the solve: its own may be 0, as where a solve begins.
        """
        difference = z.view(self.shape) - self.states[number].detach()
        tolerance, sizes = self.call.tolerance, self.call.sizes
        assert sizes is not None
        relative = float(difference.norm() / sizes.length)
        has_equal_steps = self.call.problem.method.error_order is None
        if has_equal_steps:
            is_close = float(difference.norm()) <= NOTICEABLE_OF_EQUAL_STEPS * float(sizes.length)
        else:
            missed = float(tolerance.norm(difference / tolerance.of(sizes.largest)).max())
            is_close = missed <= NOTICEABLE_MISS or relative <= ROUNDINGS * torch.finfo(z.dtype).eps
        if is_close:
            return
        time = self.times[number]
        sentence = (
            f"the backward solve of the adjoint came back to a state at t = {time:g} that is off by {relative:.2g} of "
            "its size, so that the gradient is wrong: backwards the ODE is unstable, or its field is not what it was; "
            "use gradient=auto, direct or checkpointed, which differentiate the steps, or "
            f"{'more steps' if has_equal_steps else 'smaller tolerances'}"
        )
        # Equal steps may be as coarse as somebody wants them; that the gradient is, too, is said.
        is_lost = not isfinite(float(difference.norm())) if has_equal_steps else not relative < NOT_THE_SAME_STATE
        if is_lost:
            self.call.statistics.status = Status.DIVERGED
            raise AdjointFailure(sentence)
        warnings.warn(sentence, AdjointWarning, stacklevel=2)

    def _seminorm(self, norm: PackedNorm) -> PackedNorm:
        """The larger of the sizes of the state and of its adjoint.

        They decide about the steps; the parameters' gradients, which nothing depends on, do not, as long as they are
        finite.

        Source: Kidger, Chen & Lyons 2021, "Hey, that's not an ODE": Faster ODE Adjoints via Seminorms.
        """

        def seminorm(flat: Tensor) -> Tensor:
            z, adjoint = (part.view(self.shape) for part in (flat[: self.size], flat[self.size : 2 * self.size]))
            # What is no number reaches the norm, which may be one of several processes, through what is measured.
            return torch.maximum(norm(z), norm(adjoint + 0 * flat[2 * self.size :].sum()))

        return seminorm


def _real_numbers(parameter: Tensor) -> int:
    """How many it is made of; a complex number of two."""
    return parameter.numel() * (2 if parameter.is_complex() else 1)


def _reals(gradient: Tensor) -> Tensor:
    return torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient


def _shaped_as(reals: Tensor, parameter: Tensor) -> Tensor:
    if parameter.is_complex():
        return torch.view_as_complex(reals.view(*parameter.shape, 2)).to(parameter.dtype)
    return reals.view_as(parameter).to(parameter.dtype)
