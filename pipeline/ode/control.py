"""How long the next step is, for each of a vector of steps.

The functions take arrays of NumPy and tensors alike, handed over with their module: where the host decides it does so
with arrays, and what is compiled decides on its device.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, sections II.4 (step size, first step)
and *II*, section IV.2 (the proportional-integral controller of Gustafsson 1991).
"""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.ode.tolerance import Tolerance

Floats = NDArray[np.float64]

SAFETY = 0.9
LARGEST_GROWTH = 10.0
LARGEST_CUT = 0.2
REACH = 1.01
"""A step that would leave less than a hundredth of itself goes to the end: no sliver is left over."""
SHORTEST_FIRST = 10
"""An estimated first step is so many times the shortest at least, as SciPy has it."""
ROUNDING = 1e-9
"""Share of a step by which the difference of its ends may be shorter."""
CUTS_OF_NO_NUMBER = 30
"""Steps in a row that were no number, after which none shorter is tried: the last was 1e-21 of the first."""


class Decision(NamedTuple):
    """Arrays or tensors of one number a step.

    Attributes:
        dt: length of the next step, no number where none is to be tried.
        previous: what the controller remembers.
    """

    accepted: Any
    dt: Any
    previous: Any


@dataclass(frozen=True)
class Controller:
    """Grows and shrinks a step so that its error ratio stays below 1.

    Attributes:
        error_order: of the embedded solution; None for equal steps, which stay as they are.
        kind: `i` looks at the last error ratio alone, `pi` at the one before it too, for smoother steps.
    """

    error_order: int | None
    kind: Literal["i", "pi"]

    def decide(self, module: ModuleType, dt: Any, ratio: Any, previous: Any) -> Decision:
        """Whether steps of length `dt` with these error ratios count, and how long the next are.

        Args:
            module: numpy or torch, whichever the others are of.
        """
        is_finite = module.isfinite(ratio)
        if self.error_order is None:
            return Decision(is_finite, module.where(is_finite, dt, np.nan), previous)
        exponent = 1 / (self.error_order + 1)
        accepted = ratio <= 1
        size = module.clip(module.where(is_finite, ratio, 1.0), 1e-10, None)
        factor = SAFETY * size**-exponent
        if self.kind == "pi":
            factor = module.where(accepted, SAFETY * size ** (-0.7 * exponent) * previous ** (0.4 * exponent), factor)
            previous = module.where(accepted, module.clip(size, 1e-4, None), previous)
        factor = module.where(is_finite, module.clip(factor, LARGEST_CUT, LARGEST_GROWTH), LARGEST_CUT)
        return Decision(accepted, dt * factor, previous)


def reached(dt: Any, remaining: Any) -> Any:
    """Whether steps of about `dt` go to the end, which is so far away."""
    return dt * REACH >= remaining


def behind_a_cut(accepted: NDArray[np.bool_], step: Floats, planned: Floats, dt: Floats) -> Floats:
    """Lengths of the next steps: one that was cut short for a time in between says little about how long that may be.

    Args:
        step, planned: lengths that were tried, and those of before they were cut, which differ by rounding elsewhere.
        dt: as the controller decided.
    """
    return np.where(accepted & (step < planned * (1 - ROUNDING)), np.maximum(dt, planned), dt)


def shortest(t: Floats, span: float) -> Floats:
    """The length at which a step is none: it is lost against the time, or where that is near 0 against a unit of it, or
    against the whole solve if that is shorter."""
    length: Floats = sys.float_info.epsilon * np.maximum(np.abs(t), min(span, 1.0))
    return length


class Sizes(NamedTuple):
    """Of the state and of dz/dt, relative to what the tolerances allow."""

    state: Floats
    slope: Floats


@torch.no_grad()
def sizes(z: torch.Tensor, first: torch.Tensor, tolerance: Tolerance) -> Sizes:
    """How large the state and dz/dt are where a solve begins."""
    allowed = tolerance.of(z.abs())
    size, slope = as_array(torch.stack([tolerance.norm(z / allowed), tolerance.norm(first / allowed)]))
    return Sizes(size, slope)


def as_array(values: torch.Tensor) -> Floats:
    """On the host, which waits for the device."""
    return np.array(values.tolist(), np.float64)


def probe(start: Sizes, span: float) -> Floats:
    """How far on the field is evaluated to estimate a first step; not behind the end."""
    size, slope = start
    small = (size < 1e-5) | (slope < 1e-5)
    with np.errstate(all="ignore"):
        far: Floats = np.minimum(np.where(small, 1e-6, 0.01 * size / np.where(small, 1.0, slope)), span)
    return far


def estimated_dt(trial: Floats, slope: Floats, change: Floats, error_order: int) -> Floats:
    """A first step whose error would be about a hundredth of the tolerance.

    Args:
        change: size of what dz/dt changes by until `trial`.
    """
    with np.errstate(all="ignore"):
        curvature = change / trial
        steepest = np.maximum(slope, curvature)
        flat = steepest <= 1e-15
        step = np.where(
            flat, np.maximum(1e-6, trial * 1e-3), (0.01 / np.where(flat, 1.0, steepest)) ** (1 / (error_order + 1))
        )
        return np.where(np.isfinite(curvature), np.minimum(100 * trial, step), np.nan)
