"""Trainings whose steps are launched as CUDA graphs, which are played from a tape on the CPU."""

import warnings
from typing import Any

import pytest
import torch

from pipeline.ode import ODEBlock, StepGraphs
from pipeline.ode.stepping.graphs import GraphWarning
from pipeline.runs.query import Runs
from pipeline.training import step_graphs
from tests.helpers.taped import TapeRecorder
from tests.helpers.training import train

pytestmark = pytest.mark.usefixtures("store_home")
RUNS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "ODE-Net": (["odenet_simple", "digits"], {"data": {"subset": 200}, "model": {"channels": 4}}),
    "ODE-Net in bf16": (
        ["odenet_simple", "digits"],
        {"data": {"subset": 200}, "model": {"channels": 4}, "training": {"precision": "bf16"}},
    ),
    "ODE-Net with weights that depend on time": (
        ["gladzik_odenet", "digits"],
        {"data": {"subset": 200}, "model": {"channels": 4}},
    ),
    "flow": (["cnf", "two_moons"], {"training": {"epoch_iterations": 3, "batch_size": 64}}),
    "latent ODE": (
        ["latent_ode"],
        {"data": {"name": "spirals", "subset": 20, "observed": 20, "options": {"count": 40}}},
    ),
}
SHORT: dict[str, Any] = {"data": {"subset": 50}, "training": {"max_epochs": 1, "cuda_graphs": True}}


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[TapeRecorder]:
    """Those of all parts of models, on a device that is taken for a GPU."""
    made: list[TapeRecorder] = []

    def recorder(_device: torch.device) -> TapeRecorder:
        made.append(TapeRecorder())
        return made[-1]

    monkeypatch.setattr(step_graphs, "StepGraphs", lambda: StepGraphs(recorder))
    monkeypatch.setattr(step_graphs, "has_graphs", lambda _device: True)
    return made


@pytest.mark.parametrize("name", RUNS)
def test_a_training_comes_to_the_losses_that_it_has_without_them(name: str, recorders: list[TapeRecorder]) -> None:
    names, updates = RUNS[name]
    losses = []
    for uses_them in (False, True):
        training = {"max_epochs": 2, **updates.get("training", {}), "cuda_graphs": uses_them}
        with warnings.catch_warnings():
            warnings.simplefilter("error", GraphWarning)
            outcome = train(names, {**updates, "training": training})
        assert outcome.status == "COMPLETED", outcome.error
        losses.append(Runs().get(outcome.run_id).metrics()["validation.loss"].tolist())
        assert bool(recorders) == uses_them
    assert sum(recorders[0].replays) > 20
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.usefixtures("recorders")
def test_their_memory_is_freed_when_a_training_ends() -> None:
    seen: list[bool] = []
    forward = ODEBlock.forward

    def watched(block: ODEBlock, z: Any) -> Any:
        seen.append(block.graphs is not None)
        return forward(block, z)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ODEBlock, "forward", watched)
        train(RUNS["ODE-Net"][0], {**RUNS["ODE-Net"][1], "training": {"max_epochs": 1, "cuda_graphs": True}})
    assert any(seen)
    assert not seen[-1]


def test_where_there_are_none_the_training_says_so_and_goes_on() -> None:
    with pytest.warns(GraphWarning, match="the device is cpu"):
        outcome = train(
            RUNS["ODE-Net"][0], {"data": {"subset": 50}, "training": {"max_epochs": 1, "cuda_graphs": True}}
        )
    assert outcome.status == "COMPLETED"


@pytest.mark.parametrize("names", [["resnet_small", "digits"], ["odenet_simple", "digits", "adjoint"]])
def test_what_has_no_steps_to_record_is_named(names: list[str], recorders: list[TapeRecorder]) -> None:
    updates = SHORT
    if "adjoint" in names:
        names, updates = names[:-1], {**updates, "solver": {"gradient": "adjoint"}}
    with pytest.warns(GraphWarning, match="only the steps of explicit methods"):
        train(names, updates)
    assert recorders == []
