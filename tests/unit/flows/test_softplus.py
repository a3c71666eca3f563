"""softplus and its slope, in compiled code beside torch's own in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.device.compilation import compiled
from pipeline.flows.fields.softplus import softplus_and_slope


@pytest.fixture(scope="module")
def numbers() -> Tensor:
    """Small and large ones, of both signs, and those behind which nothing changes."""
    sizes = torch.cat([torch.logspace(-6, 1.5, 6001), torch.linspace(0, 30, 6001)])
    return torch.cat([sizes, -sizes])


def gradients(function: Callable[..., tuple[Tensor, ...]], numbers: Tensor) -> tuple[Tensor, ...]:
    """What the function makes of the numbers, and the gradient by all of it."""
    z = numbers.clone().requires_grad_()
    made = function(z)
    weights = [torch.linspace(1, 2, len(z), dtype=z.dtype) * (k + 1) for k in range(len(made))]
    (gradient,) = torch.autograd.grad(made, z, weights)
    return (*(one.detach().double() for one in made), gradient.double())


def check(
    mine: Callable[[Tensor], tuple[Tensor, ...]], torchs: Callable[[Tensor], tuple[Tensor, ...]], z: Tensor
) -> None:
    for found, right in zip(gradients(compiled(mine), z), gradients(torchs, z.double()), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-6, atol=2e-6)
    value, right = gradients(compiled(mine), z)[0], torchs(z.double())[0]
    assert ((value - right).abs() <= 4e-7 * right.abs() + 1e-38).all()
    for one, same in zip(mine(z), torchs(z), strict=True):  # uncompiled it is torch's to the bit
        assert torch.equal(one, same)


def test_softplus_and_its_slope_are_torchs_to_rounding(numbers: Tensor) -> None:
    check(softplus_and_slope, lambda z: (functional.softplus(z), torch.sigmoid(z)), numbers)
