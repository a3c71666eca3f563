"""tanh and softplus of small fields, which on a CPU take more time than what surrounds them.

In code that is compiled for float32 on a CPU they are computed by few products each, and with their derivatives
written out; elsewhere they are torch's.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.jit import is_scripting  # type: ignore[attr-defined]  # not within a function, where TorchScript reads it
from torch.nn import functional

TANH_NUMERATOR = (9.999999795e-01, 1.338102568e-01, 3.495588193e-03, 2.060908390e-05, 1.335466434e-08)
TANH_DENOMINATOR = (1.0, 4.671434127e-01, 2.587698240e-02, 3.285634949e-04, 7.776559343e-07)
"""Of tanh(z) / z as a ratio of polynomials in z², by ascending powers: fitted so that the relative error, 2.1e-8 at
most, is the same wherever it is greatest up to `TANH_SATURATED`."""
TANH_SATURATED = 9.0
"""Where tanh is 1 to all digits of float32."""
ATANH = tuple(2 / power for power in range(1, 14, 2))
"""Of 2 atanh(s) / s in s², by ascending powers: what is left out is below 2e-8 up to s = 1/3."""


def tanh(z: Tensor) -> Tensor:
    """tanh(z), within 4e-7 of it in proportion."""
    # TorchScript knows no functions with derivatives of their own, and reads nothing behind this condition.
    if not is_scripting():  # noqa: SIM102
        if _is_compiled_for_cpu(z):
            return cast("Tensor", _Tanh.apply(z))
    return torch.tanh(z)


def softplus_and_slope(z: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + exp(z)), within 4e-7 of it in proportion, and its derivative, the sigmoid."""
    if _is_compiled_for_cpu(z):
        return cast("tuple[Tensor, Tensor]", _SoftplusAndSlope.apply(z))
    return functional.softplus(z), torch.sigmoid(z)


def _is_compiled_for_cpu(z: Tensor) -> bool:
    return torch.compiler.is_compiling() and z.device.type == "cpu" and z.dtype == torch.float32


class _Tanh(torch.autograd.Function):
    """As a ratio of polynomials."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        z = z.clamp(-TANH_SATURATED, TANH_SATURATED)
        squared = z * z
        result = z * _polynomial(TANH_NUMERATOR, squared) / _polynomial(TANH_DENOMINATOR, squared)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return cast("Tensor", gradient * (1 - result * result))


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
