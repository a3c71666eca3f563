"""What a solve returns, and what it raises when it cannot go on."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ode.control import Floats
from pipeline.ode.interpolant import Interpolant
from pipeline.ode.state import Layout, State
from pipeline.util.errors import InvalidInput, OdenetError


class Status(StrEnum):
    """How a solve ended."""

    COMPLETED = "completed"
    UNDERFLOW = "underflow"
    STEP_LIMIT = "step_limit"
    DIVERGED = "diverged"
    NOT_CONVERGED = "not_converged"


@dataclass(frozen=True)
class Attempt:
    """One step that was tried."""

    t: float
    """Where it began."""
    dt: float
    error_ratio: float
    """Its estimated error, 1 being what the tolerances allow; 0 for the fixed-step methods, which do not estimate it,
    and no number where the state or a stage was not finite."""
    accepted: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values; None for an error ratio that is no number."""
        return asdict(self) | {"error_ratio": self.error_ratio if isfinite(self.error_ratio) else None}


@dataclass(frozen=True)
class SampleStatistics:
    """What one sample of a batch took where it had steps of its own."""

    nfe: int
    """Evaluations of the field that it took part in."""
    attempts: list[Attempt]
    """Its steps in their order, accepted or not."""


@dataclass(frozen=True)
class Trial:
    """One step of every sample that was on its way, or of all of them together, tried.

    Attributes:
        samples: their indices in the batch; None where all of it has one step.
        t, dt, error_ratio, accepted: as of an Attempt, one for each of them.
    """

    samples: NDArray[np.int64] | None
    t: Floats
    dt: Floats
    error_ratio: Floats
    accepted: NDArray[np.bool_]

    def attempt(self, position: int = 0) -> Attempt:
        """That of one of them."""
        t, dt, ratio = (float(values[position]) for values in (self.t, self.dt, self.error_ratio))
        return Attempt(t, dt, ratio, bool(self.accepted[position]))


@dataclass
class Statistics:
    """Counts of one solve. The backward ones grow when gradients are asked for, after the solve returned."""

    nfe_forward: int = 0
    """Evaluations of the field on the way to z(T): calls of it, each for the whole batch or, where samples have steps
    of their own, for those that are still on their way."""
    nfe_backward: int | None = None
    """Evaluations in the backward pass; None where it makes none of its own (`direct`, or `auto` while all fits)."""
    accepted: int = 0
    """Accepted steps of the forward solve, where samples have their own the sum of theirs; for the fixed-step methods,
    all of them."""
    rejected: int = 0
    trials: list[Trial] = field(default_factory=list)
    """The forward solve's, in their order; none with torchdiffeq."""
    nfe_of_samples: NDArray[np.int64] | None = None
    """Evaluations that each sample took part in, where samples have steps of their own."""
    proposed_dt: float | None = None
    """Length of the step that the first accepted one led to: what a solve like this one would begin with."""
    status: Status = Status.COMPLETED

    def note(self, trial: Trial) -> None:
        """Count a trial."""
        self.trials.append(trial)
        accepted = int(trial.accepted.sum())
        self.accepted += accepted
        self.rejected += len(trial.accepted) - accepted

    @property
    def attempts(self) -> list[Attempt]:
        """The steps in their order, accepted or not, where samples have their own those of the sample with the most."""
        if self.nfe_of_samples is None:
            return [trial.attempt() for trial in self.trials]
        own = [(trial, trial.samples) for trial in self.trials if trial.samples is not None]
        if not own:
            return []
        most = np.bincount(np.concatenate([samples for _, samples in own])).argmax()
        return [trial.attempt(int(at)) for trial, samples in own for at in np.flatnonzero(samples == most)]

    @property
    def samples(self) -> list[SampleStatistics]:
        """One for each sample of the batch with `control=sample`, none otherwise."""
        if self.nfe_of_samples is None:
            return []
        attempts: list[list[Attempt]] = [[] for _ in self.nfe_of_samples]
        for trial in self.trials:
            for position, sample in enumerate(trial.samples if trial.samples is not None else ()):
                attempts[sample].append(trial.attempt(position))
        return [SampleStatistics(int(nfe), tried) for nfe, tried in zip(self.nfe_of_samples, attempts, strict=True)]

    def largest_error_ratio(self) -> float:
        """Of the accepted steps; 0 where none estimated its error."""
        return max((float(trial.error_ratio[trial.accepted].max(initial=0.0)) for trial in self.trials), default=0.0)


