"""The loop: step after step to the end, each accepted or tried again, over a vector of times and step sizes.

One element of the vector is the whole batch, or with step control per sample one sample each: samples that have
arrived are evaluated no more, so that a solve costs what its samples take in sum, and what is solved for one does not
depend on the others, as far as the field does not mix them.
"""

from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ode.attempt import Beginning, StepAttempt
from pipeline.ode.control import (
    SHORTEST_FIRST,
    Floats,
    as_array,
    behind_a_cut,
    estimated_dt,
    probe,
    reached,
    shortest,
    sizes,
)
from pipeline.ode.events import EventSearch
from pipeline.ode.field import VectorField
from pipeline.ode.giving_up import refuse_what_cannot_go_on
from pipeline.ode.interpolant import Interpolant, Span
from pipeline.ode.memory import is_small
from pipeline.ode.outputs import Outputs
from pipeline.ode.path import NOTHING, Path, Snapshot
from pipeline.ode.problem import Outcome, Problem
from pipeline.ode.solution import Statistics, Trial
from pipeline.ode.stepping.several import Place, Steps, is_light
from pipeline.ode.times import Leg
from pipeline.ode.vector import Due, Indices, Vector, due_within, of_moved, to_device_of
from pipeline.ode.within import WithinStep

STEPS_A_CALL = 2
"""Where they are compiled and the state is small: asking the host after each costs more than a step for nothing."""


def solve(
    problem: Problem,
    z: Tensor,
    path: Path,
    statistics: Statistics,
    first: Tensor | None = None,
    before_first: Snapshot = NOTHING,
    interpolant: Interpolant | None = None,
) -> Outcome:
    """Solve the problem from `z`.

    A step that is not accepted leaves nothing behind. The device is waited for once a step, for its error ratio, and
    twice more to begin an adaptive solve.

    Args:
        path: told of every accepted step.
        statistics: counts of this pass, filled on the way.
        first: dz/dt at the start, where it was evaluated.
        before_first: a snapshot of before it was.
        interpolant: is given every accepted step.

    Raises:
        SolverFailure: step size underflow, step limit, equations that could not be solved, or a state or derivative
            that is not finite; with steps of their own it names a sample: of several that fail at once, the one that
            had come least far.
    """
    return _Solve(problem, path, statistics, before_first, interpolant).run(z, first)


