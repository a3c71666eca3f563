"""One step of an explicit Runge–Kutta method.

Functions of tensors alone, time and step size included, so that a step can be compiled as a whole.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.methods.tableau import Tableau

Derivative = Callable[[Tensor, Tensor], Tensor]
"""dz/dt as a function of t, a scalar or of shape (batch, 1, …, 1), and z, of any shape."""
Norm = Callable[[Tensor], Tensor]
"""Size of something shaped as the state: a scalar tensor, or one size for each sample."""


def advance(
    derivative: Derivative, tableau: Tableau, t: Tensor, dt: Tensor, z: Tensor, first: Tensor
) -> tuple[Tensor, Tensor]:
    """The state at `t + dt`, and without gradients what its stages contribute to the estimated error.

    Args:
        t, dt: of the dtype of `z`, scalars or, for samples with steps of their own, of shape (batch, 1, …, 1).
        first: the first stage, dz/dt at (t, z).

    Returns:
        Two tensors shaped as `z`; the second is not finite where a stage or the state at the end is not.
    """
    stages = [first]
    for c, weights in zip(tableau.c[1 : tableau.advancing_stages], tableau.a, strict=False):
        stages.append(derivative(torch.add(t, dt, alpha=c), weighted_sum(z, dt, weights, stages)))
    end = weighted_sum(z, dt, tableau.b, stages)
    with torch.no_grad():
        # What is not finite need not show in the error: not a stage without weight there, nor the state. It is put
        # where it is, not everywhere: a batch's samples may be judged apart.
        zero_or_nan = end * 0
        for stage, weight in zip(stages, tableau.error or (0,) * len(stages), strict=False):
            if weight == 0:
                zero_or_nan.add_(stage, alpha=0)
        error = weighted_sum(zero_or_nan, dt, tableau.error, stages)
    return end, error


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
    tableau: Tableau,
    dt: Tensor,
    z: Tensor,
    end: Tensor,
    error: Tensor,
    last: Tensor | None,
    rtol: float,
    atol: float,
    norm: Norm,
) -> Tensor:
    """Size of a step's error, 1 being what the tolerances allow; no number where anything is not finite.

    Args:
        z, end: the state before and after the step.
        error: as `advance` returned it.
        last: dz/dt at the end, for a method whose last stage that is.
    """
    if last is not None:
        error = torch.addcmul(error, last, dt, value=tableau.error[-1])
    ratio = norm(error / tolerance(torch.maximum(z.abs(), end.abs()), rtol, atol))
    return ratio + 0 * ratio


def tolerance(size: Tensor, rtol: float, atol: float) -> Tensor:
    """The error that is allowed in each element of a state of this size."""
    return size.mul(rtol).add_(atol)


def root_mean_square(z: Tensor, zeros: int) -> Tensor:
    """The usual norm of an error: that of one that is the same everywhere does not depend on the number of elements.

    Args:
        zeros: so many were left out of `z`.
    """
    length: Tensor = torch.linalg.vector_norm(z)
    return length.div((z.numel() + zeros) ** 0.5)


def scalar(value: float, z: Tensor) -> Tensor:
    """A time or a step size as the functions here take it, on the device of `z` and without waiting for it."""
    return torch.full((), value, dtype=z.dtype, device=z.device)
