"""Solving with step control for every sample of a batch: its own error, step sizes and times.

What is solved for a sample does not depend on which others are in its batch, as far as the field does not mix them.
A sample that has reached the end time is evaluated no more, so that a solve costs what its samples take in sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config import SolverConfig
from pipeline.device.random_state import RandomState, get_random_state
from pipeline.methods import TABLEAUS
from pipeline.ode.control import StepSizeControl, end_of_step, estimated_dt, obstacle, probe
from pipeline.ode.field import VectorField
from pipeline.ode.gradients import refuse_second_derivatives, sum_of
from pipeline.ode.guard import warn_of_rounding
from pipeline.ode.solution import Attempt, SampleStatistics, Solution, SolverFailure, Statistics, Status, state_norm
from pipeline.ode.step import Norm, advance, error_ratio, tolerance
from pipeline.util.errors import InvalidInput

INSTEAD = "use solver.control=batch"


def solve_samples(
    vector_field: VectorField, z0: Tensor, t1: float, solver: SolverConfig, first_dt: float | None, implicit_zeros: int
) -> Solution:
    """z(t1), from which gradients flow through each sample's own accepted steps, evaluated again in the backward pass.

    Args:
        implicit_zeros: zeros that were left out of each sample's state; its error is averaged over them too.

    Raises:
        InvalidInput: a state without a batch, or a field to be differentiated whose steps cannot be repeated for some
            of the samples: one that draws random numbers or normalises over the batch.
        SolverFailure: names a sample; of several that fail at once, the one that had come least far.
    """
    if z0.dim() == 0:
        raise InvalidInput(f"solver.control=sample needs a state whose first dimension is the batch: {INSTEAD}")
    solve = _Solve(vector_field, t1, solver, partial(_norms, zeros=implicit_zeros))
    if torch.is_grad_enabled() and (z0.requires_grad or vector_field.parameters):
        state = _Checkpointed.apply(z0, solve, first_dt, *vector_field.parameters)
    else:
        with torch.no_grad():
            state = solve.run(z0, first_dt)
    warn_of_rounding(vector_field, solver, [(sample.slope, sample.attempts) for sample in solve.samples])
    return Solution(state, solve.statistics)


@dataclass
class _Sample:
    """How far one sample has come, and how it goes on.

    Attributes:
        index: in the batch.
        slope: size of dz/dt at t = 0 relative to what the tolerances allow.
    """

    index: int
    control: StepSizeControl
    t: float = 0.0
    slope: float = 0.0
    nfe: int = 0
    attempts: list[Attempt] = field(default_factory=list)

    def take(self, end: float, ratio: float) -> None:
        """Note a step that was tried, and go to its end where it is accepted."""
        dt = end - self.t
        accepted = self.control.accepts(dt, ratio)
        self.attempts.append(Attempt(self.t, dt, ratio, accepted))
        if accepted:
            self.t = end


@dataclass(frozen=True)
class _StepAttempt:
    """One step of every sample that is on its way, tried.

    Attributes:
        t, dt: shape (n, 1, …, 1).
        end: the states reached, shape (n, …).
        last: dz/dt there, if the method has evaluated it for its error.
        ratios: error ratios.
    """

    t: Tensor
    dt: Tensor
    ends: list[float]
    end: Tensor
    last: Tensor | None
    ratios: list[float]


@dataclass(frozen=True)
class _AcceptedSteps:
    """Of one trial, what its backward pass begins with.

    Attributes:
        indices: of the samples whose step was accepted, shape (n,).
        t, dt: shape (n, 1, …, 1).
        z: states before the step, shape (n, …).
    """

    indices: Tensor
    t: Tensor
    dt: Tensor
    z: Tensor


class _Solve:
    """One solve of a batch.

    Attributes:
        norms: size of each sample's error, shape (n,).
        samples: all of them, in the order of the batch.
        steps: in the order of the trials; none where no gradient is wanted.
    """

    def __init__(self, vector_field: VectorField, t1: float, solver: SolverConfig, norms: Norm) -> None:
        self.field = vector_field
        self.t1 = t1
        self.solver = solver
        self.tableau = TABLEAUS[solver.method]
        self.norms = norms
        self.statistics = Statistics(nfe_backward=0)
        self.samples: list[_Sample] = []
        self.steps: list[_AcceptedSteps] = []

    def run(self, z0: Tensor, first_dt: float | None, keeps_steps: bool = False) -> Tensor:
        """z(t1); in every trial the device is waited for, to read error ratios and to say which samples go on."""
        self.samples = [self._sample(index) for index in range(len(z0))]
        samples, z, state = self.samples, z0, torch.empty_like(z0)
        first = self._evaluate(samples, z)
        self._begin(z, first, first_dt)
        while samples:
            trial = self._try_step(samples, z, first)
            for sample, end, ratio in zip(samples, trial.ends, trial.ratios, strict=True):
                sample.take(end, ratio)
            accepted = _positions([sample.attempts[-1].accepted for sample in samples])
            if keeps_steps and accepted:
                indices = _indices([samples[k].index for k in accepted], z.device)
                t, dt, before = (_rows(tensor, accepted) for tensor in (trial.t, trial.dt, z))
                self.steps.append(_AcceptedSteps(indices, t, dt, before))
            z = _replaced(z, accepted, trial.end)
            if trial.last is not None:
                first = _replaced(first, accepted, trial.last)

            arrived = _positions([sample.t == self.t1 for sample in samples])
            if arrived:
                state[_indices([samples[k].index for k in arrived], z.device)] = _rows(z, arrived)
            staying = _positions([sample.t < self.t1 for sample in samples])
            samples, z, first = [samples[k] for k in staying], _rows(z, staying), _rows(first, staying)
            if trial.last is None:
                first = self._evaluate_again(samples, z, first)
        self._count_steps()
        return state

    def _sample(self, index: int) -> _Sample:
        return _Sample(index, StepSizeControl(0.0, self.tableau.error_order, self.solver.controller))

    def _evaluate(self, samples: Sequence[_Sample], z: Tensor, times: Sequence[float] | None = None) -> Tensor:
        """dz/dt of the samples where they are, or at other times."""
        self._count(samples, 1)
        return self.field(_column([sample.t for sample in samples] if times is None else times, z), z)

    def _count(self, samples: Sequence[_Sample], nfe: int) -> None:
        self.statistics.nfe_forward += nfe
        for sample in samples:
            sample.nfe += nfe

    def _begin(self, z: Tensor, first: Tensor, first_dt: float | None) -> None:
        """Choose every sample's first step, as `control.first_step` does for a whole batch."""
        scale = tolerance(z.abs(), self.solver.rtol, self.solver.atol)
        sizes, slopes = torch.stack([self.norms(z / scale), self.norms(first / scale)]).tolist()
        for sample, size, slope in zip(self.samples, sizes, slopes, strict=True):
            if not (isfinite(size) and isfinite(slope)):
                raise self._failure(sample, Status.DIVERGED, 0.0, z[sample.index])
            sample.slope = slope
        if first_dt is not None:
            for sample in self.samples:
                sample.control.dt = first_dt
            return
        trials = [probe(size, slope, self.t1) for size, slope in zip(sizes, slopes, strict=True)]
        second = self._evaluate(self.samples, torch.addcmul(z, first, _column(trials, z)), trials)
        changes = self.norms((second - first) / scale).tolist()
        for sample, trial, change in zip(self.samples, trials, changes, strict=True):
            sample.control.dt = estimated_dt(trial, sample.slope, change, self.tableau.error_order)

    def _try_step(self, samples: Sequence[_Sample], z: Tensor, first: Tensor) -> _StepAttempt:
        self._refuse_obstacles(samples, z)
        starts = [sample.t for sample in samples]
        ends = [end_of_step(sample.t, sample.control.dt, self.t1) for sample in samples]
        t, dt = _column(starts, z), _column([end - start for start, end in zip(starts, ends, strict=True)], z)
        state, error = advance(self.field, self.tableau, t, dt, z, first)
        last = None
        if self.tableau.first_same_as_last:
            last = self.field(_column(ends, z), state)
        self._count(samples, len(self.tableau.b) - 1)
        rtol, atol = self.solver.rtol, self.solver.atol
        ratios = error_ratio(self.tableau, dt, z, state, error, last, rtol, atol, self.norms)
        return _StepAttempt(t, dt, ends, state, last, ratios.tolist())

    def _evaluate_again(self, samples: Sequence[_Sample], z: Tensor, first: Tensor) -> Tensor:
        """dz/dt of all samples, evaluated for those that have moved."""
        moved = _positions([sample.attempts[-1].accepted for sample in samples])
        if not moved:
            return first
        evaluated = self._evaluate([samples[k] for k in moved], _rows(z, moved))
        return first.index_put((_indices(moved, z.device),), evaluated)

    def _refuse_obstacles(self, samples: Sequence[_Sample], z: Tensor) -> None:
        """Raise where a sample cannot go on."""
        found = [
            (sample, status, z[k])
            for k, sample in enumerate(samples)
            if (status := obstacle(sample.control.dt, self.t1, sample.attempts, self.solver.max_steps)) is not None
        ]
        if found:
            sample, status, state = min(found, key=lambda one: one[0].t)
            raise self._failure(sample, status, sample.control.dt if isfinite(sample.control.dt) else 0.0, state)

    def _failure(self, sample: _Sample, status: Status, dt: float, state: Tensor) -> SolverFailure:
        return SolverFailure(status, sample.t, dt, sample.nfe, state_norm(state), "forward", sample.index)

    def _count_steps(self) -> None:
        statistics = self.statistics
        statistics.samples = [SampleStatistics(sample.nfe, sample.attempts) for sample in self.samples]
        statistics.attempts = max((sample.attempts for sample in self.samples), key=len, default=[])
        attempts = [attempt for sample in self.samples for attempt in sample.attempts]
        statistics.accepted = sum(attempt.accepted for attempt in attempts)
        statistics.rejected = len(attempts) - statistics.accepted


