"""The elements of a solve, the whole batch or each sample for itself: where they are, and what lies on their way."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ode.control import Floats
from pipeline.ode.times import Leg

Indices = NDArray[np.int64]


@dataclass
class Vector:
    """How far each element of the vector has come.

    Attributes:
        index: of its sample in the batch; 0 for the whole batch.
        dt: length of its next step.
        previous: what the controller remembers.
        cuts: steps in a row that were no number.
        tries: steps that were tried, all legs together.
        converged: whether the equations of the last steps were solved.
    """

    index: Indices
    t: Floats
    dt: Floats
    previous: Floats
    cuts: Indices
    tries: Indices
    converged: bool = True

    def chosen(self, keep: NDArray[np.bool_]) -> "Vector":
        """Some of the elements."""
        t, dt, previous, cuts, tries = self.arrays()
        return Vector(self.index[keep], t[keep], dt[keep], previous[keep], cuts[keep], tries[keep], self.converged)

    def arrays(self) -> tuple[Floats, Floats, Floats, Indices, Indices]:
        """What the elements have come to."""
        return self.t, self.dt, self.previous, self.cuts, self.tries


class Due(NamedTuple):
    """Times within a step that were asked for.

    Attributes:
        positions: of the elements whose step it is.
        outputs: their numbers among all times.
        times, thetas: themselves, and as fractions of the step.
    """

    positions: Indices
    outputs: Indices
    times: Floats
    thetas: Floats

    def chosen(self, keep: NDArray[np.bool_]) -> "Due":
        """Some of them."""
        return Due(self.positions[keep], self.outputs[keep], self.times[keep], self.thetas[keep])


def due_within(leg: Leg, t: Floats, end: Floats, sign: float) -> Due:
    """The times of the leg's outputs that lie within the steps, not at their beginning."""
    if not len(leg.times):
        return NONE_DUE
    lowest, highest = np.searchsorted(sign * leg.times, [sign * t, sign * end], side="right")
    counts = highest - lowest
    if not counts.any():
        return NONE_DUE
    positions = np.repeat(np.arange(len(t)), counts)
    chosen = np.concatenate([np.arange(low, high) for low, high in zip(lowest, highest, strict=True)])
    thetas = (leg.times[chosen] - t[positions]) / (end - t)[positions]
    return Due(positions, leg.outputs[chosen], leg.times[chosen], thetas)


NONE_DUE = Due(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


def of_moved(due: Due, moved: Indices) -> Due:
    """Those whose steps were accepted, with their positions among these."""
    if not len(due.outputs):
        return due
    kept = due.chosen(np.isin(due.positions, moved))
    return kept._replace(positions=np.searchsorted(moved, kept.positions))


def to_device_of(z: Tensor, values: NDArray[Any]) -> Tensor:
    """The values on the device of `z`, which is not waited for."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(z.device, non_blocking=True)
