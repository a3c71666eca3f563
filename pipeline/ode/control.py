"""How long the next step is.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, sections II.4 (step size, first step)
and *II*, section IV.2 (the proportional-integral controller of Gustafsson 1991).
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.ode.solution import Attempt, Status
from pipeline.ode.step import Norm, tolerance

SAFETY = 0.9
LARGEST_GROWTH = 10.0
LARGEST_CUT = 0.2
REACH = 1.01
"""A step that would leave less than a hundredth of itself goes to the end: no sliver is left over."""


@dataclass
class StepSizeControl:
    """Grows and shrinks the step so that the error ratio stays below 1.

    Attributes:
        dt: size of the next step.
        error_order: of the embedded solution.
        kind: `i` looks at the last error ratio alone, `pi` at the one before it too, for smoother steps.
    """

    dt: float
    error_order: int
    kind: Literal["i", "pi"]
    _previous_ratio: float = 1.0

    def accepts(self, dt: float, ratio: float) -> bool:
        """Whether a step of size `dt` with this error ratio counts; sets the size of the next."""
        if not isfinite(ratio):
            self.dt = dt * LARGEST_CUT
            return False
        exponent = 1 / (self.error_order + 1)
        factor = SAFETY * max(ratio, 1e-10) ** -exponent
        accepted = ratio <= 1
        if accepted and self.kind == "pi":
            factor = SAFETY * max(ratio, 1e-10) ** (-0.7 * exponent) * self._previous_ratio ** (0.4 * exponent)
            self._previous_ratio = max(ratio, 1e-4)
        self.dt = dt * min(LARGEST_GROWTH, max(LARGEST_CUT, factor))
        return accepted


@dataclass
class EqualSteps:
    """The steps of a method that does not estimate its error."""

    dt: float

    def accepts(self, dt: float, ratio: float) -> bool:  # noqa: ARG002 - as StepSizeControl has it
        """Whether the step is a number; if not, no other step is tried."""
        if not isfinite(ratio):
            self.dt = nan
        return isfinite(ratio)


def end_of_step(t: float, dt: float, t1: float) -> float:
    """Where a step of about `dt` ends: at the end time where that is near."""
    return t1 if dt * REACH >= t1 - t else t + dt


def obstacle(dt: float, t1: float, attempts: Sequence[Attempt], max_steps: int | None) -> Status | None:
    """Why a solve cannot go on with a step of `dt` after these; None where it can."""
    if not isfinite(dt):
        return Status.DIVERGED
    # A step that is lost against the end time is no step.
    if dt <= sys.float_info.epsilon * t1:
        found_no_number = bool(attempts) and isnan(attempts[-1].error_ratio)
        return Status.DIVERGED if found_no_number else Status.UNDERFLOW
    return Status.STEP_LIMIT if len(attempts) == max_steps else None


class FirstStep(NamedTuple):
    """How an adaptive solve begins."""

    dt: float
    slope: float
    """Size of dz/dt at t = 0, relative to what the tolerances allow."""


@torch.no_grad()
def first_step(
    derivative: Callable[[float, Tensor], Tensor],
    z: Tensor,
    first: Tensor,
    t1: float,
    order: int,
    rtol: float,
    atol: float,
    norm: Norm,
    dt: float | None,
) -> FirstStep:
    """A step from t = 0 whose error would be about a hundredth of the tolerance, for one evaluation.

    Args:
        first: dz/dt at t = 0.
        t1: end of the solve; the evaluation does not lie behind it.
        order: order of the error estimate.
        dt: the step's size where it is known, which saves the evaluation.

    Returns:
        A step size that is no number where `z`, `first` or the evaluation is not finite.
    """
    scale = tolerance(z.abs(), rtol, atol)
    size, slope = torch.stack([norm(z / scale), norm(first / scale)]).tolist()
    if not (isfinite(size) and isfinite(slope)):
        return FirstStep(nan, slope)
    if dt is not None:
        return FirstStep(dt, slope)
    trial = probe(size, slope, t1)
    second = derivative(trial, torch.add(z, first, alpha=trial))
    change = float(norm((second - first) / scale))
    return FirstStep(estimated_dt(trial, slope, change, order), slope)


def probe(size: float, slope: float, t1: float) -> float:
    """Time at which the field is evaluated to estimate a first step, from the sizes of z and dz/dt at t = 0."""
    return min(1e-6 if size < 1e-5 or slope < 1e-5 else 0.01 * size / slope, t1)


def estimated_dt(trial: float, slope: float, change: float, order: int) -> float:
    """The first step's size, from that of what dz/dt changes by until `trial`; no number where that is not finite."""
    curvature = change / trial
    if not isfinite(curvature):
        return nan
    steepest = max(slope, curvature)
    step = max(1e-6, trial * 1e-3) if steepest <= 1e-15 else (0.01 / steepest) ** (1 / (order + 1))
    return min(100 * trial, step)
