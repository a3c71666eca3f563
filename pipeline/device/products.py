"""Products of matrices, by the library that is quicker on this processor.

torch multiplies float32 on a CPU by MKL, which leaves the AVX-512 of AMD's processors unused. oneDNN, which computes
convolutions for it, does not.
"""

from functools import cache
from typing import cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pipeline.device import processor

WORTH_IT = 4_000_000
"""Operations of a product from which oneDNN is ahead; its call takes 10 µs more than MKL's.
Measured on an AMD EPYC with AVX-512 (docs/decisions/products-of-matrices.md)."""


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """`a` b, shapes (…, n, k) and (k, m); by oneDNN where it is quicker and nothing is differentiated.

    Compiled code has its products seen to by the compiler (product_pass.py).
    """
    if torch.compiler.is_compiling() or _is_differentiated() or torch.is_autocast_enabled("cpu"):
        return a @ b
    return multiplied(a, b) if is_onednn_quicker() and is_worth_it(a, b) else a @ b


@cache
def is_onednn_quicker() -> bool:
    """Whether it is on this processor."""
    is_unused_by_mkl = "AMD" in processor.name() and "avx512f" in processor.abilities()
    return is_unused_by_mkl and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


def is_worth_it(a: Tensor, b: Tensor) -> bool:
    """Whether `a` b is a product that oneDNN computes as fast as it can."""
    is_float32_on_cpu = a.device.type == "cpu" and a.dtype == b.dtype == torch.float32
    # Of a gradient of weights both matrices have to be turned first.
    least = 2 * WORTH_IT if a.stride(-1) != 1 else WORTH_IT
    return is_float32_on_cpu and 2 * a.numel() * b.shape[-1] >= least


def multiplied(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a` b + `bias`, by oneDNN, for matrices of float32 of every layout; the result's rows lie side by side."""
    # It takes for granted that a bias's numbers lie side by side, and would read others in their place.
    bias = None if bias is None else bias.contiguous()
    return cast("Tensor", torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], ""))


def _is_differentiated() -> bool:
    """Also forwards, and by torch.func, of which oneDNN's products know nothing: they would have no derivative."""
    is_forwards = forward_ad._current_level >= 0
    return torch.is_grad_enabled() or is_forwards or torch._C._are_functorch_transforms_active()
