"""The explicit Runge–Kutta methods."""

from collections.abc import Sequence
from math import hypot

import torch
from torch import Tensor

from pipeline.device.compilation import compiled
from pipeline.methods.tableau import Tableau
from pipeline.ode.dense import between
from pipeline.ode.field import VectorField
from pipeline.ode.stepping.graphs import StepGraphs
from pipeline.ode.stepping.method import Step
from pipeline.ode.stepping.runge_kutta import advance, error_ratio, evaluate, weighted_sum
from pipeline.ode.stepping.several import SeveralSteps
from pipeline.ode.tolerance import Tolerance


class ExplicitRungeKutta:
    """The method of a tableau, eager or with its pieces compiled, as CUDA graphs where there are some to keep them."""

    def __init__(self, tableau: Tableau, is_compiled: bool = False, graphs: StepGraphs | None = None) -> None:
        self.tableau = tableau
        self.nfe = len(tableau.b)
        self.nfe_within = len(tableau.dense.c)
        self.is_compiled = is_compiled
        self.order = tableau.order
        self.error_order = tableau.error_order if tableau.is_adaptive else None
        self.evaluates_end = tableau.first_same_as_last
        self.error_weight = hypot(*tableau.error)
        takes_several = is_compiled and tableau.first_same_as_last and graphs is None
        self.several = SeveralSteps(tableau) if takes_several else None
        self._evaluate, self._advance, self._error_ratio = (
            (compiled(evaluate), compiled(advance), compiled(error_ratio))
            if is_compiled
            else (evaluate, advance, error_ratio)
        )
        if graphs is not None:
            self._evaluate = graphs.of(self._evaluate, evaluate)
            self._advance = graphs.of(self._advance, advance)

    def evaluate(self, field: VectorField, t: Tensor, z: Tensor) -> Tensor:
        """dz/dt."""
        return self._evaluate(field, t, z)

    def advance(
        self,
        field: VectorField,
        t: Tensor,
        dt: Tensor,
        z: Tensor,
        first: Tensor,
        tolerance: Tolerance,  # noqa: ARG002 - nothing is solved within the step
        keeps_stages: bool = False,
    ) -> Step:
        """A step of all stages but that at its end."""
        end, error, stages = self._advance(field, self.tableau, t, dt, z, first, keeps_stages)
        return Step(end, error, stages, self.tableau.advancing_stages - 1)

    def error_ratio(self, step: Step, dt: Tensor, z: Tensor, last: Tensor | None, tolerance: Tolerance) -> Tensor:
        """By the weights of the embedded solution."""
        return self._error_ratio(self.tableau, step.error, dt, z, step.end, last, tolerance)

    def complete(
        self, field: VectorField, t: Tensor, dt: Tensor, z: Tensor, stages: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """With the stages of the tableau's continuous extension."""
        all_of_them = list(stages)
        for c, weights in zip(self.tableau.dense.c, self.tableau.dense.a, strict=True):
            all_of_them.append(field(torch.add(t, dt, alpha=c), weighted_sum(z, dt, weights, all_of_them)))
        return all_of_them

    def between(self, theta: Tensor, dt: Tensor, z: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """By the tableau's continuous extension."""
        return between(self.tableau.dense.weights, theta, dt, z, stages)
