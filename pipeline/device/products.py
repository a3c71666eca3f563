"""Products of matrices, by the library that is quicker on this processor.

torch multiplies float32 on a CPU by MKL, which leaves the AVX-512 of AMD's processors unused. oneDNN, which computes
convolutions for it, does not.
"""

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pipeline.device import processor

WORTH_IT = 4_000_000
"""Operations of a product from which oneDNN is ahead; its call takes 10 µs more than MKL's.
Measured on an AMD EPYC with AVX-512 (docs/decisions/products-of-matrices.md)."""


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """`a` b, shapes (…, n, k) and (k, m), by oneDNN where it is quicker.

    Compiled code has its products seen to by the compiler (product_pass.py).
    """
    if torch.compiler.is_compiling() or not (is_onednn_quicker() and is_worth_it(a, b)):
        return a @ b
    if _is_transformed() or torch.is_autocast_enabled("cpu"):
        return a @ b
    if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
        return cast("Tensor", _Product.apply(a, b))
    return multiplied(a, b)


@cache
def is_onednn_quicker() -> bool:
    """Whether it is on this processor."""
    is_unused_by_mkl = "AMD" in processor.name() and "avx512f" in processor.abilities()
    return is_unused_by_mkl and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


def are_float32_on_cpu(*tensors: Tensor) -> bool:
    """Whether all of them are."""
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def is_worth_it(a: Tensor, b: Tensor) -> bool:
    """Whether `a` b is a product that oneDNN computes as fast as it can."""
    # Of a gradient of weights both matrices have to be turned first.
    least = 2 * WORTH_IT if a.stride(-1) != 1 else WORTH_IT
    return are_float32_on_cpu(a, b) and 2 * a.numel() * b.shape[-1] >= least


def multiplied(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a` b + `bias`, by oneDNN, for matrices of float32 of every layout; the result's rows lie side by side."""
    # It takes for granted that a bias's numbers lie side by side, and would read others in their place.
    bias = None if bias is None else bias.contiguous()
    return cast("Tensor", torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], ""))


class _Product(torch.autograd.Function):
    """`multiplied`, of which torch knows no derivative. Its gradients are such products, with derivatives as well."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return multiplied(a, b)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        by_a = multiply(gradient, b.t()) if ctx.needs_input_grad[0] else None
        by_b = _of_weights(a.flatten(0, -2), gradient.flatten(0, -2)) if ctx.needs_input_grad[1] else None
        return by_a, by_b


def _of_weights(a: Tensor, gradient: Tensor) -> Tensor:
    """`a`ᵀ gradient, of which oneDNN is quicker with more columns than rows."""
    if a.shape[1] > gradient.shape[1]:
        return multiply(gradient.t(), a).t()
    return multiply(a.t(), gradient)


def _is_transformed() -> bool:
    """By torch.func or in forward mode, in which `multiplied` would have no derivative without a word."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()
