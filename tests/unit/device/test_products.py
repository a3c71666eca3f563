"""Products of matrices: by oneDNN where that is quicker, and the same but for rounding."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.profiler import ProfilerActivity, profile

from pipeline.device import processor, products
from pipeline.device.product_pass import ByOneDnn
from pipeline.device.products import is_onednn_quicker, multiplied, multiply
from tests.helpers.matrices import layouts

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
ROWS, INNER, COLUMNS = 400, 60, 250


@needs_onednn
def test_matrices_of_every_layout_are_multiplied() -> None:
    torch.manual_seed(0)
    pairs = list(product(layouts(ROWS, INNER), layouts(INNER, COLUMNS)))
    biases = (torch.randn(2 * COLUMNS)[::2], None, torch.randn(COLUMNS), torch.randn(1).expand(COLUMNS))
    for (a, b), bias in [*((pair, biases[0]) for pair in pairs), *((pairs[0], bias) for bias in biases[1:])]:
        exact = a.double() @ b.double() + (0.0 if bias is None else bias.double())
        torch.testing.assert_close(multiplied(a, b, bias).double(), exact, rtol=1e-5, atol=1e-4)


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """As it is on a processor where oneDNN is quicker, whatever this one is."""
    torch.compiler.reset()  # it compiles a function for a few others' arguments alone
    return torch.compile(function, fullgraph=True, dynamic=False, options={"post_grad_custom_pre_pass": ByOneDnn()})


def calls(function: Callable[[], object], of: str = "odenet::product") -> int:
    """How often a product is computed by oneDNN, by our operator or, uncompiled, by torch's."""
    function()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        function()
    return sum(event.name == of for event in profiled.events())


@needs_onednn
def test_a_network_of_wide_layers_has_the_value_and_the_gradients_that_it_has_eagerly() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(INNER, COLUMNS), nn.Tanh(), nn.Linear(COLUMNS, INNER, bias=False))
    points = torch.randn(ROWS, INNER, requires_grad=True)
    over = [points, *network.parameters()]

    def outcome(function: Callable[..., Tensor]) -> list[Tensor]:
        value = function(points)
        return [value, *torch.autograd.grad(value.square().sum(), over)]

    quick = compiled(network)
    torch.testing.assert_close(outcome(quick), outcome(network), rtol=1e-4, atol=1e-3)
    # Each layer is multiplied forwards, and its input's and its weights' gradients are products too.
    assert calls(lambda: outcome(quick)) == 6


@needs_onednn
@pytest.mark.parametrize(
    ("rows", "dtype"), [(8, torch.float32), (ROWS, torch.float64), (ROWS, torch.bfloat16)], ids=["small", "64", "bf16"]
)
def test_small_products_and_other_number_formats_are_left_to_torch(rows: int, dtype: torch.dtype) -> None:
    a, b = torch.randn(rows, INNER, dtype=dtype), torch.randn(INNER, COLUMNS, dtype=dtype)
    assert calls(lambda: compiled(torch.mm)(a, b)) == 0


@needs_onednn
@pytest.mark.parametrize(
    ("name", "flags", "is_quicker"),
    [
        ("AMD EPYC 9R45", "avx2 avx512f", True),
        ("AMD EPYC 7R13 Processor", "avx2", False),
        ("Intel(R) Xeon(R) Processor", "avx2 avx512f amx_bf16", False),
    ],
)
def test_it_is_by_onednn_where_mkl_leaves_the_processors_vectors_unused(
    name: str, flags: str, is_quicker: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nmodel name\t: {name}\nflags\t\t: {flags}\n\n")
    monkeypatch.setattr(processor, "CPUINFO", told)
    monkeypatch.setattr(products.torch.backends.mkl, "is_available", lambda: True)
    is_onednn_quicker.cache_clear()
    assert is_onednn_quicker() is is_quicker
    is_onednn_quicker.cache_clear()


@pytest.fixture
def quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor where oneDNN is quicker."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "is_onednn_quicker", lambda: True)


@pytest.mark.usefixtures("quicker")
def test_greater_products_are_by_onednn_without_being_compiled_too() -> None:
    tangents, weight = torch.randn(3, ROWS, INNER), torch.randn(INNER, COLUMNS)
    assert calls(lambda: multiply(tangents, weight), "mkldnn::_linear_pointwise") == 1
    assert calls(lambda: multiply(tangents[0, :8], weight), "mkldnn::_linear_pointwise") == 0
    torch.testing.assert_close(multiply(tangents, weight), tangents @ weight, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures("quicker")
@pytest.mark.parametrize("shape", [(ROWS, INNER, COLUMNS), (ROWS, COLUMNS, INNER), (3, ROWS, INNER, COLUMNS)])
def test_gradients_and_second_derivatives_are_those_of_a_product(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    *rows, inner, columns = shape
    a, b = torch.randn(*rows, inner, requires_grad=True), torch.randn(inner, columns, requires_grad=True)
    found = []
    for times in (multiply, torch.matmul):
        value = torch.tanh(times(a, b) / 10)
        first = torch.autograd.grad(value.sum(), (a, b), create_graph=True)
        second = torch.autograd.grad(sum(one.square().sum() for one in first), (a, b))
        found.append((*first, *second))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-3)
    assert calls(lambda: multiply(a, b).sum().backward(), "mkldnn::_linear_pointwise") == 3


def forwards(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(at, direction))).tangent


@pytest.mark.parametrize(
    "derivative",
    [
        forwards,
        lambda function, at, direction: torch.func.jvp(function, (at,), (direction,))[1],
        lambda function, _, direction: torch.func.vmap(function)(direction.unsqueeze(0))[0],
    ],
    ids=["forward mode", "jvp", "vmap"],
)
@pytest.mark.parametrize("has_gradients", [False, True])
@pytest.mark.usefixtures("quicker")
def test_derivatives_by_transforms_are_those_of_a_product(
    derivative: Callable[..., Tensor], has_gradients: bool
) -> None:
    at, direction, weight = torch.randn(ROWS, INNER), torch.randn(ROWS, INNER), torch.randn(INNER, COLUMNS)
    with torch.set_grad_enabled(has_gradients):
        torch.testing.assert_close(derivative(lambda z: multiply(z, weight), at, direction), direction @ weight)