class _Checkpointed(torch.autograd.Function):
    """Gradients of the accepted steps, at the sizes that they had; each is evaluated again, for its samples alone."""

    @staticmethod
    def forward(ctx: Any, z0: Tensor, solve: _Solve, first_dt: float | None, *parameters: Tensor) -> Tensor:  # noqa: ARG004
        if any(isinstance(module, _BatchNorm) and module.training for module in solve.field.module.modules()):
            raise InvalidInput(
                "the field normalises over its batch, which solver.control=sample takes apart: use "
                f"model.normalisation=group or none, or {INSTEAD.removeprefix('use ')}"
            )
        before = get_random_state(z0.device)
        state = solve.run(z0, first_dt, keeps_steps=True)
        if not _is_same(before, get_random_state(z0.device)):
            raise InvalidInput(
                "the field draws random numbers (dropout?), which solver.control=sample cannot repeat in the backward "
                f"pass: {INSTEAD}"
            )
        ctx.solve = solve
        return state

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        field, tableau, statistics = ctx.solve.field, ctx.solve.tableau, ctx.solve.statistics
        gradient = gradient.clone()
        sums: list[Tensor | None] = [None] * len(field.parameters)
        with field.buffers_kept():
            for steps in reversed(ctx.solve.steps):
                z = steps.z.detach().requires_grad_()
                with torch.enable_grad():
                    end, _ = advance(field, tableau, steps.t, steps.dt, z, field(steps.t, z))
                statistics.nfe_backward += tableau.advancing_stages
                by_state, *shares = torch.autograd.grad(
                    end, (z, *field.parameters), gradient[steps.indices], allow_unused=True
                )
                gradient[steps.indices] = by_state
                sums = [sum_of(total, share) for total, share in zip(sums, shares, strict=True)]
        return gradient, None, None, *sums


