"""The solution between the ends of a step."""

from collections.abc import Sequence

import torch
from torch import Tensor


def between(
    weights: Sequence[Sequence[float]], theta: Tensor, dt: Tensor, z: Tensor, stages: Sequence[Tensor]
) -> Tensor:
    """z + dt Σ b_i(θ) k_i for every θ, shape (len(theta), *z.shape).

    Args:
        weights: row i has the coefficients of b_i(θ), those of θ, θ², ….
        theta: fractions of the step, on any device, shape (n,) or, where samples have steps of their own, (n, batch).
        stages: the k_i, as many as there are rows.

    Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, section II.6.
    """
    factors = factors_of_stages(weights, theta).to(z.dtype).to(z.device, non_blocking=True)
    if theta.dim() == 1 and not _rounds_products(z):
        slopes = factors @ torch.stack(list(stages)).reshape(len(stages), -1)
        return torch.addcmul(z, slopes.view(len(theta), *z.shape), dt)
    trailing = (1,) * (z.dim() + 1 - theta.dim())
    total = torch.zeros((len(theta), *z.shape), dtype=z.dtype, device=z.device)
    for factor, stage in zip(factors.unbind(-1), stages, strict=True):
        total = total + factor.view(*factor.shape, *trailing) * stage
    return torch.addcmul(z, total, dt)


def _rounds_products(z: Tensor) -> bool:
    """Whether a product of matrices would be computed more coarsely than the solution, as the field's may be."""
    if z.dtype != torch.float32:
        return False
    kind = z.device.type
    return torch.is_autocast_enabled(kind) or (kind == "cuda" and torch.backends.cuda.matmul.fp32_precision == "tf32")


def factors_of_stages(weights: Sequence[Sequence[float]], theta: Tensor) -> Tensor:
    """b_i(θ), shape (*theta.shape, stages), float64 where `theta` is."""
    exact = theta.double()
    powers = torch.stack([exact**power for power in range(1, len(weights[0]) + 1)])
    of_stages = torch.tensor(weights, dtype=torch.float64).to(theta.device, non_blocking=True)
    factors: Tensor = torch.tensordot(powers, of_stages, dims=([0], [1]))
    return factors


def hermite(theta: Tensor, dt: Tensor, z: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The cubic through both ends with the slopes there, of order 3, shape (len(theta), *z.shape)."""
    shape = (*theta.shape, *(1,) * (z.dim() - theta.dim() + 1))
    s = theta.to(z.dtype).to(z.device, non_blocking=True).view(shape)
    return (
        (1 + 2 * s) * (1 - s) ** 2 * z
        + s * s * (3 - 2 * s) * end
        + dt * (s * (1 - s) ** 2 * first + s * s * (s - 1) * last)
    )
