"""Products of small matrices in compiled code, for which a call of MKL or oneDNN takes longer than the arithmetic.

Ours, `odenet::small_product`, is C++ of the same name beside this, built once for each torch and kept with what torch's
compiler makes (docs/decisions/products-of-matrices.md).
"""

import hashlib
import subprocess
import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch
from torch import Tensor, fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from pipeline.device.products import are_float32_on_cpu
from pipeline.util.user_warnings import OdenetWarning

SOURCE = Path(__file__).with_suffix(".cpp")
LARGEST = 2**20
"""Products of numbers in one of matrices, up to which it is ours; from about twice as many it is oneDNN's."""
DEEPEST = 2**12
"""A number of the result is one sum of so many products at most, for its rounding's sake."""


class SmallProductsWarning(OdenetWarning):
    """Compiled code does without products of our own."""


class SmallProducts(CustomGraphPass):
    """Puts ours in place of the small ones of a graph whose sums are already part of them."""

    def __call__(self, graph: fx.Graph) -> None:
        for multiply in graph.find_nodes(op="call_function", target=torch.ops.aten.mm.default):
            a, b = cast("tuple[fx.Node, fx.Node]", multiply.args)
            _replace(graph, multiply, a, b, None)
        for multiply in graph.find_nodes(op="call_function", target=torch.ops.aten.addmm.default):
            added, a, b = cast("tuple[fx.Node, fx.Node, fx.Node]", multiply.args)
            columns, rows = b.meta["val"].shape[1], a.meta["val"].shape[0]
            if not multiply.kwargs and tuple(added.meta["val"].shape) in ((columns,), (rows, columns)):
                _replace(graph, multiply, a, b, added)

    def uuid(self) -> bytes:
        return get_hash_for_files((__file__, str(SOURCE)))


def is_small(a: Tensor, b: Tensor) -> bool:
    """Whether `a` b, shapes (n, k) and (k, m), is a product that ours computes sooner than a library is called."""
    rows, depth, columns = *a.shape, b.shape[1]
    return are_float32_on_cpu(a, b) and 0 < rows * depth * columns <= LARGEST and depth <= DEEPEST


@cache
def load_operator(compiler: str, folder: Path) -> bool:
    """Have the operator, built with that command of a C++ compiler where `folder` has it not yet.

    Returns:
        Whether it is there; if not, a SmallProductsWarning has said why. Where there is no such compiler none has, as
        torch compiles nothing then.
    """
    if hasattr(torch.ops.odenet, "small_product"):  # from another folder: a process cannot load it twice
        return True
    told = f"{torch.__version__} {compiler} {SOURCE.read_text()}"
    library = folder / f"small-products-{hashlib.sha256(told.encode()).hexdigest()[:16]}.so"
    try:
        if not library.exists():
            _build(compiler, library)
        torch.ops.load_library(library)
    except FileNotFoundError:
        return False
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip()
        message = f"products of small matrices stay torch's, which takes longer, as ours cannot be built: {reason}"
        warnings.warn(message, SmallProductsWarning, stacklevel=2)
        return False
    torch.library.register_fake("odenet::small_product", lambda a, b, _: a.new_empty(a.shape[0], b.shape[1]))
    return True


def _build(compiler: str, library: Path) -> None:
    torchs = Path(torch.__file__).parent
    headers = [f"-isystem{torchs / 'include' / part}" for part in (".", "torch/csrc/api/include")]
    flags = ["-std=c++20", "-O3", "-mavx512f", "-fPIC", "-shared", *headers, str(SOURCE), f"-L{torchs / 'lib'}"]
    library.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=library.parent) as folder:  # others may build it at the same time
        built = Path(folder) / library.name
        command = [*compiler.split(), *flags, "-ltorch_cpu", "-lc10", "-o", str(built)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        built.replace(library)


def _replace(graph: fx.Graph, multiply: fx.Node, a: fx.Node, b: fx.Node, added: fx.Node | None) -> None:
    if not is_small(a.meta["val"], b.meta["val"]):
        return
    with graph.inserting_before(multiply):
        new = graph.call_function(torch.ops.odenet.small_product.default, (a, b, added))
    new.meta["val"] = multiply.meta["val"].new_empty(multiply.meta["val"].shape)
    multiply.replace_all_uses_with(new)
    graph.erase_node(multiply)
