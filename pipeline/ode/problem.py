"""What is to be solved and how, and what a solve came to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.ode.control import Controller
from pipeline.ode.events import Event
from pipeline.ode.field import VectorField
from pipeline.ode.stepping import Method
from pipeline.ode.times import Leg
from pipeline.ode.tolerance import Tolerance


@dataclass(frozen=True)
class Problem:
    """dz/dt = field(t, z) over the legs, and how it is solved.

    Attributes:
        per_sample: every sample has its own steps.
        equal_steps: of a method that does not estimate its error, over all legs.
        max_steps: of an adaptive one, tried steps after which it is given up.
        first_dt: length of the first step of an adaptive method, where it need not be estimated.
        direction: the pass that a failure is said to be of.
        event: ends the solve where it happens.
        change: what is done to the state before each leg but the first, which is given by number: the adjoint jumps.
    """

    field: VectorField
    method: Method
    tolerance: Tolerance
    controller: Controller
    legs: Sequence[Leg]
    per_sample: bool = False
    equal_steps: int | None = None
    max_steps: int | None = None
    first_dt: float | None = None
    direction: Literal["forward", "backward"] = "forward"
    event: Event | None = None
    change: Callable[[int, Tensor], Tensor] | None = None

    @property
    def t0(self) -> float:
        return self.legs[0].start

    def start_time(self, z: Tensor) -> Tensor:
        """Where the solve begins, as the field takes it."""
        return self.column(self.t0, z)

    def column(self, t: float, z: Tensor) -> Tensor:
        """A time as the field takes it: a scalar, or shape (batch, 1, …, 1)."""
        shape = (len(z), *[1] * (z.dim() - 1)) if self.per_sample else ()
        return torch.full(shape, t, dtype=z.dtype, device=z.device)

    @property
    def span(self) -> float:
        """How long the whole solve is."""
        return abs(self.legs[-1].end - self.t0)

    @property
    def sign(self) -> float:
        """Of the direction in which time goes."""
        return 1.0 if self.legs[-1].end >= self.t0 else -1.0


@dataclass
class Outcome:
    """What a solve came to.

    Attributes:
        end: the last state.
        between: the states at the times asked for before it, shape (times, *state).
        event_time: when the event happened that ended the solve there.
        slope: dz/dt as it was evaluated last, without gradients.
        roughness: largest size of a step's dz relative to what the tolerances allow, where the field is rounded.
    """

    end: Tensor
    between: Tensor | None
    event_time: float | None
    slope: Tensor
    roughness: float
