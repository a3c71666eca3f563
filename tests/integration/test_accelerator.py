"""Whole runs on an accelerator that is imitated: nothing that a run computes with is left on the CPU."""

from typing import Any

import pytest
import torch

from odenet.main import main
from pipeline.runs.query import Runs
from tests.helpers.accelerator import ACCELERATOR, accelerator
from tests.helpers.training import train

pytestmark = pytest.mark.usefixtures("store_home")
IMAGES = {"data": {"subset": 100}}
FLOW = {"training": {"epoch_iterations": 3, "batch_size": 64}}
LOOSE = {"test_rtol": 1e-4, "test_atol": 1e-4}
ESTIMATED = {"data": {"subset": 100}, "flow": {"field": "concatsquash", "width": 16, "trace": "hutchinson", **LOOSE}}
SAMPLE, ADJOINT = {"control": "sample"}, {"gradient": "adjoint", "adjoint_atol": 1e-6}
SERIES = {"data": {"name": "spirals", "subset": 20, "observed": 20, "options": {"count": 40}}}
POINTS = {"data": {"subset": 50}}
RUNS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "ODE-Net": (["odenet_simple", "digits"], IMAGES),
    "ODE-Net, each image by itself": (["odenet_simple", "digits"], IMAGES | {"solver": SAMPLE}),
    "ODE-Net, adjoint": (
        ["odenet_simple", "digits"],
        IMAGES | {"solver": ADJOINT},
    ),
    "ResNet": (["resnet_small", "digits"], IMAGES),
    "flow": (["cnf", "two_moons"], FLOW | {"flow": LOOSE}),
    "flow with an estimated divergence": (["cnf", "digits"], FLOW | ESTIMATED),
    "planar flow": (["planar_nf", "two_moons"], FLOW | {"flow": {"layers": 4}}),
    "latent ODE": (["latent_ode"], SERIES),
    "ODE-RNN": (["ode_rnn"], SERIES),
    "crossing": (["crossing", "g1d"], POINTS),
    "spheres": (["spheres"], POINTS),
}
WITHOUT_SOLVER = ("ResNet", "planar flow")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_trains_and_is_tested_and_evaluated_where_it_was_put(name: str) -> None:
    names, updates = RUNS[name]
    training = {"max_epochs": 1, **updates.get("training", {})}
    with accelerator():
        outcome = train(names, {**updates, "training": training})
        assert outcome.status == "COMPLETED", outcome.error
        again = [] if name in WITHOUT_SOLVER else ["--solver", "rk4", "--steps", "2"]
        assert main(["evaluate", str(outcome.run_id), *again, "--limit", "0"]) == 0
    for run_id in (outcome.run_id, outcome.run_id + 1):
        assert Runs().get(run_id).info["device"] == str(ACCELERATOR)


def test_what_is_mixed_is_refused_as_a_gpu_refuses_it() -> None:
    with accelerator():
        there = torch.ones(3, device=ACCELERATOR)
        assert (there * torch.tensor(2.0)).sum().item() == 6
        with pytest.raises(RuntimeError, match="two"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="two"):
            torch.stack([there[0], torch.tensor(1.0)])
        with pytest.raises(RuntimeError, match="what they choose from is on the CPU"):
            torch.ones(3)[there.long()]
        with pytest.raises(RuntimeError, match="generator"):
            torch.randn(3, device=ACCELERATOR, generator=torch.Generator())
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
