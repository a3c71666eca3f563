"""One step of an explicit Runge–Kutta method."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.ode.tableau import Tableau

Derivative = Callable[[float, Tensor], Tensor]
"""dz/dt as a function of t and z, z of any shape."""
Norm = Callable[[Tensor], Tensor]
"""Size of something shaped as the state, a scalar tensor."""


def advance(
    derivative: Derivative, tableau: Tableau, t: float, dt: float, z: Tensor, first: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The state at `t + dt` and the stages that it is made of.

    Args:
        first: the first stage, dz/dt at (t, z).
    """
    stages = [first]
    for c, weights in zip(tableau.c[1 : tableau.advancing_stages], tableau.a, strict=False):
        stages.append(derivative(t + c * dt, weighted_sum(z, dt, weights, stages)))
    return weighted_sum(z, dt, tableau.b, stages), stages


def weighted_sum(z: Tensor, dt: float, weights: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    """z + dt Σ weights_i stages_i, in one new tensor."""
    terms = [(dt * weight, stage) for weight, stage in zip(weights, stages, strict=False) if weight != 0]
    (factor, stage), *others = terms
    total = torch.add(z, stage, alpha=factor)
    for factor, stage in others:
        total.add_(stage, alpha=factor)
    return total


@torch.no_grad()
def error_ratio(
    tableau: Tableau, dt: float, z: Tensor, z1: Tensor, stages: Sequence[Tensor], rtol: float, atol: float, norm: Norm
) -> Tensor:
    """Size of the estimated error, 1 being what the tolerances allow; no number where anything is not finite.

    Args:
        z, z1: the state before and after the step.
        stages: all of them. A fixed-step method, which has no estimate, has ratio 0.
    """
    # A stage that overflowed need not show in the error: its weight may be 0, or the next stage saturate.
    largest = torch.stack([torch.linalg.vector_norm(value, torch.inf) for value in (z1, *stages)])
    nothing_or_nan = (largest * 0).sum()
    if not tableau.is_adaptive:
        return nothing_or_nan
    error = weighted_sum(torch.zeros_like(z), dt, tableau.error, stages)
    return norm(error.div_(tolerance(torch.maximum(z.abs(), z1.abs()), rtol, atol))) + nothing_or_nan


def tolerance(size: Tensor, rtol: float, atol: float) -> Tensor:
    """atol + rtol size, for each element; `size` is overwritten."""
    return size.mul_(rtol).add_(atol)


def root_mean_square(z: Tensor) -> Tensor:
    """The usual norm of an error; what it says does not depend on the number of elements."""
    length: Tensor = torch.linalg.vector_norm(z)
    return length.div(z.numel() ** 0.5)
