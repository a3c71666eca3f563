"""What torch's compiler does with the products of a graph: the greater ones are oneDNN's."""

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from pipeline.device.products import is_worth_it, multiplied

# As the compiler takes it: as a whole, which it does not look into. Code that was compiled earlier wants it too.
torch.library.define("odenet::product", "(Tensor a, Tensor b, Tensor? bias) -> Tensor")
torch.library.impl("odenet::product", "cpu", multiplied)
torch.library.register_fake("odenet::product", lambda a, b, _: a.new_empty(a.shape[0], b.shape[1]))


class ByOneDnn(CustomGraphPass):
    """Puts oneDNN's products in place of those that are worth it."""

    def __call__(self, graph: fx.Graph) -> None:
        for multiply in graph.find_nodes(op="call_function", target=torch.ops.aten.mm.default):
            _replace(graph, multiply, *multiply.args)
        for multiply in graph.find_nodes(op="call_function", target=torch.ops.aten.addmm.default):
            added, a, b = multiply.args
            if not multiply.kwargs and added.meta["val"].dim() == 1:
                _replace(graph, multiply, a, b, added)

    def uuid(self) -> bytes:
        from pipeline.device import products

        return get_hash_for_files((__file__, products.__file__))


def _replace(graph: fx.Graph, multiply: fx.Node, a: fx.Node, b: fx.Node, bias: fx.Node | None = None) -> None:
    if not is_worth_it(a.meta["val"], b.meta["val"]):
        return
    product = torch.ops.odenet.product.default
    rows, columns = multiply.meta["val"].shape
    is_of_weights = bias is None and a.meta["val"].stride(-1) != 1
    with graph.inserting_before(multiply):
        # A gradient of weights is quicker where the result has more columns than rows.
        if is_of_weights and rows > columns:
            turned = graph.call_function(product, (_turned(graph, b), _turned(graph, a), None))
            turned.meta["val"] = multiply.meta["val"].new_empty(columns, rows)
            new = _turned(graph, turned)
        else:
            new = graph.call_function(product, (a, b, bias))
            new.meta["val"] = multiply.meta["val"].new_empty(rows, columns)
    multiply.replace_all_uses_with(new)
    graph.erase_node(multiply)


def _turned(graph: fx.Graph, node: fx.Node) -> fx.Node:
    turned = graph.call_function(torch.ops.aten.permute.default, (node, [1, 0]))
    turned.meta["val"] = node.meta["val"].t()
    return turned
