"""One step of an explicit Runge–Kutta method.

Functions of tensors alone, time and step size included, so that a step can be compiled as a whole.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.methods.tableau import Tableau
from pipeline.ode.field import VectorField
from pipeline.ode.tolerance import Tolerance


def evaluate(field: VectorField, t: Tensor, z: Tensor) -> Tensor:
    """dz/dt, as what is compiled."""
    return field(t, z)


def times_of_stages(tableau: Tableau, t: Tensor, dt: Tensor) -> list[Tensor]:
    """Of the stages behind the first."""
    return [torch.add(t, dt, alpha=c) for c in tableau.c[1:]]


def advance(
    field: VectorField,
    tableau: Tableau,
    t: Tensor,
    dt: Tensor,
    z: Tensor,
    first: Tensor,
    keeps_stages: bool,
    of_times: Sequence[tuple[Any, ...]] | None = None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The state at `t + dt`, without gradients what its stages contribute to the estimated error, and the stages.

    Args:
        t, dt: of the dtype of `z`, scalars or, for samples with steps of their own, of shape (batch, 1, …, 1).
        first: the first stage, dz/dt at (t, z).
        of_times: what the field takes at the stages' times, where it was asked.

    Returns:
        The second is not finite where a stage or the state at the end is not.
    """
    stages = [first]
    times = times_of_stages(tableau, t, dt)[: tableau.advancing_stages - 1]
    for time, of_time, weights in zip(times, of_times or field.at_times(times), tableau.a, strict=False):
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
    if not tableau.is_adaptive:
        return tolerance.norm(error)  # 0, or no number
    if last is not None:
        error = torch.addcmul(error, last, dt, value=tableau.error[-1])
    return tolerance.ratio(error, z, end)