class _Solve:
    """One solve: what it is at, and the functions that bring it forward.

    Attributes:
        z, first: state and slope of the elements of the vector.
        first_is_leaf: the slope is a beginning of the next step's graph, as the state is.
    """

    def __init__(
        self,
        problem: Problem,
        path: Path,
        statistics: Statistics,
        before_first: Snapshot,
        interpolant: Interpolant | None,
    ) -> None:
        self.problem = problem
        self.path = path
        self.statistics = statistics
        self.interpolant = interpolant
        self.roughness = 0.0
        self.search = None if problem.event is None else EventSearch(problem.event)
        self.event_time: float | None = None
        self.first_is_leaf = False
        self.before_first = before_first
        self.width = 1

    def run(self, z: Tensor, first: Tensor | None) -> Outcome:
        problem = self.problem
        self.width = len(z) if problem.per_sample else 1
        if problem.per_sample:
            self.statistics.nfe_of_samples = np.zeros(self.width, np.int64)
        self.outputs = Outputs(problem, z)
        self.z, index = z, np.arange(self.width)
        zeros, none = np.zeros(self.width), np.zeros(self.width, np.int64)
        self.vector = Vector(index, zeros + problem.t0, zeros, zeros + 1, none, none)
        if first is None:
            self._evaluate_anew()
        else:
            self.first = first
            self._count(1)
        self._choose_first_steps()
        for number, leg in enumerate(problem.legs):
            self.vector.t = zeros + leg.start
            if number and (leg.restarts or problem.change is not None):
                if problem.change is not None:
                    self.z = problem.change(number, self.z)
                self._evaluate_anew()
            self._run_leg(leg)
            if self.event_time is not None:
                break
            if leg.output is not None:
                self.outputs.add_end(leg.output, self.z)
                self.path.output(leg.output)
        return Outcome(self.z, self.outputs.all(), self.event_time, self.first.detach(), self.roughness)

    # What the elements of the vector are.

    def _column(self, values: Floats) -> Tensor:
        """Times or step sizes as the field takes them: a scalar, or shape (n, 1, …, 1)."""
        z = self.z
        if not self.problem.per_sample:
            # On the device of `z` and without waiting for it.
            return torch.full((), float(values[0]), dtype=z.dtype, device=z.device)
        column = torch.from_numpy(values).to(z.dtype)
        return column.to(z.device, non_blocking=True).view(-1, *[1] * (z.dim() - 1))

    def _field(self, index: Indices) -> VectorField:
        """The field for those samples of the batch."""
        if len(index) == self.width:
            return self.problem.field
        return self.problem.field.of_rows(to_device_of(self.z, index))

    def _count(self, nfe: int, index: Indices | None = None) -> None:
        self.statistics.nfe_forward += nfe
        if self.statistics.nfe_of_samples is not None:
            self.statistics.nfe_of_samples[self.vector.index if index is None else index] += nfe

    def _evaluate_anew(self) -> None:
        self.z = self.path.leaf(self.z)
        self.before_first = self.path.snapshot()
        with self.path.recording():
            self.first = self._evaluate(self.vector.t, self.z)
        self.first_is_leaf = False

    def _evaluate(self, t: Floats, z: Tensor, index: Indices | None = None) -> Tensor:
        """dz/dt of these samples, of all that are on their way without them."""
        index = self.vector.index if index is None else index
        self._count(1, index)
        return self.problem.method.evaluate(self._field(index), self._column(t), z)

    # The steps.

    def _refuse_what_cannot_go_on(self, shortest_dt: Floats) -> None:
        refuse_what_cannot_go_on(self.problem, self.statistics, self.vector, self.z, self.first, shortest_dt)

    @torch.no_grad()
    def _choose_first_steps(self) -> None:
        """Steps whose error would be about a hundredth of the tolerance, for one evaluation."""
        problem, vector, z = self.problem, self.vector, self.z
        if problem.equal_steps is not None:
            vector.dt = vector.dt + problem.span / problem.equal_steps
        else:
            assert problem.method.error_order is not None
            start = sizes(z, self.first, problem.tolerance)
            vector.dt = np.where(np.isfinite(start.state) & np.isfinite(start.slope), problem.first_dt or 1.0, np.nan)
            self._refuse_what_cannot_go_on(np.zeros(self.width))
            if problem.first_dt is None:
                trial = probe(start, problem.span)
                ahead = torch.addcmul(z, self.first, self._column(problem.sign * trial))
                second = self._evaluate(problem.t0 + problem.sign * trial, ahead)
                change = problem.tolerance.norm((second - self.first) / problem.tolerance.of(z.abs()))
                estimated = estimated_dt(trial, start.slope, as_array(change), problem.method.error_order)
                # Where the solve begins late, what is estimated for a flat field may be lost against the time.
                vector.dt = np.maximum(estimated, SHORTEST_FIRST * shortest(vector.t, problem.span))

    def _run_leg(self, leg: Leg) -> None:
        """To the leg's end, or to the event before it."""
        problem, start = self.problem, self.vector
        whole_z = whole_first = None
        while True:
            vector = self.vector
            self._refuse_what_cannot_go_on(shortest(vector.t, problem.span))
            if self._can_take_several() and self._take_several(leg):
                if self.vector.t[0] == leg.end:
                    return
                continue
            is_last = reached(vector.dt, np.abs(leg.end - vector.t))
            end = np.where(is_last, leg.end, vector.t + problem.sign * vector.dt)
            due = due_within(leg, vector.t, end, problem.sign)
            tried = self._try(end, keeps=len(due.outputs) > 0)
            accepted = self._decide(end, tried)
            if accepted.any():
                self._go_on(vector, end, accepted, due, tried)
            del tried  # with its graph, before the next one is built
            arrived = accepted & is_last
            if self.event_time is not None or (arrived.all() and len(arrived) == self.width):
                return
            if not arrived.any():
                continue
            # Some samples have arrived: they wait for the others.
            if whole_z is None or whole_first is None:
                whole = start.chosen(np.full(self.width, True))
                whole_z, whole_first = (
                    self.z.new_empty(shape := (self.width, *self.z.shape[1:])),
                    self.z.new_empty(shape),
                )
            here = to_device_of(self.z, np.flatnonzero(arrived))
            rows = to_device_of(self.z, self.vector.index[arrived])
            whole_z[rows], whole_first[rows] = self.z[here], self.first[here]
            for of_whole, of_some in zip(whole.arrays(), self.vector.arrays(), strict=True):
                of_whole[self.vector.index[arrived]] = of_some[arrived]
            if arrived.all():
                self.vector, self.z, self.first = whole, whole_z, whole_first
                return
            staying = to_device_of(self.z, np.flatnonzero(~arrived))
            self.vector = self.vector.chosen(~arrived)
            self.z, self.first = self.z[staying], self.first[staying]

    def _can_take_several(self) -> bool:
        """Whether steps are to be taken a few at a time, whose trials are then one graph."""
        problem = self.problem
        return (
            problem.method.several is not None
            and is_small(self.z)
            and is_light(problem.field, self.z)
            and not (
                problem.per_sample or self.path.records or self.interpolant is not None or problem.event is not None
            )
            and not problem.field.rounding
            and (problem.max_steps or 0) - self.vector.tries[0] >= STEPS_A_CALL
        )

    def _take_several(self, leg: Leg) -> bool:
        """A few steps, of which the host hears once; False where one was no number, and all of them count for nothing.

        What is not a number would spoil the gradients of the others, though nothing depends on it.
        """
        problem, vector, z = self.problem, self.vector, self.z
        assert problem.method.several is not None
        t, dt, previous = (to_device_of(z, values) for values in (vector.t, vector.dt, vector.previous))
        place = Place(z, self.first, t, dt, previous)
        end = torch.full((1,), leg.end, dtype=torch.float64, device=z.device)
        keeps = len(leg.times) > 0
        steps = problem.method.several.take(
            problem.field, problem.controller, problem.tolerance, place, end, STEPS_A_CALL, keeps
        )
        *table, remembered = as_array(steps.table)
        starts, ends, ratios, dts = np.array(table).reshape(4, STEPS_A_CALL)
        if not np.isfinite(ratios).all():
            return False
        taken = starts != leg.end
        accepted = taken & (ratios <= 1)
        if len(problem.legs) > 1:
            dts = behind_a_cut(accepted, np.abs(ends - starts), np.array([vector.dt[0], *dts[:-1]]), dts)
        for k in np.flatnonzero(taken):
            here = slice(k, k + 1)
            self.statistics.note(Trial(None, starts[here], (ends - starts)[here], ratios[here], accepted[here]))
        if self.statistics.proposed_dt is None and accepted.any():
            self.statistics.proposed_dt = float(dts[accepted][0])
        self._count((problem.method.nfe - 1) * int(taken.sum()))
        if keeps:
            self._take_outputs_of_several(leg, steps, starts, ends, accepted)
        last = np.flatnonzero(taken)[-1]
        t_reached = ends[last] if accepted[last] else starts[last]
        self.vector = Vector(
            vector.index,
            np.array([t_reached]),
            dts[last : last + 1],
            np.array([remembered]),
            np.zeros(1, np.int64),
            vector.tries + int(taken.sum()),
        )
        self.z, self.first = steps.z, steps.first
        self.path.reached(self.z)
        return True

    def _take_outputs_of_several(
        self, leg: Leg, steps: Steps, starts: Floats, ends: Floats, accepted: NDArray[np.bool_]
    ) -> None:
        begins, stages = steps.begins, steps.stages
        assert begins is not None
        assert stages is not None
        due = of_moved(due_within(leg, starts, ends, self.problem.sign), np.flatnonzero(accepted))
        if len(due.outputs):
            numbers = np.flatnonzero(accepted)[due.positions]
            lengths = torch.from_numpy((ends - starts)[numbers])
            several = self.problem.method.several
            assert several is not None
            self.outputs.add(several.between(torch.from_numpy(due.thetas), numbers, lengths, begins, stages))

    def _try(self, end: Floats, keeps: bool) -> StepAttempt:
        problem, method, path, vector = self.problem, self.problem.method, self.path, self.vector
        field = self._field(vector.index)
        keeps = keeps or problem.event is not None or self.interpolant is not None
        with path.recording():
            t, dt = self._column(vector.t), self._column(end - vector.t)
            before_stages = path.snapshot()
            step = method.advance(field, t, dt, self.z, self.first, problem.tolerance, keeps)
            self._count(step.nfe)
            # Where the solution within the step is wanted, its graph needs dz/dt at its end.
            leaf = step.end if keeps else path.leaf(step.end)
            before_last, last = path.snapshot(), None
            if method.evaluates_end:
                # At the end time it serves the error alone.
                serves_error = not keeps and not problem.per_sample and end[0] == problem.legs[-1].end
                with torch.no_grad() if serves_error else nullcontext():
                    last = self._evaluate(end, leaf)
        return StepAttempt(t, dt, step, leaf, last, keeps, before_stages, before_last)

    def _decide(self, end: Floats, tried: StepAttempt) -> NDArray[np.bool_]:
        """Which of the steps count; how long the next are."""
        problem, vector = self.problem, self.vector
        ratio = self._error_ratio(tried)
        step = np.abs(end - vector.t)
        decision = problem.controller.decide(np, step, ratio, vector.previous)
        accepted: NDArray[np.bool_] = decision.accepted
        index = vector.index if problem.per_sample else None
        self.statistics.note(Trial(index, vector.t, end - vector.t, ratio, accepted))
        dt = decision.dt
        if problem.equal_steps is not None:
            dt = np.where(accepted, vector.dt, np.nan)
        elif len(problem.legs) > 1:
            dt = behind_a_cut(accepted, step, vector.dt, dt)
        if self.statistics.proposed_dt is None and accepted.any():
            self.statistics.proposed_dt = float(dt[accepted][0])
        cuts = np.where(np.isfinite(ratio), 0, vector.cuts + 1)
        t = np.where(accepted, end, vector.t)
        self.vector = Vector(vector.index, t, dt, decision.previous, cuts, vector.tries + 1, tried.step.converged)
        return accepted

    def _error_ratio(self, tried: StepAttempt) -> Floats:
        """Of each step; the one time that the device is waited for."""
        problem, z = self.problem, self.z
        ratio = problem.method.error_ratio(tried.step, tried.dt, z, tried.last, problem.tolerance)
        if not problem.field.rounding:
            return as_array(ratio)
        with torch.no_grad():
            change = problem.tolerance.norm(tried.dt * self.first / problem.tolerance.of(z.abs()))
        ratios: Floats
        ratios, changes = as_array(torch.stack([ratio, change]))
        self.roughness = max(self.roughness, float(changes[ratios <= 1].max(initial=0.0)))
        return ratios

    def _go_on(self, vector: Vector, end: Floats, accepted: NDArray[np.bool_], due: Due, tried: StepAttempt) -> None:
        """From the ends of the accepted steps.

        Args:
            vector: as the steps began.
        """
        moved = np.flatnonzero(accepted)
        leaf, last, snapshot = tried.leaf, tried.last, tried.before_last
        all_moved = len(moved) == len(accepted)
        first = last
        if last is None:
            first, leaf = self._evaluate_at_ends(vector, end, moved, leaf, tried.keeps)
        assert first is not None
        within = WithinStep(self.problem, self.path, tried, self.z, self.first, first, self._count)
        event_theta = self._look_for_event(vector, end, within)
        if event_theta is not None:
            self.event_time = float(vector.t[0] + event_theta * (end[0] - vector.t[0]))
            due = due.chosen(self.problem.sign * due.times < self.problem.sign * self.event_time)
            happened = (0, -1, self.event_time, event_theta)
            due = Due(*(np.append(values, value) for values, value in zip(due, happened, strict=True)))
        due = of_moved(due, moved)
        outputs = self._states_at(due, moved, within)
        if self.path.records:
            beginning = Beginning(self.z, self.first if self.first_is_leaf else None, self.before_first)
            rows = to_device_of(self.z, vector.index[moved]) if self.problem.per_sample else None
            self.path.extend(tried.segment(beginning, self._column(end), first, due, outputs, moved, rows))
        if self.interpolant is not None:
            self.interpolant.add(Span(float(vector.t[0]), float(end[0]), tried.dt, self.z, within.stages))
            self.interpolant.end = self.interpolant.end if self.event_time is None else self.event_time
        if outputs is not None and self.problem.per_sample:
            self.outputs.add_pairs(outputs, due, vector.index[moved[due.positions]])
        elif outputs is not None:
            self.outputs.add(outputs if self.event_time is None else outputs[:-1])
        if self.event_time is not None:
            assert outputs is not None
            self.z = outputs[-1]
            return
        self.first_is_leaf = tried.keeps and self.path.records and not self.problem.per_sample
        if self.first_is_leaf:
            leaf, first = self.path.leaf(leaf), self.path.leaf(first)
        if all_moved:
            self.z, self.first = leaf, first
        else:
            mask = to_device_of(self.z, accepted).view(-1, *[1] * (self.z.dim() - 1))
            self.z, self.first = torch.where(mask, leaf, self.z), torch.where(mask, first, self.first)
        self.before_first = snapshot
        self.path.reached(self.z)

    def _evaluate_at_ends(
        self, vector: Vector, end: Floats, moved: Indices, leaf: Tensor, keeps: bool
    ) -> tuple[Tensor, Tensor]:
        """dz/dt at the ends of the accepted steps, where it is needed and the method has not evaluated it."""
        is_over = (end[moved] == self.problem.legs[-1].end) & (not keeps)
        if is_over.all():
            return self.first, leaf
        with self.path.recording():
            if len(moved) == len(end) and not is_over.any():
                return self._evaluate(end, leaf, vector.index), leaf
            going_on = moved[~is_over]
            rows = to_device_of(leaf, going_on)
            slopes = self._evaluate(end[going_on], leaf[rows], vector.index[going_on])
            return self.first.index_put((rows,), slopes), leaf

    def _look_for_event(self, vector: Vector, end: Floats, within: WithinStep) -> float | None:
        """Where in the step an event happens, as a fraction of it."""
        if self.search is None:
            return None
        states = within.z, within.first, within.tried.step.end
        return self.search.within(float(vector.t[0]), float(end[0]), *states, within.looked_at)

    def _states_at(self, due: Due, moved: Indices, within: WithinStep) -> Tensor | None:
        """The states at the times that were asked for, shape (times, *state), or (pairs, …) of some samples."""
        if not len(due.outputs):
            return None
        thetas = torch.from_numpy(due.thetas)
        if not self.problem.per_sample:
            return within.states(thetas)
        positions = moved[due.positions]
        return within.states_of_samples(thetas, positions, self.vector.index[positions])
