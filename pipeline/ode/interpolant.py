"""The solution of a solve as a function of time."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.ode.state import Layout, State
from pipeline.ode.stepping.method import Method
from pipeline.ode.times import together
from pipeline.ode.vmap import is_batched
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True)
class Span:
    """One accepted step from `z` at `start`, and all the slopes that the solution within is made of."""

    start: float
    end: float
    dt: Tensor
    z: Tensor
    stages: Sequence[Tensor]


class Interpolant:
    """z(t) between the ends of a solve, by the method's continuous extension.

    Gradients flow to whatever the solve was of, and to the times that it is called with.

    Attributes:
        end: until when the solution is known: of the solve, or of an event in its last step.
    """

    def __init__(self, layout: Layout, method: Method, start: float, end: float) -> None:
        self._layout = layout
        self._method = method
        self._start = start
        self.end = end
        self._spans: list[Span] = []

    def add(self, span: Span) -> None:
        """Behind the others."""
        self._spans.append(span)

    def __call__(self, t: Tensor | float | Sequence[Tensor | float]) -> State:
        """The state at `t`, a scalar, or the states at times of shape (n,) or a sequence, with that dimension in front.

        Raises:
            InvalidInput: a time outside of the solve.
        """
        given = together(t) if isinstance(t, Sequence) else t  # with the gradients of those that are tensors
        times = torch.as_tensor(given, dtype=torch.float64, device=self._spans[0].z.device)
        if is_batched(times):
            raise InvalidInput("the solution is asked for at all times at once: give them as one tensor, not to vmap")
        # In the number formats of the times the ends may be behind the ends.
        tensors = [times, *(one for one in (t if isinstance(t, Sequence) else [t]) if isinstance(one, Tensor))]
        eps = max(torch.finfo(one.dtype).eps for one in tensors if one.is_floating_point())
        slack = eps * max(abs(self._start), abs(self.end))
        sign = 1.0 if self.end >= self._start else -1.0
        ends = [sign * span.end for span in self._spans]
        states = []
        for time in times.reshape(-1).unbind():
            value = float(time.detach())
            if not sign * self._start - slack <= sign * value <= sign * self.end + slack:
                start, end, outside = (f"{number:g}" for number in (self._start, self.end, value))
                if outside in (start, end):
                    start, end, outside = (repr(number) for number in (self._start, self.end, value))
                raise InvalidInput(f"the solution is known from {start} to {end}, not at {outside}")
            span = self._spans[min(bisect_right(ends, sign * value), len(ends) - 1)]
            theta = ((time - span.start) / (span.end - span.start)).reshape(1)
            # Of an empty batch there are no slopes.
            states.append(self._method.between(theta, span.dt, span.z, span.stages)[0] if span.stages else span.z)
        packed = torch.stack(states) if states else self._spans[0].z.new_empty((0, *self._spans[0].z.shape))
        return self._layout.unpack(packed if times.dim() else packed[0])
