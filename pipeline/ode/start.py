"""What a field reads where a solve begins, and so what the gradients of its steps are to reach."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.device.random_state import get_random_state
from pipeline.ode.field import VectorField
from pipeline.ode.memory import fits_whole, nodes_behind
from pipeline.ode.path import Snapshot
from pipeline.ode.problem import Problem
from pipeline.ode.reads import nodes_of, read, sequence_number
from pipeline.util.errors import OdenetError


class Start(NamedTuple):
    """The first evaluation of a solve whose steps are recorded.

    Attributes:
        origin: the state as it was given.
        leaf: the same, where the first step's graph begins.
        first: dz/dt there, with its graph.
        snapshot: of before the evaluation.
        before: of all buffers too, also of those that change without torch's noticing, as in a batch norm.
        changing: buffers of the field's module that it changed.
        field: the field, which knows all the tensors that gradients are to reach.
        reads_outside: the evaluation depends on results of earlier computations that want gradients.
    """

    origin: Tensor
    leaf: Tensor
    first: Tensor
    snapshot: Snapshot
    before: Snapshot
    changing: list[Tensor]
    field: VectorField
    reads_outside: bool


def start(problem: Problem, z0: Tensor) -> Start:
    """Evaluate the field once and see what it reads."""
    field = problem.field
    versions, everything = field.buffer_versions(), _snapshot_of_all(field, z0)
    leaf = z0.detach().requires_grad_()
    with torch.enable_grad():
        before = sequence_number()
        first = problem.method.evaluate(field, problem.start_time(z0), leaf)
    changing = [buffer for buffer, version in versions if not buffer.is_inference() and buffer._version != version]
    changed = {id(buffer) for buffer in changing}
    snapshot = Snapshot(everything.random, [pair for pair in everything.buffers if id(pair[0]) in changed])
    leaves, reads_outside = read(first, [leaf, *field.parameters], before)
    field = field.also_reading(leaves)
    reads_outside = reads_outside or depend_on_each_other(field.parameters)
    return Start(z0, leaf, first, snapshot, everything, changing, field, reads_outside)


def first_of_a_whole_graph(problem: Problem, z0: Tensor) -> Tensor | None:
    """dz/dt at the start in the graph that `z0` is in; None, without a trace, where such graphs might become large."""
    field = problem.field
    before = _snapshot_of_all(field, z0)
    first = problem.method.evaluate(field, problem.start_time(z0), z0)
    evaluations = (problem.max_steps or problem.equal_steps or 0) * problem.method.nfe
    if fits_whole(first, [z0, *field.parameters], evaluations):
        return first
    before.put_back(z0.device)
    return None


def _snapshot_of_all(field: VectorField, z: Tensor) -> Snapshot:
    return Snapshot(get_random_state(z.device), field.buffer_values())


def depend_on_each_other(known: Sequence[Tensor]) -> bool:
    """Whether one was computed from another, to which torch would hand its gradient on within the solve."""
    computed = [tensor for tensor in known if tensor.grad_fn is not None]
    leaves, nodes = {id(tensor) for tensor in known}, nodes_of(computed)
    for tensor in computed:
        for node in nodes_behind([tensor]):
            is_another = node in nodes and node is not tensor.grad_fn
            if is_another or (hasattr(node, "variable") and id(node.variable) in leaves):
                return True
    return False


def refuse_unknown(outputs: Sequence[Tensor | None], known: Sequence[Tensor]) -> None:
    """Refuse a graph that begins at leaves other than these, which the first evaluation did not read."""
    leaves = {id(tensor) for tensor in known}
    for node in nodes_behind([output for output in outputs if output is not None], nodes_of(known)):
        if hasattr(node, "variable") and id(node.variable) not in leaves:
            raise OdenetError(
                f"the field reads a tensor of shape {tuple(node.variable.shape)} that wants a gradient, but not yet "
                "where the solve begins: name the tensors that it reads in parameters=, or use gradient=direct"
            )