def _norms(z: Tensor, zeros: int) -> Tensor:
    """Root mean square of each sample, shape (n,), of which so many zeros were left out."""
    lengths: Tensor = torch.linalg.vector_norm(z.unsqueeze(-1), dim=tuple(range(1, z.dim() + 1)))
    return lengths.div((z.numel() / len(z) + zeros) ** 0.5)


def _column(values: Sequence[float], z: Tensor) -> Tensor:
    """A number for each sample of `z`, shape (n, 1, …, 1)."""
    return _moved(torch.tensor(values, dtype=z.dtype), z.device).view(-1, *[1] * (z.dim() - 1))


def _indices(positions: Sequence[int], device: torch.device) -> Tensor:
    return _moved(torch.tensor(positions, dtype=torch.int64), device)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, which is not waited for."""
    return tensor.to(device, non_blocking=True)


def _positions(flags: Sequence[bool]) -> list[int]:
    return [k for k, flag in enumerate(flags) if flag]


def _rows(tensor: Tensor, positions: Sequence[int]) -> Tensor:
    """Those rows of `tensor`, ascending; itself where that is all of them."""
    if len(positions) == len(tensor):
        return tensor
    return tensor[_indices(positions, tensor.device)]


def _replaced(tensor: Tensor, positions: Sequence[int], source: Tensor) -> Tensor:
    """`tensor` with those rows of `source`."""
    if len(positions) == len(tensor):
        return source
    taken = torch.zeros(len(tensor), dtype=torch.bool)
    taken[list(positions)] = True
    return torch.where(_moved(taken, tensor.device).view(-1, *[1] * (tensor.dim() - 1)), source, tensor)


def _is_same(before: RandomState, after: RandomState) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None)
