"""The solution between the ends of a step."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from pipeline.ode.attempt import StepAttempt
from pipeline.ode.dense import hermite
from pipeline.ode.path import Path
from pipeline.ode.problem import Problem
from pipeline.ode.vector import Indices, to_device_of

Count = Callable[[int, Indices | None], None]
"""Takes a number of evaluations, and the samples that they were of; None for all that are on their way."""


class WithinStep:
    """The solution within a step that was tried; what it takes beside the step's stages is evaluated once.

    Attributes:
        z, first: the state where the step begins, and dz/dt there.
        last: dz/dt at its end.
    """

    def __init__(
        self, problem: Problem, path: Path, tried: StepAttempt, z: Tensor, first: Tensor, last: Tensor, count: Count
    ) -> None:
        self.problem = problem
        self.path = path
        self.tried = tried
        self.z = z
        self.first = first
        self.last = last
        self._count = count
        self._wants_gradients = torch.is_grad_enabled()

    @cached_property
    def stages(self) -> Sequence[Tensor]:
        """All that the solution of the whole batch is made of."""
        method, tried = self.problem.method, self.tried
        self._count(method.nfe_within, None)
        with torch.set_grad_enabled(self._wants_gradients), self.path.recording():
            return method.complete(self.problem.field, tried.t, tried.dt, self.z, [*tried.step.stages, self.last])

    def states(self, thetas: Tensor) -> Tensor:
        """Of the whole batch at these fractions of the step, shape (n, *state)."""
        with self.path.recording():
            return self.problem.method.between(thetas, self.tried.dt, self.z, self.stages)

    def states_of_samples(self, thetas: Tensor, positions: Indices, samples: Indices) -> Tensor:
        """One of each of these samples, shape (n, …): with steps of their own, each has come to a fraction of its own.

        Args:
            positions, samples: theirs in the vector of those that are on their way, and in the batch; shape (n,).
        """
        method, tried, rows = self.problem.method, self.tried, to_device_of(self.z, positions)
        field = self.problem.field
        field = field.of_rows(to_device_of(self.z, samples)) if field.context else field
        # Of several times of one sample numpy adds it once: all are of one evaluation.
        self._count(method.nfe_within, samples)
        with self.path.recording():
            stages = [stage[rows] for stage in (*tried.step.stages, self.last)]
            stages = list(method.complete(field, tried.t[rows], tried.dt[rows], self.z[rows], stages))
            return method.between(thetas.unsqueeze(0), tried.dt[rows], self.z[rows], stages)[0]

    def looked_at(self, fractions: Sequence[float], is_exact: bool) -> Tensor:
        """States where an event is looked for, without an evaluation of the field if they need not be exact."""
        thetas, tried = torch.tensor(fractions, dtype=torch.float64), self.tried
        if self.problem.method.nfe_within and not is_exact:
            return hermite(thetas, tried.dt, self.z, tried.step.end, self.first, self.last)
        return self.problem.method.between(thetas, tried.dt, self.z, self.stages)
