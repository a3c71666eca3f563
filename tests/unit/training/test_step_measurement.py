"""Steps that are measured: nodes and memory against what is known of small graphs."""

import pytest
import torch
from torch import nn

from experiments.measure import measure
from experiments.prepare import prepare
from experiments.presets import resolve
from pipeline.device.allocations import Allocations
from pipeline.training.step_measurement import StepMeasurement, count_nodes

WORDS = {"data": {"subset": 200}, "model": {"channels": 8}, "training": {"device": "cpu", "batch_size": 64}}
CPU = torch.device("cpu")


def measured(name: str = "odenet_simple", **solver: object) -> StepMeasurement:
    resolved = resolve([name, "digits"], {**WORDS, "solver": solver})
    return measure(prepare(resolved.task, resolved.config), steps=1)


def test_nodes_of_a_graph_are_counted_once_each() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2  # multiplication and what takes the gradient up
    assert count_nodes(y) == 2
    assert count_nodes((y + y).sum()) == 4  # the addition and the sum beside them


def test_allocations_are_what_tensors_take() -> None:
    before = torch.zeros(2**18)
    with Allocations(CPU) as allocations:
        kept = torch.zeros(2**19)  # 2 MB
        torch.zeros(2**20).add_(1)  # 4 MB that go again
        allocations.mark()
        more = torch.zeros(2**18)  # 1 MB
        del before
    assert allocations.marked_mb == pytest.approx(2, abs=0.1)
    assert allocations.peak_mb == pytest.approx(6, abs=0.1)
    assert len(kept) > len(more)


def test_what_a_layer_keeps_for_the_backward_pass_is_its_input() -> None:
    layers = nn.Sequential(*(nn.Sequential(nn.Linear(256, 256), nn.Tanh()) for _ in range(8)))
    x = torch.randn(1024, 256)  # 1 MB
    with Allocations(CPU) as allocations:
        loss = layers(x).sum()
        allocations.mark()
        loss.backward()
    # The tanh keeps its output, 1 MB, which is what the next linear layer keeps.
    assert allocations.marked_mb == pytest.approx(8, abs=0.5)
    assert allocations.peak_mb > allocations.marked_mb


def test_a_direct_solve_keeps_a_graph_that_grows_with_its_evaluations_and_the_adjoint_keeps_none_of_them() -> None:
    euler, rk4 = (measured(method=method, gradient="direct") for method in ("euler", "rk4"))
    adjoint, direct = (measured(gradient=gradient) for gradient in ("adjoint", "direct"))
    assert (euler.nfe_forward, rk4.nfe_forward) == (1, 4)
    assert euler.graph_nodes < rk4.graph_nodes < direct.graph_nodes
    assert euler.graph_memory_mb < rk4.graph_memory_mb < direct.graph_memory_mb
    assert adjoint.graph_nodes < euler.graph_nodes + 5
    assert adjoint.graph_memory_mb < rk4.graph_memory_mb
    assert adjoint.nfe_backward is not None
    assert direct.nfe_backward is None


def test_a_step_has_the_penalties_of_a_training() -> None:
    words = {**WORDS, "solver": {"method": "euler", "gradient": "direct"}}
    nodes = []
    for regularisation in ({}, {"kinetic": 0.1}):
        resolved = resolve(["odenet_simple", "digits"], {**words, "regularisation": regularisation})
        nodes.append(measure(prepare(resolved.task, resolved.config), steps=1).graph_nodes)
    assert nodes[0] < nodes[1]


def test_a_residual_network_has_no_evaluations_and_a_time() -> None:
    step = measured("resnet_small")
    assert (step.nfe_forward, step.nfe_backward, step.items) == (None, None, 64)
    assert step.step_seconds > 0
