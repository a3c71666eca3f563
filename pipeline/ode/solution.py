"""What a solve returns, and what it raises when it cannot go on."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any, Literal

from torch import Tensor

from pipeline.util.errors import OdenetError


class Status(StrEnum):
    """How a solve ended."""

    COMPLETED = "completed"
    UNDERFLOW = "underflow"
    STEP_LIMIT = "step_limit"
    DIVERGED = "diverged"


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
    attempts: list[Attempt] = field(default_factory=list)
    """The forward solve's steps in their order, accepted or not, where samples have their own those of the sample with
    the most; none with torchdiffeq."""
    samples: list[SampleStatistics] = field(default_factory=list)
    """One for each sample of the batch with `solver.control=sample`, none otherwise."""
    proposed_dt: float | None = None
    """Step size that the first accepted step led to: what a solve like this one would begin with."""
    status: Status = Status.COMPLETED

    def largest_error_ratio(self) -> float:
        """Of the accepted steps; 0 where none estimated its error."""
        solves = [sample.attempts for sample in self.samples] or [self.attempts]
        return max((attempt.error_ratio for solve in solves for attempt in solve if attempt.accepted), default=0.0)


@dataclass(frozen=True)
class Solution:
    """z(T), of the shape and dtype of z(0), and the statistics of the solve."""

    state: Tensor
    statistics: Statistics


def state_norm(z: Tensor) -> float:
    """Root mean square of a state, in double precision, where the squares of a large float32 state do not overflow."""
    return float(z.detach().double().square().mean().sqrt())


_WHAT_HAPPENED = {
    Status.UNDERFLOW: "the step size underflowed",
    Status.STEP_LIMIT: "the step limit was reached",
    Status.DIVERGED: "the state or its derivative became non-finite",
}
REMEDIES = (
    "group instead of batch normalisation in the block (model.normalisation=group), a smaller training.lr, "
    "a looser solver.rtol and solver.atol, or more augmented dimensions (model.augment)"
)
"""What helped: Bijsterbosch 2020, chapter 7; Dupont et al. 2019 for the augmentation."""


class SolverFailure(OdenetError):
    """A solve that could not reach its end time.

    Attributes:
        status: `underflow`, `step_limit` or `diverged`.
        t: time that the solve had reached.
        dt: size of the step that it was about to take.
        nfe: evaluations of the field so far, in this pass.
        state_norm: root mean square of the state at `t`, in the backward pass of the state and its adjoint,
            at its end of the gradients; zeros that were left out do not count; may be non-finite.
        direction: the pass that failed.
        sample: index in its batch of the sample that failed, where samples have steps of their own; `nfe` and
            `state_norm` are then its own.
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
    ) -> None:
        super().__init__(status, t, dt, nfe, state_norm, direction, sample)
        self.status = status
        self.t = t
        self.dt = dt
        self.nfe = nfe
        self.state_norm = state_norm
        self.direction = direction
        self.sample = sample

    def __str__(self) -> str:
        whose = "" if self.sample is None else f" of sample {self.sample} of the batch"
        return (
            f"the {self.direction} solve{whose} failed at t = {self.t:.4g}: {_WHAT_HAPPENED[self.status]} "
            f"(dt = {self.dt:.3g}, {self.nfe} evaluations, state norm {self.state_norm:.4g}); "
            f"what helps: {REMEDIES}"
        )

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
