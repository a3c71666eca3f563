"""Activations in compiled code beside torch's own in float64."""

from collections.abc import Callable
from math import inf, nan

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.device.compilation import compiled


@pytest.fixture(scope="module")
def numbers() -> Tensor:
    """Small and large ones, of both signs, and those behind which nothing changes."""
    sizes = torch.cat([torch.logspace(-6, 1.5, 6001), torch.linspace(0, 30, 6001), torch.tensor([inf])])
    return torch.cat([sizes, -sizes])


@pytest.mark.parametrize("function", [torch.tanh, functional.elu])
def test_an_activation_and_its_gradient_are_torchs_to_rounding(
    function: Callable[[Tensor], Tensor], numbers: Tensor
) -> None:
    found, right = [], []
    for values, of, z in ((found, compiled(function), numbers), (right, function, numbers.double())):
        at = z.clone().requires_grad_()
        values.append(of(at))
        values.extend(torch.autograd.grad(values[0], at, torch.linspace(1, 2, len(z), dtype=z.dtype)))
    torch.testing.assert_close(found[1].double(), right[1], rtol=1e-6, atol=2e-6)
    errors = (found[0].double() - right[0]).nan_to_num(0.0, 0.0, 0.0).abs()  # infinity less itself
    assert (errors <= 4e-7 * right[0].abs() + 1e-38).all()
    assert not torch.equal(found[0], function(numbers))  # it is not torch's own
    assert compiled(function)(torch.full_like(numbers, nan)).isnan().all()


def test_exponentials_less_one_outside_of_an_elu_are_torchs_own(numbers: Tensor) -> None:
    def both(z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.expm1(z), functional.elu(2 * z)

    assert torch.equal(compiled(both)(numbers)[0], torch.compile(both, dynamic=False)(numbers)[0])


def test_an_elu_is_kept_for_its_gradient_and_what_it_is_of_is_not() -> None:
    z, weight = torch.randn(30, 4, requires_grad=True), torch.randn(4, 20, requires_grad=True)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = compiled(lambda z, weight: functional.elu(z @ weight) @ weight.t())(z, weight)
    assert [tensor.shape for tensor in kept].count((30, 20)) == 1
    exact = functional.elu(z.double() @ weight.double()) @ weight.t().double()
    for one, right in zip(
        torch.autograd.grad(value.sum(), (z, weight)), torch.autograd.grad(exact.sum(), (z, weight)), strict=True
    ):
        torch.testing.assert_close(one, right, rtol=1e-5, atol=1e-5)