class Solution:
    """The states at the times of a solve, and its statistics.

    Attributes:
        times: that were asked for, the start among them; after an event, that of the event is the last.
        state: at the last time, of the shape and dtype of the start.
        statistics: counts, steps, and how it ended.
        interpolant: the solution at any time between, where it was asked for (`dense`).
        event_time: when the event happened, in float64, with its gradient; None where none did.
    """

    def __init__(
        self,
        times: Tensor,
        layout: Layout,
        packed: tuple[Tensor, Tensor | None, Tensor],
        statistics: Statistics,
        interpolant: Interpolant | None = None,
        event_time: Tensor | None = None,
    ) -> None:
        self.times = times
        self.statistics = statistics
        self.interpolant = interpolant
        self.event_time = event_time
        self._layout = layout
        self._start, self._between, self._end = packed
        self._version_of_start = _version(self._start)

    def __getstate__(self) -> dict[str, Any]:
        """Of a copy, in which torch counts anew how often the start was changed: with how often it was since."""
        return {**vars(self), "_version_of_start": _version(self._start) - self._version_of_start}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._version_of_start = _version(self._start) - self._version_of_start

    @property
    def state(self) -> State:
        return self._layout.unpack(self._end)

    @property
    def states(self) -> State:
        """At all times, the start among them, with a dimension for the times in front.

        Raises:
            InvalidInput: the state that the solve began with was changed in place since.
        """
        if _version(self._start) != self._version_of_start:
            raise InvalidInput(
                "the state that the solve began with was changed in place since, and is one of the states that are "
                "asked for: ask for them before, or solve from z0.clone()"
            )
        between = [] if self._between is None else [self._between]
        return self._layout.unpack(torch.cat([self._start.unsqueeze(0), *between, self._end.unsqueeze(0)]))


def _version(tensor: Tensor) -> int:
    """How often it was changed in place, as far as torch counts."""
    return 0 if tensor.is_inference() else tensor._version


def state_norm(z: Tensor) -> float:
    """Root mean square of a state, in double precision, where the squares of a large float32 state do not overflow."""
    return float(z.detach().double().square().mean().sqrt())


_WHAT_HAPPENED = {
    Status.UNDERFLOW: "the step size underflowed",
    Status.STEP_LIMIT: "the step limit was reached",
    Status.DIVERGED: "the state or its derivative became non-finite",
    Status.NOT_CONVERGED: "the equations of an implicit step could not be solved",
}
_WHAT_HELPS = {
    Status.UNDERFLOW: "looser rtol and atol, float64, or knots at the times where the field jumps",
    Status.STEP_LIMIT: "looser rtol and atol, a larger max_steps, or for a stiff field method=kvaerno3",
    Status.DIVERGED: "a look at the state and the field at this time, or more steps of a fixed-step method",
    Status.NOT_CONVERGED: "a smoother field, or float64",
}


class SolverFailure(OdenetError):
    """A solve that could not reach its end time.

    Attributes:
        status: `underflow`, `step_limit`, `diverged` or `not_converged`.
        t: time that the solve had reached.
        dt: size of the step that it was about to take.
        nfe: evaluations of the field so far, in this pass.
        state_norm: root mean square of the state at `t`, in the backward pass of the state and its adjoint,
            at its end of the gradients; zeros that were left out do not count; may be non-finite.
        direction: the pass that failed.
        sample: index in its batch of the sample that failed, where samples have steps of their own; `nfe` and
            `state_norm` are then its own.
        number_format: in which the field was computed, where its rounding is larger than the tolerances; else empty.
    """

    def __init__(
        self,
        status: Status,
        t: float,
        dt: float,
        nfe: int,
        state_norm: float,
        direction: Literal["forward", "backward"],
        sample: int | None = None,
        number_format: str = "",
    ) -> None:
        super().__init__(status, t, dt, nfe, state_norm, direction, sample, number_format)
        self.status = status
        self.t = t
        self.dt = dt
        self.nfe = nfe
        self.state_norm = state_norm
        self.direction = direction
        self.sample = sample
        self.number_format = number_format

    def __str__(self) -> str:
        whose = "" if self.sample is None else f" of sample {self.sample} of the batch"
        return (
            f"the {self.direction} solve{whose} failed at t = {self.t:.4g}: {_WHAT_HAPPENED[self.status]} "
            f"(dt = {self.dt:.3g}, {self.nfe} evaluations, state norm {self.state_norm:.4g}); "
            f"what helps: {self._remedy()}"
        )

    def _remedy(self) -> str:
        remedy = _WHAT_HELPS[self.status]
        if self.number_format:
            return (
                f"float32 instead of {self.number_format} in the field, whose rounding is above rtol and atol; {remedy}"
            )
        return remedy

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for the run's record."""
        return {
            "status": str(self.status),
            "t": self.t,
            "dt": self.dt,
            "evaluations": self.nfe,
            "state_norm": self.state_norm,
            "direction": self.direction,
            **({} if self.sample is None else {"sample": self.sample}),
        }


class AdjointFailure(OdenetError):
    """A backward solve of the adjoint that came back to another state."""
