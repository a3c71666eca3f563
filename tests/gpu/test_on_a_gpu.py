"""On a real card: what is computed there is what is computed on the CPU, and goes on after a change of device."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import odenet
from pipeline.config import NetworkConfig, SolverConfig, TrainingConfig
from pipeline.device.precision import numerics
from pipeline.models import Network, build_model
from pipeline.ode.counts import nfe_forward
from pipeline.training.step_graphs import steps_as_graphs

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

GREY = (1, 28, 28)
NETWORKS: dict[str, dict[str, Any]] = {
    "simple": {"channels": 16},
    "complex": {"architecture": "complex", "augment": 1},
    "gladzik": {"architecture": "gladzik", "augment": 0, "time_weights": "channel"},
}
GRADIENTS = ("auto", "direct", "checkpointed", "adjoint")


def network(model: dict[str, Any], gradient: str, device: str) -> Network:
    torch.manual_seed(0)
    solver = SolverConfig(gradient=gradient, rtol=1e-4, atol=1e-4)
    return build_model(NetworkConfig(**model), solver, GREY, 10).to(device)


def loss_and_gradient(model: dict[str, Any], gradient: str, device: str) -> tuple[float, torch.Tensor, int]:
    made = network(model, gradient, device)
    images = torch.rand(8, *GREY, generator=torch.Generator().manual_seed(1)).to(device)
    with numerics(TrainingConfig(precision="fp32"), images.device):
        loss = made(images).logsumexp(1).mean()
        loss.backward()
    found = torch.cat([p.grad.flatten().cpu() for p in made.parameters() if p.grad is not None])
    return float(loss), found, nfe_forward(made)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS.keys())
def test_loss_gradient_and_evaluations_are_those_of_the_cpu(model: dict[str, Any], gradient: str) -> None:
    there, here = (loss_and_gradient(model, gradient, device) for device in ("cuda", "cpu"))
    assert there[2] == here[2]
    assert there[0] == pytest.approx(here[0], rel=1e-4)
    assert (there[1] - here[1]).norm() < 1e-2 * here[1].norm()


@pytest.mark.filterwarnings("error::pipeline.ode.stepping.graphs.GraphWarning")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("gradient", ["auto", "direct", "checkpointed"])
@pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS.keys())
def test_steps_as_cuda_graphs_come_to_the_same_over_several_batches(
    model: dict[str, Any], gradient: str, precision: Literal["fp32", "bf16"]
) -> None:
    results, gradients = [], []
    for uses_them in (False, True):
        made = network(model, gradient, "cuda").train()
        optimiser = torch.optim.SGD(made.parameters(), lr=1e-2)
        config = TrainingConfig(precision=precision, cuda_graphs=uses_them)
        device, losses = torch.device("cuda"), []
        with numerics(config, device), steps_as_graphs(made, config, device):
            for batch in range(4):
                images = torch.rand(8, *GREY, generator=torch.Generator().manual_seed(batch)).to(device)
                optimiser.zero_grad()
                loss = made(images).logsumexp(1).mean()
                loss.backward()
                optimiser.step()
                losses.append(float(loss))
        results.append(losses)
        gradients.append(torch.cat([p.grad.flatten() for p in made.parameters() if p.grad is not None]))
    within = 1e-4 if precision == "fp32" else 3e-2
    assert results[1] == pytest.approx(results[0], rel=within)
    assert (gradients[1] - gradients[0]).norm() < 10 * within * gradients[0].norm()


@pytest.mark.filterwarnings("error::pipeline.ode.stepping.graphs.GraphWarning")
@pytest.mark.parametrize("names", [["cnf", "two_moons"], ["latent_ode", "spirals"]])
def test_flows_and_latent_odes_train_with_their_steps_as_cuda_graphs(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    config = {"training.max_epochs": 2, "training.device": "cuda"}
    config |= {"training.epoch_iterations": 5} if "cnf" in names else {"data.subset": 20, "data.observed": 20}
    losses = []
    for uses_them in (False, True):
        run = odenet.train(*names, config={**config, "training.cuda_graphs": uses_them})
        losses.append(run.metrics()["training.loss"].tolist())
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def trained(home: Path, monkeypatch: pytest.MonkeyPatch, **training: Any) -> odenet.StoredRun:
    monkeypatch.setenv("ODENET_HOME", str(home))
    config = {f"training.{key}": value for key, value in {"max_epochs": 2, "device": "cuda", **training}.items()}
    return odenet.train("odenet_simple", "digits", config={"data.subset": 300, "model.channels": 8, **config})


def test_a_deterministic_training_repeats_itself_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (trained(tmp_path, monkeypatch, deterministic=True) for _ in range(2))
    losses = [run.metrics()["validation.loss"].tolist() for run in (first, second)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_run_trains_there_in_every_precision(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, monkeypatch, precision=precision)
    assert run.info["device"] == "cuda"
    losses = run.metrics()["training.loss"].tolist()
    assert losses[-1] < losses[0]


def test_a_run_records_what_the_card_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = trained(tmp_path, monkeypatch).points()
    memory_mb = torch.cuda.get_device_properties(0).total_memory / 2**20
    assert all(0 <= value <= 100 for value in points["machine.gpu_percent"]["values"])
    assert all(0 < value <= memory_mb for value in points["machine.gpu_memory_mb"]["values"])
    assert all(0 < value < 120 for value in points["machine.gpu_celsius"]["values"])
    assert all(0 < value < 2000 for value in points["machine.gpu_watts"]["values"])


class Interrupts(odenet.Callback):
    """Ctrl-C in the second epoch."""

    def batch_done(self, epoch: int, *_: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_a_run_goes_on_without_the_card_that_it_began_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    config = {"data.subset": 300, "model.channels": 8, "training.max_epochs": 3}
    begun = odenet.train("odenet_simple", "digits", config=config, callbacks=[Interrupts()])
    assert begun.status == "INTERRUPTED"
    command = [sys.executable, "-m", "odenet.main", "resume", "1"]
    without = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=without, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = odenet.Runs().get(1)
    assert run.status == "COMPLETED"
    assert run.metrics()["training.loss"].count() == 3
    assert run.info["device"] == "cpu"
