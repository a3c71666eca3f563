"""What is done to the graphs that torch's compiler compiles for us."""

from pathlib import Path
from typing import Any

from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._inductor.runtime.cache_dir_utils import cache_dir

from pipeline.device.activation_pass import ActivationsByPolynomials, ElusByTheirValues
from pipeline.device.product_pass import ByOneDnn
from pipeline.device.products import is_onednn_quicker
from pipeline.device.small_products import SmallProducts, load_operator


class InTurn(CustomGraphPass):
    """Several passes as one."""

    def __init__(self, *passes: CustomGraphPass) -> None:
        self._passes = passes

    def __call__(self, graph: fx.Graph) -> None:
        for one in self._passes:
            one(graph)

    def uuid(self) -> list[Any]:
        return [one.uuid() for one in self._passes]


def options_of_passes(compiler: str) -> dict[str, Any]:
    """Options of torch.compile, on this processor.

    Args:
        compiler: command of the C++ compiler.
    """
    options: dict[str, Any] = {"joint_custom_post_pass": ElusByTheirValues()}
    later: list[CustomGraphPass] = [ActivationsByPolynomials()]
    if is_onednn_quicker():
        # Torch adds sums to products between the two, and oneDNN's have no place for most of them.
        options["post_grad_custom_pre_pass"] = ByOneDnn()
        later += [SmallProducts()] if load_operator(compiler, Path(cache_dir())) else []
    return {**options, "post_grad_custom_post_pass": InTurn(*later)}
