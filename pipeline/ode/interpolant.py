"""The solution of a solve as a function of time."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.ode.field import VectorField
from pipeline.ode.state import State
from pipeline.ode.stepping.method import Method
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True)
class Span:
    """One accepted step from `z` at `start`, and the slopes that the solution within is made of."""

    start: float
    end: float
    t: Tensor
    dt: Tensor
    z: Tensor
    stages: Sequence[Tensor]


class Interpolant:
    """z(t) between the ends of a solve, by the method's continuous extension.

    Gradients flow to whatever the solve was of, and to the times that it is called with.
    """

    def __init__(self, field: VectorField, method: Method) -> None:
        self._field = field
        self._method = method
        self._spans: list[Span] = []

    def add(self, span: Span) -> None:
        """Behind the others."""
        self._spans.append(span)

    def __call__(self, t: Tensor | float) -> State:
        """The state at `t`, a scalar, or the states at times of shape (n,), with that dimension in front.

        Raises:
            InvalidInput: a time outside of the solve.
        """
        first, last = self._spans[0], self._spans[-1]
        times = torch.as_tensor(t, dtype=torch.float64, device=first.z.device)
        sign = 1.0 if last.end >= first.start else -1.0
        ends = [sign * span.end for span in self._spans]
        states = []
        for time in times.reshape(-1).unbind():
            value = float(time.detach())
            if not sign * first.start <= sign * value <= sign * last.end:
                raise InvalidInput(f"the solution is known from {first.start:g} to {last.end:g}, not at {value:g}")
            span = self._spans[min(bisect_right(ends, sign * value), len(ends) - 1)]
            theta = ((time - span.start) / (span.end - span.start)).reshape(1)
            states.append(self._method.between(self._field, theta, span.t, span.dt, span.z, span.stages)[0])
        packed = torch.stack(states)
        return self._field.layout.unpack(packed if times.dim() else packed[0])
