"""What torch's compiler does with the activations of a graph on a CPU: a tanh and an ELU are few products each.

torch has them computed by a library of vector functions, which takes several times as long as what surrounds them in
small fields (docs/decisions/elementary-functions.md).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from pipeline.device.products import are_float32_on_cpu

NUMERATOR = (9.999999795e-01, 1.338102568e-01, 3.495588193e-03, 2.060908390e-05, 1.335466434e-08)
DENOMINATOR = (1.0, 4.671434127e-01, 2.587698240e-02, 3.285634949e-04, 7.776559343e-07)
"""Of tanh(z) / z as a ratio of polynomials in z², by ascending powers: fitted so that the relative error, 2.1e-8 at
most, is the same wherever it is greatest up to `SATURATED`."""
SATURATED = 9.0
"""Where tanh is 1 to all digits of float32."""
aten = torch.ops.aten


class ActivationsByPolynomials(CustomGraphPass):
    """Writes out tanh(z), and exp(z) - 1 in an ELU, of float32 on a CPU, each within 4e-7 of it in proportion."""

    def __call__(self, graph: fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.tanh.default):
            _replace(graph, node, _tanh)
        for node in graph.find_nodes(op="call_function", target=aten.expm1.default):
            if all(_is_elu(user) and _arguments(user)[2] is node for user in node.users):
                _replace(graph, node, _expm1)

    def uuid(self) -> bytes:
        return get_hash_for_files((__file__,))


class ElusByTheirValues(CustomGraphPass):
    """Of a graph and its derivative: takes an ELU's slope from its value, ELU(z) + 1 below 0, so that z is not kept."""

    def __call__(self, graph: fx.Graph) -> None:
        _drop_factors_of_one(graph)
        chosen = graph.find_nodes(op="call_function", target=aten.where.self)
        elus = {_arguments(node)[1]: node for node in chosen if _is_elu(node) and are_float32_on_cpu(node.meta["val"])}
        for condition, scaled, _ in map(_arguments, chosen):
            if condition.target is not aten.le.Scalar or condition.args[0] not in elus or condition.args[1] != 0:
                continue
            z = condition.args[0]
            for power in scaled.args if scaled.target is aten.mul.Tensor and len(scaled.users) == 1 else ():
                if isinstance(power, fx.Node) and power.target is aten.exp.default and power.args[0] is z:
                    with graph.inserting_before(scaled):
                        slope = graph.call_function(aten.add.Tensor, (elus[z], 1))
                    slope.meta = dict(power.meta)
                    scaled.replace_input_with(power, slope)
                    condition.replace_input_with(z, elus[z])

    def uuid(self) -> bytes:
        return get_hash_for_files((__file__,))


def _drop_factors_of_one(graph: fx.Graph) -> None:
    """An ELU's, which torch 2.11 writes out."""
    for node in graph.find_nodes(op="call_function", target=aten.mul.Tensor):
        value, factor = _arguments(node)
        if not isinstance(factor, fx.Node) and factor == 1 and value.meta["val"].dtype == node.meta["val"].dtype:
            node.replace_all_uses_with(value)
            graph.erase_node(node)


def _is_elu(node: fx.Node) -> bool:
    """Whether it is z above 0 and exp(z) - 1 elsewhere."""
    if node.target is not aten.where.self:
        return False
    condition, z, power = _arguments(node)
    is_above = condition.target is aten.gt.Scalar and tuple(condition.args) == (z, 0)
    return bool(is_above and power.target is aten.expm1.default and power.args[0] is z)


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    return node.args


def _replace(graph: fx.Graph, node: fx.Node, written_out: Callable[["_Writer", fx.Node], fx.Node]) -> None:
    if are_float32_on_cpu(node.meta["val"]):
        with graph.inserting_before(node):
            node.replace_all_uses_with(written_out(_Writer(graph, node.meta["val"]), _arguments(node)[0]))
        graph.erase_node(node)


class _Writer:
    """Appends operations whose results are like `value`."""

    def __init__(self, graph: fx.Graph, value: torch.Tensor) -> None:
        self._graph, self._value = graph, value

    def __call__(self, function: Callable[..., Any], *arguments: fx.Node | float) -> fx.Node:
        node = self._graph.call_function(function, arguments)
        node.meta["val"] = self._value
        return node


def _tanh(write: _Writer, z: fx.Node) -> fx.Node:
    return write(aten.div.Tensor, *_parts_of_tanh(write, z))


def _expm1(write: _Writer, z: fx.Node) -> fx.Node:
    """By exp(z) - 1 = 2 t / (1 - t), t = tanh(z / 2), for z up to 0: above, 1 - t would lose its digits."""
    numerator, denominator = _parts_of_tanh(write, write(aten.mul.Tensor, z, 0.5))
    doubled = write(aten.mul.Tensor, numerator, 2.0)
    return write(aten.div.Tensor, doubled, write(aten.sub.Tensor, denominator, numerator))


def _parts_of_tanh(write: _Writer, z: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Numerator and denominator."""
    z = write(aten.clamp_max.default, write(aten.clamp_min.default, z, -SATURATED), SATURATED)
    squared = write(aten.mul.Tensor, z, z)
    numerator = write(aten.mul.Tensor, z, _polynomial(write, NUMERATOR, squared))
    return numerator, _polynomial(write, DENOMINATOR, squared)


def _polynomial(write: _Writer, coefficients: Sequence[float], z: fx.Node) -> fx.Node:
    total = write(aten.add.Tensor, write(aten.mul.Tensor, z, coefficients[-1]), coefficients[-2])
    for coefficient in reversed(coefficients[:-2]):
        total = write(aten.add.Tensor, write(aten.mul.Tensor, total, z), coefficient)
    return total
