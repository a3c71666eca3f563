"""Finding when something happens within a step."""

from collections.abc import Callable, Iterator, Sequence
from math import isnan

import numpy as np
import torch
from torch import Tensor

from pipeline.ode.once import differentiated_once
from pipeline.util.errors import InvalidInput

Event = Callable[[Tensor, Tensor], Tensor]
"""A function of t and the packed state, a scalar, that changes its sign when the event happens."""
BISECTIONS = 60
"""Of a step: afterwards nothing is left of it in double precision."""
LOOKS = 8
"""Into every step, at equal distances and its end among them: an event that changes back between two goes unseen. Steps
of an easy field grow tenfold, and soon reach over several events."""


FIRST_FRACTION = 2.0**-20
JUST_BEHIND = 2.0**-10
"""Of the first step, where what is 0 at its start is looked at again, and until where it is to have changed that has no
derivative."""


StatesWithin = Callable[[Sequence[float], bool], Tensor]
"""The states at fractions of a step, shape (n, *state), as exactly as the method knows them or without a further
evaluation of the field."""


class EventSearch:
    """Looks for an event in one accepted step after the other."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self._sign: float | None = None

    @torch.no_grad()
    def within(
        self, start: float, end: float, z: Tensor, slope: Tensor, z_end: Tensor, states_within: StatesWithin
    ) -> float | None:
        """The fraction of a step at which the event's sign changes first, as far as is looked; None where it does not.

        Its sign before is that at the end of the step before, which a knot may lie behind. An event that is 0 there
        and changes has just happened, and its sign is that of its rate; one that does not change is still to come. At
        the start of the solve an event may also change from 0 with a rate of 0, as where a pendulum is let go.

        Args:
            slope: dz/dt at the start.
        """

        def sign_at(fraction: float) -> float:
            return _sign(self.event, start + fraction * (end - start), states_within((fraction,), True)[0])

        is_first = self._sign is None
        before = _sign(self.event, start, z) if self._sign is None else self._sign
        if before == 0:
            by_time, by_state = _derivatives(self.event, start, z)
            rate = float(by_time + (by_state * slope.detach()).sum())
            before = float(np.sign(rate * (end - start)))
            if before == 0 and is_first:
                # Where it has no derivative at all it may be a switch, which is 0 until it happens.
                is_switch = not (bool(by_time) or bool(by_state.any()))
                before = _sign_behind(sign_at, JUST_BEHIND if is_switch else 1.0)
        fractions = [look / LOOKS for look in range(1, LOOKS)]
        times = [start + fraction * (end - start) for fraction in fractions]
        low, high = 0.0, 1.0
        for is_exact in (False, True):
            states = [*states_within(fractions, is_exact).unbind(), z_end]
            found = _first_change(before, _signs(self.event, [*times, end], states))
            if found is None:
                self._sign = before
                return None
            low, high = found / LOOKS, (found + 1) / LOOKS
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            if sign_at(middle) == before:
                low = middle
            else:
                high = middle
        return high


def _sign_behind(sign_at: Callable[[float], float], until: float) -> float:
    """The first sign that is not 0 behind the start of a step, within a fraction of it."""
    fraction = FIRST_FRACTION
    while fraction <= until:
        sign = sign_at(fraction)
        if sign:
            return sign
        fraction *= 2
    return 0.0


def _first_change(before: float, signs: Iterator[float]) -> int | None:
    """The number of the first sign that is another; those behind it are not asked for."""
    return next((number for number, sign in enumerate(signs) if sign != before), None)


def _sign(event: Event, t: float, z: Tensor) -> float:
    return next(_signs(event, [t], [z]))


def _signs(event: Event, times: Sequence[float], states: Sequence[Tensor]) -> Iterator[float]:
    """At each of the times; the device is waited for once."""
    values = []
    for t, z in zip(times, states, strict=True):
        value = event(torch.full((), t, dtype=z.dtype, device=z.device), z)
        if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
            shown = f"a {type(value).__name__}"
            if isinstance(value, Tensor):
                shown = "complex" if value.is_complex() else f"of shape {tuple(value.shape)}"
            raise InvalidInput(
                f"the event is {shown}: return a tensor of one real number, whose sign changes when it happens; of "
                "several events the product"
            )
        values.append(value.detach().reshape(()))
    for t, number in zip(times, torch.stack(values).tolist(), strict=True):
        if isnan(number):
            raise InvalidInput(
                f"the event is not a number at t = {t:.4g}: return one whose sign changes when it happens, wherever "
                "the solution may come"
            )
        yield float(np.sign(float(number)))


def with_gradient(
    event: Event, slope: Callable[[Tensor, Tensor], Tensor], t: float, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Time and state of an event, so that gradients know that it moves with the solution.

    One step of Newton's iteration, which changes neither, has the derivatives: dt = -(∂g/∂z dz + …) / (dg/dt), and the
    state moves along the solution with its time. Where the event's function only switches, its rate being 0, the time
    has no gradient, and the state that of a time that stands still.

    Args:
        slope: dz/dt.
        z: the state at the event's time as that stands still.

    Returns:
        The time in double precision, whatever the number format of the state is, and the state.

    Source: Chen, Amos & Nickel 2021, *Learning Neural Event Functions for Ordinary Differential Equations*, section 3.
    """
    time, exact = (torch.full((), t, dtype=dtype, device=z.device) for dtype in (z.dtype, torch.float64))
    along = slope(time, z.detach()).detach()
    rate = _rate(event, t, z, along)
    if rate == 0:
        return exact, z
    value = event(time, z).reshape(())
    moved = exact - (value - value.detach()) / rate
    state = z + along * (moved - moved.detach()).to(z)
    return differentiated_once(moved, "an event"), differentiated_once(state, "an event")


def _rate(event: Event, t: float, z: Tensor, slope: Tensor) -> float:
    """dg/dt along the solution, which goes on with this slope; 0 of a function that only switches."""
    by_time, by_state = _derivatives(event, t, z)
    return float(by_time + (by_state * slope.detach()).sum())


def _derivatives(event: Event, t: float, z: Tensor) -> tuple[Tensor, Tensor]:
    """∂g/∂t and ∂g/∂z."""
    with torch.enable_grad():
        still = z.detach().clone().requires_grad_()
        moment = torch.full((), t, dtype=z.dtype, device=z.device, requires_grad=True)
        value = event(moment, still).reshape(())
        if not value.requires_grad:
            return torch.zeros_like(moment), torch.zeros_like(still)
        by_time, by_state = torch.autograd.grad(value, (moment, still), allow_unused=True, materialize_grads=True)
    return by_time, by_state
