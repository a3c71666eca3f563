"""softplus of small fields, which on a CPU takes more time than what surrounds it.

In code that is compiled for float32 on a CPU it is computed by few products, and with its derivatives written out;
elsewhere it is torch's.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.device.products import are_float32_on_cpu

ATANH = tuple(2 / power for power in range(1, 14, 2))
"""Of 2 atanh(s) / s in s², by ascending powers: what is left out is below 2e-8 up to s = 1/3."""


def softplus_and_slope(z: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + exp(z)), within 4e-7 of it in proportion, and its derivative, the sigmoid."""
    if torch.compiler.is_compiling() and are_float32_on_cpu(z):
        return cast("tuple[Tensor, Tensor]", _SoftplusAndSlope.apply(z))
    return functional.softplus(z), torch.sigmoid(z)


class _SoftplusAndSlope(torch.autograd.Function):
    """Of one exponential, by log(1 + e) = 2 atanh(e / (2 + e))."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        power = torch.exp(-z.abs())
        ratio = power / (2 + power)
        share = 1 / (1 + power)
        slope = torch.where(z >= 0, share, power * share)
        ctx.save_for_backward(slope)
        return z.clamp(min=0) + ratio * _polynomial(ATANH, ratio * ratio), slope

    @staticmethod
    def backward(ctx: Any, of_value: Tensor, of_slope: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return cast("Tensor", slope * (of_value + of_slope * (1 - slope)))


def _polynomial(coefficients: Sequence[float], z: Tensor) -> Tensor:
    total = z * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        total = total * z + coefficient
    return total
