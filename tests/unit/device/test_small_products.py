"""Products of small matrices: ours in compiled code, and the same as torch's but for rounding."""

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._inductor.runtime.cache_dir_utils import cache_dir
from torch.profiler import ProfilerActivity, profile

from pipeline.device import processor, small_products
from pipeline.device.compilation import cxx_compiler
from pipeline.device.small_products import DEEPEST, SmallProducts, SmallProductsWarning, is_small, load_operator
from tests.helpers.matrices import layouts

ROWS, INNER, COLUMNS = 50, 7, 20


@pytest.fixture(scope="module")
def small_product() -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    if "avx512f" not in processor.abilities() or not shutil.which(cxx_compiler()):
        pytest.skip("needs a processor with AVX-512, and a C++ compiler")
    assert load_operator(cxx_compiler(), Path(cache_dir()))
    return torch.ops.odenet.small_product


def check(small_product: Callable[..., Tensor], a: Tensor, b: Tensor, added: Tensor | None = None) -> None:
    exact = a.double() @ b.double() + (0.0 if added is None else added.double())
    torch.testing.assert_close(small_product(a, b, added).double(), exact, rtol=1e-5, atol=1e-5)


def test_matrices_of_every_size_and_layout_are_multiplied(small_product: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    for a, b in product(layouts(ROWS, INNER), layouts(INNER, COLUMNS)):
        check(small_product, a, b)
    a, b = torch.randn(ROWS, INNER), torch.randn(INNER, COLUMNS)
    added = torch.randn(COLUMNS), torch.randn(2 * COLUMNS)[::2], torch.randn(1).expand(COLUMNS)
    for one in (*added, *layouts(ROWS, COLUMNS)):
        check(small_product, a, b, one)
    for rows, columns in product((1, 3, 4, 6, 11, 13, 27), (1, 15, 16, 17, 40, 64, 65, 130)):
        check(small_product, torch.randn(rows, INNER), torch.randn(INNER, columns), torch.randn(rows, columns))


@pytest.mark.usefixtures("small_product")
def test_it_load_operator_once_whatever_folder_code_is_kept_in(tmp_path: Path) -> None:
    assert load_operator(cxx_compiler(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_row_comes_out_the_same_wherever_it_lies(small_product: Callable[..., Tensor]) -> None:
    a, b = torch.randn(ROWS, INNER), torch.randn(INNER, COLUMNS)
    rows = [small_product(a[k : k + 1], b, None) for k in range(ROWS)]
    assert torch.equal(small_product(a, b, None), torch.cat(rows))


@pytest.mark.usefixtures("small_product")
def test_a_network_of_small_layers_has_the_value_and_the_gradients_that_it_has_eagerly() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(INNER, COLUMNS), nn.Linear(COLUMNS, INNER, bias=False)
    points = torch.randn(ROWS, INNER, requires_grad=True)
    over = [points, *first.parameters(), *second.parameters()]

    def outcome(network: Callable[..., Tensor]) -> list[Tensor]:
        value = network(points)
        return [value, *torch.autograd.grad(value.square().sum(), over)]

    def twice(z: Tensor) -> Tensor:
        for _ in range(2):
            z = second(first(z).sin())
        return z

    torch.compiler.reset()
    options = {"post_grad_custom_post_pass": SmallProducts()}
    quick = torch.compile(twice, fullgraph=True, dynamic=False, options=options)
    torch.testing.assert_close(outcome(quick), outcome(twice), rtol=1e-4, atol=1e-4)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        outcome(quick)
    found = [event.name for event in profiled.events()]
    # Each layer is multiplied twice, and its input's and its weights' gradients are products too, sums and all.
    assert found.count("odenet::small_product") == 12
    assert not {"aten::mm", "aten::addmm", "aten::add", "aten::add_"} & set(found)


@pytest.mark.parametrize(
    ("rows", "inner", "columns", "dtype", "expected"),
    [
        (1000, 20, 20, torch.float32, True),
        (1000, 64, 64, torch.float32, False),
        (1, DEEPEST + 1, 4, torch.float32, False),
        (0, 20, 20, torch.float32, False),
        (1000, 20, 20, torch.float64, False),
        (1000, 20, 20, torch.bfloat16, False),
    ],
)
def test_larger_products_and_other_number_formats_are_left_to_torch(
    rows: int, inner: int, columns: int, dtype: torch.dtype, expected: bool
) -> None:
    assert is_small(torch.empty(rows, inner, dtype=dtype), torch.empty(inner, columns, dtype=dtype)) is expected


def test_where_it_cannot_be_built_a_warning_says_why_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_products.torch.ops, "odenet", object())  # as where none is loaded
    expected = "^products of small matrices stay torch's.* built: .*'false'.* exit status 1"
    with pytest.warns(SmallProductsWarning, match=expected):
        assert not load_operator("false", tmp_path)
    assert not load_operator("no-such-compiler", tmp_path)  # which whoever compiles is told
    assert not list(tmp_path.iterdir())
