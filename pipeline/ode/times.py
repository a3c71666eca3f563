"""When a solve begins and ends, and what is asked for in between."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ode.control import Floats
from pipeline.ode.once import differentiated_once
from pipeline.ode.vmap import is_batched
from pipeline.util.errors import InvalidInput

ROUNDINGS_BESIDE_A_KNOT = 4
"""So many roundings of a time are left out on either side of a knot, where the field jumps: the last stage of a step
that ends there must not see what is behind."""


@dataclass(frozen=True)
class Leg:
    """A piece of a solve at whose end a step ends.

    Attributes:
        times, outputs: times within that are asked for, in their order, and their numbers among all.
        output: number of the end among them; None where the end is not asked for, or is that of the whole solve.
        restarts: dz/dt at the start is not what it was at the end of the leg before.
    """

    start: float
    end: float
    times: Floats
    outputs: NDArray[np.int64]
    output: int | None = None
    restarts: bool = False


def together(times: Tensor | Iterable[Tensor | float]) -> Tensor | list[float]:
    """Times as one tensor, through which gradients flow, where one of a sequence is a tensor; else as they are."""
    if isinstance(times, Tensor) or not isinstance(times, Iterable):
        return times
    held: list[Any] = list(times)
    if not any(isinstance(time, Tensor) for time in held):
        return held
    numbers = zip(held, as_numbers(held, "the times of a solve"), strict=True)
    exact = [one if isinstance(one, Tensor) else torch.tensor(number, dtype=torch.float64) for one, number in numbers]
    return torch.stack([one.reshape(()).to("cpu", torch.float64) for one in exact])


def checked_times(times: Tensor | Sequence[float], dtype: torch.dtype) -> list[float]:
    """The times of a solve as numbers.

    Raises:
        InvalidInput: fewer than two, not finite, not strictly monotone, or equal in the number format of the state.
    """
    values = as_numbers(times, "the times of a solve")
    if len(values) < 2:
        raise InvalidInput(f"a solve needs a start and an end, at least two times, not {values}")
    rounded = torch.tensor(values, dtype=dtype).double()
    if not torch.isfinite(rounded).all():
        raise InvalidInput(f"the times of a solve must be finite in {dtype}, not {_shown(values)}")
    differences = rounded.diff()
    if not (bool((differences > 0).all()) or bool((differences < 0).all())):
        raise InvalidInput(
            f"the times of a solve must all ascend or all descend, and differ in {dtype}: they are {_shown(values)}"
        )
    return values


def checked_knots(knots: Tensor | Iterable[float]) -> list[float]:
    """Times at which a field jumps, as numbers.

    Raises:
        InvalidInput: one is not a number.
    """
    values = as_numbers(knots, "the knots of a solve")
    if any(isnan(knot) for knot in values):
        raise InvalidInput("a knot at nan is at no time: leave it out")
    return values


def as_numbers(times: Tensor | Iterable[Tensor | float], what: str) -> list[float]:
    """Times in double precision.

    Raises:
        InvalidInput: `what` they are is no sequence of numbers, or batched.
    """
    try:
        values: Iterable[Any] = refuse_batched(times, what).reshape(-1).tolist() if isinstance(times, Tensor) else times
        return [float(refuse_batched(time, what) if isinstance(time, Tensor) else time) for time in values]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{what} are {times!r}: give a sequence of numbers, as in (0.0, 1.0)") from error


def refuse_batched(times: Tensor, what: str) -> Tensor:
    """The times without their gradients.

    Raises:
        InvalidInput: `vmap` has other ones for each of its items.
    """
    if is_batched(times):
        raise InvalidInput(
            f"{what} are batched by torch.func.vmap, and a solve has the same for all of its batch: solve for each "
            "alone, or in a time that all share, dz/ds = T field(s T, z) from 0 to 1 with every T in context="
        )
    return times.detach()


def moved(times: Tensor) -> Tensor:
    """Zeros through which gradients flow to the times, where something is multiplied by what it changes with them."""
    return differentiated_once(times - times.detach(), "the times of a solve", ": give times that want none")


def _shown(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return f"{shown}, …" if len(values) > 6 else shown


def legs(times: Sequence[float], knots: Sequence[float], stops_at_times: bool, dtype: torch.dtype) -> list[Leg]:
    """The solve in pieces that end at its knots and, if asked for, at its times.

    Args:
        knots: times at which the field jumps, the ends of the solve perhaps among them; those outside do not matter.
    """
    start, *between, end = times
    sign = 1.0 if end > start else -1.0
    edges = set(knots)
    jumps = {knot for knot in edges if 0 < sign * (knot - start) < sign * (end - start)}
    numbers = {time: number for number, time in enumerate(between)}
    onwards = [sign * time for time in between]
    stops = sorted(jumps | (set(numbers) if stops_at_times else set()), key=lambda time: sign * time)
    found = []
    for begin, stop in pairwise([start, *stops, end]):
        safe = [_beside(time, start, end, dtype) if time in edges else 0.0 for time in (begin, stop)]
        # Of knots side by side half of what is between them stays.
        first, last = (sign * min(margin, 0.25 * abs(stop - begin)) for margin in safe)
        inside = slice(bisect_right(onwards, sign * begin), bisect_left(onwards, sign * stop))
        # Behind the leg's start: what is asked for there is not within a step.
        lowest, highest = sorted((float(np.nextafter(begin + first, stop)), stop - last))
        times_within: Floats = np.clip(np.array(between[inside], np.float64), lowest, highest)
        outputs = np.arange(inside.start, inside.stop, dtype=np.int64)
        found.append(Leg(begin + first, stop - last, times_within, outputs, numbers.get(stop), begin in jumps))
    return found


def _beside(knot: float, start: float, end: float, dtype: torch.dtype) -> float:
    """How far from a knot it is safe."""
    return ROUNDINGS_BESIDE_A_KNOT * torch.finfo(dtype).eps * max(abs(knot), abs(start), abs(end))
