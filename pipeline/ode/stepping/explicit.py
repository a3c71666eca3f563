"""One step of an explicit Runge–Kutta method.

Functions of tensors alone, time and step size included, so that a step can be compiled as a whole.
"""

from collections.abc import Sequence
from math import hypot

import torch
from torch import Tensor

from pipeline.device.compilation import compiled
from pipeline.methods.tableau import Tableau
from pipeline.ode.dense import between
from pipeline.ode.field import VectorField
from pipeline.ode.stepping.method import Step
from pipeline.ode.tolerance import Tolerance


class ExplicitRungeKutta:
    """The method of a tableau, eager or with its pieces compiled."""

    def __init__(self, tableau: Tableau, is_compiled: bool = False) -> None:
        self.tableau = tableau
        self.is_compiled = is_compiled
        self.order = tableau.order
        self.error_order = tableau.error_order if tableau.is_adaptive else None
        self.evaluates_end = tableau.first_same_as_last
        self.error_weight = hypot(*tableau.error)
        self._evaluate, self._advance, self._error_ratio = (
            (compiled(evaluate), compiled(advance), compiled(error_ratio))
            if is_compiled
            else (evaluate, advance, error_ratio)
        )

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

    def between(
        self, field: VectorField, theta: Tensor, t: Tensor, dt: Tensor, z: Tensor, stages: Sequence[Tensor]
    ) -> Tensor:
        """By the tableau's continuous extension."""
        dense = self.tableau.dense
        stages = list(stages)
        for c, weights in zip(dense.c, dense.a, strict=True):
            stages.append(field(torch.add(t, dt, alpha=c), weighted_sum(z, dt, weights, stages)))
        return between(dense.weights, theta, dt, z, stages)


def evaluate(field: VectorField, t: Tensor, z: Tensor) -> Tensor:
    """dz/dt, as what is compiled."""
    return field(t, z)


def advance(
    field: VectorField, tableau: Tableau, t: Tensor, dt: Tensor, z: Tensor, first: Tensor, keeps_stages: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The state at `t + dt`, without gradients what its stages contribute to the estimated error, and the stages.

    Args:
        t, dt: of the dtype of `z`, scalars or, for samples with steps of their own, of shape (batch, 1, …, 1).
        first: the first stage, dz/dt at (t, z).

    Returns:
        The second is not finite where a stage or the state at the end is not.
    """
    stages = [first]
    times = [torch.add(t, dt, alpha=c) for c in tableau.c[1 : tableau.advancing_stages]]
    for time, of_time, weights in zip(times, field.at_times(times), tableau.a, strict=False):
        stages.append(field(time, weighted_sum(z, dt, weights, stages), of_time))
    end = weighted_sum(z, dt, tableau.b, stages)
    with torch.no_grad():
        # What is not finite need not show in the error: not a stage without weight there, nor the state. It is put
        # where it is, not everywhere: a batch's samples may be judged apart.
        zero_or_nan = end * 0
        for stage, weight in zip(stages, tableau.error or (0,) * len(stages), strict=False):
            if weight == 0:
                zero_or_nan.add_(stage, alpha=0)
        error = weighted_sum(zero_or_nan, dt, tableau.error, stages)
    # What compiled code returns it must keep, and expects gradients of.
    return end, error, stages if keeps_stages else []


def weighted_sum(z: Tensor, dt: Tensor, weights: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    """z + dt Σ weights_i stages_i; `z` itself where every weight is 0."""
    total = z
    for weight, stage in zip(weights, stages, strict=False):
        if weight == 0:
            continue
        if total is z or torch.is_grad_enabled():  # in place, a compiler would lose the layout of what flows back
            total = torch.addcmul(total, stage, dt, value=weight)
        else:
            total.addcmul_(stage, dt, value=weight)
    return total


@torch.no_grad()
def error_ratio(
    tableau: Tableau, error: Tensor, dt: Tensor, z: Tensor, end: Tensor, last: Tensor | None, tolerance: Tolerance
) -> Tensor:
    """Size of a step's error, 1 being what the tolerances allow; no number where anything is not finite.

    Args:
        error: as `advance` returned it.
        z, end: the state before and after the step.
        last: dz/dt at the end, for a method whose last stage that is.
    """
    if last is not None:
        error = torch.addcmul(error, last, dt, value=tableau.error[-1])
    ratio = tolerance.norm(error / tolerance.of(torch.maximum(z.abs(), end.abs())))
    return ratio + 0 * ratio
