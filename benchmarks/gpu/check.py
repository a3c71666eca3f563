"""A minute's look at a GPU and what surrounds it, before anything is measured: what works, and what is missing."""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.report import gpu

WANTED = ("torchdiffeq", "torchode", "torchdyn", "diffrax", "pytest")
SIZE = 256


def checks(device: str) -> dict[str, str]:
    """What was tried -> what came of it: `ok`, with more where there is more to say, or what failed."""
    found = {"torch": torch.__version__}
    if device == "cuda":
        found["GPU"] = _tried(gpu)
        found["memory"] = f"{torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB"
    found |= {name: _tried(lambda work=work: work(device)) for name, work in WORK.items()}  # type: ignore[misc]
    missing = [name for name in WANTED if importlib.util.find_spec(name) is None]
    found["packages"] = f"missing: {', '.join(missing)}" if missing else "ok"
    return found


def _tried(work: Callable[[], str]) -> str:
    """Whatever fails is told: a check that ends the others would hide them."""
    try:
        return work()
    except Exception as error:
        reason = str(error).strip().splitlines()
        return f"failed: {type(error).__name__}{f': {reason[0]}' if reason else ''}"


def _product(device: str, dtype: torch.dtype, tf32: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIZE, SIZE, generator=generator).to(device, dtype) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        return (left @ right).float().cpu()
    finally:
        torch.set_float32_matmul_precision(before)


def _rounding(device: str, dtype: torch.dtype, tf32: bool) -> str:
    exact = _product("cpu", torch.float64)
    apart = float((_product(device, dtype, tf32) - exact).norm() / exact.norm())
    return f"ok, rounds by {apart:.0e}"


def _graphs(device: str) -> str:
    if device != "cuda":
        return "not tried: they are a GPU's"
    layer, given = nn.Linear(SIZE, SIZE).to(device), torch.randn(8, SIZE, device=device)
    stream = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(stream):
        layer(given)  # what is made at first use must be there before the capture
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            captured = layer(given)
    given.fill_(1.0)
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(captured, layer(given).detach())
    return "ok"


def _compiler(device: str) -> str:
    given = torch.linspace(-1, 1, SIZE, device=device)

    def function(values: Tensor) -> Tensor:
        return torch.tanh(values) * values

    torch.testing.assert_close(torch.compile(function)(given), function(given))
    return "ok"


WORK: dict[str, Callable[[str], str]] = {
    "fp32": lambda device: _rounding(device, torch.float32, tf32=False),
    "tf32": lambda device: _rounding(device, torch.float32, tf32=True),
    "bf16": lambda device: _rounding(device, torch.bfloat16, tf32=False),
    "CUDA graphs": _graphs,
    "compiler": _compiler,
}
