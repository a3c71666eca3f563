"""Several processes that train one model together: what they come to beside one process with the whole batch."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim.lr_scheduler import ReduceLROnPlateau

from experiments.prepare import prepare
from pipeline import plugins
from pipeline.config import ConfigError
from pipeline.device.workers import WorkersParted, joined
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.task import Classification
from pipeline.training import Callback, Fitted, Objective, fit, fit_along
from tests.helpers.commands import FORKSERVER
from tests.helpers.interrupted import InterruptedAfter, without_clock

TASK = Classification()
RESIDUAL = {"model": {"body": "resnet"}}
KINDS: dict[str, Mapping[str, Any]] = {
    "steps of the batch": {},
    "adjoint": {"solver": {"gradient": "adjoint"}},
    "reused first steps and penalties": {
        "solver": {"reuse_first_step": True, "gradient": "checkpointed"},
        "regularisation": {"kinetic": 1e-3},
    },
    "own steps": {"solver": {"control": "sample", "rtol": 1e-2, "atol": 1e-2}},
    "equal steps, in parts": {"solver": {"method": "rk4", "steps": 2}, "training": {"micro_batch_size": 5}},
    "residual, with all that training has": {
        "data": {"flip": True, "crop_padding": 2, "cutout": 3},
        "model": {"body": "resnet"},
        "training": {"clip_norm": 0.5, "ema_decay": 0.9, "schedule": "one_cycle", "label_smoothing": 0.1},
    },
    "residual, with rates by the validation loss": {
        "model": {"body": "resnet"},
        "training": {"schedule": "plateau_of_workers", "max_epochs": 3},
    },
}


@plugins.schedule("plateau_of_workers")
def plateau(optimiser: optim.Optimizer, max_epochs: int) -> ReduceLROnPlateau:  # noqa: ARG001
    return ReduceLROnPlateau(optimiser, factor=0.1, patience=0, threshold=10.0)  # no loss is so much lower


def configured(*changes: Mapping[str, Any], **training: Any) -> ClassificationConfig:
    sections: dict[str, dict[str, Any]] = {
        "data": {"name": "digits", "subset": 100},
        "model": {"channels": 5, "augment": 1, "activation": "tanh"},
        # 80 images in batches of 32, 32 and 16.
        "training": {"max_epochs": 2, "batch_size": 32, "lr": 0.05, "optimiser": "sgd", "device": "cpu"},
    }
    for change in (*changes, {"training": training}):
        for name, values in change.items():
            sections.setdefault(name, {}).update(values)
    return ClassificationConfig.from_dict(sections)


def built(config: ClassificationConfig) -> tuple[nn.Module, Objective]:
    data = TASK.load_data(config)
    torch.manual_seed(config.seed)
    return TASK.build_model(config, data), TASK.objective(config, data)


def train_along(config: ClassificationConfig, rank: int, size: int, folder: Path) -> None:
    """In a process of its own; its last weights become a file."""
    torch.set_num_threads(1)
    model, objective = built(config)
    try:
        with joined(rank, size, folder / "meeting") as workers:
            fit_along(model, objective, config.training, config.seed, workers)
    except WorkersParted:
        (folder / f"parted-{rank}").touch()
    torch.save(model.state_dict(), folder / f"weights-{rank}.pt")


def trained(
    config: ClassificationConfig, folder: Path, size: int, *callbacks: Callback, resume: bool = False
) -> tuple[nn.Module, Fitted]:
    folder.mkdir(exist_ok=True)
    model, objective = built(config)
    (folder / "meeting").unlink(missing_ok=True)
    others = [FORKSERVER.Process(target=train_along, args=(config, rank, size, folder)) for rank in range(1, size)]
    for other in others:
        other.start()
    try:
        with ExitStack() as stack:
            workers = stack.enter_context(joined(0, size, folder / "meeting")) if size > 1 else None
            checkpoint = folder / "checkpoint.pt"
            return model, fit(model, objective, config.training, 0, checkpoint, callbacks, resume, workers)
    finally:
        for other in others:
            other.join(60)
            assert other.exitcode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_steps_evaluations_losses_and_weights_are_those_of_one_process_up_to_rounding(
    kind: str, tmp_path: Path
) -> None:
    config = configured(KINDS[kind])
    alone, of_one = trained(configured(KINDS[kind], micro_batch_size=None), tmp_path / "alone", 1)
    shared, of_two = trained(config, tmp_path / "shared", 2)
    assert of_two.batch_losses == pytest.approx(of_one.batch_losses, rel=1e-5)
    for name in ("batch_nfe_forward", "batch_nfe_backward", "batch_rejected"):
        assert getattr(of_two, name) == getattr(of_one, name), name
    assert of_two.batch_nfe_per_image == pytest.approx(of_one.batch_nfe_per_image)
    assert of_two.batch_error_ratio == pytest.approx(of_one.batch_error_ratio, rel=1e-2, abs=1e-6)
    for row, expected in zip(without_clock(of_two), without_clock(of_one), strict=True):
        assert row == pytest.approx(expected, rel=1e-2, abs=1e-6)
    for one, other in zip(shared.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    first = torch.load(tmp_path / "shared" / "checkpoint.pt", weights_only=True)["model"]
    second = torch.load(tmp_path / "shared" / "weights-1.pt", weights_only=True)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_three_workers_have_shares_of_different_sizes(tmp_path: Path) -> None:
    _, of_one = trained(configured(), tmp_path / "alone", 1)
    _, of_three = trained(configured(), tmp_path / "shared", 3)
    assert of_three.batch_losses == pytest.approx(of_one.batch_losses, rel=1e-5)
    assert of_three.batch_nfe_forward == of_one.batch_nfe_forward


def test_a_training_goes_on_with_any_number_of_workers_and_with_as_many_it_is_the_uninterrupted_one_to_the_bit(
    tmp_path: Path,
) -> None:
    config = configured({"model": {"dropout": 0.3}}, max_epochs=3)
    _, uninterrupted = trained(config, tmp_path / "whole", 2)
    plain = configured(max_epochs=3)
    _, of_one = trained(plain, tmp_path / "alone", 1)
    for size, settings in ((2, config), (3, plain)):
        folder = tmp_path / f"with {size}"
        with pytest.raises(KeyboardInterrupt):
            trained(settings, folder, 2, InterruptedAfter(1))
        assert (folder / "parted-1").exists()  # the other has noticed
        _, resumed = trained(settings, folder, size, resume=True)
        if settings is config:
            assert resumed.batch_losses == uninterrupted.batch_losses
            assert without_clock(resumed) == without_clock(uninterrupted)
        else:
            assert resumed.batch_losses == pytest.approx(of_one.batch_losses, rel=1e-5)


def test_each_worker_draws_random_numbers_of_its_own(tmp_path: Path) -> None:
    """All images alike: with the same dropout for each share, the loss would be that of half a batch."""
    config = configured(RESIDUAL, {"model": {"dropout": 0.5}}, max_epochs=1)
    _, of_one = trained(config, tmp_path / "alone", 1)
    _, of_two = trained(config, tmp_path / "shared", 2)
    assert of_two.batch_losses != pytest.approx(of_one.batch_losses, rel=1e-3)
    assert of_two.batch_losses == pytest.approx(of_one.batch_losses, rel=0.3)


class SkippingLayers(nn.Module):
    """Layers of which each is used by half of the batches, or of the shares of several workers."""

    def __init__(self, pixels: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(pixels, pixels) for _ in range(4))
        self.head = nn.Linear(pixels, outputs)
        self.unused = nn.Linear(2, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.flatten(1)
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                x = x + torch.tanh(layer(x))
        scores: torch.Tensor = self.head(x)
        return scores


@plugins.model("skipping_layers")
def skipping_layers(input_shape: tuple[int, int, int], outputs: int, solver: Any) -> nn.Module:  # noqa: ARG001
    return SkippingLayers(input_shape[0] * input_shape[1] * input_shape[2], outputs)


def test_layers_that_chance_leaves_out_in_one_worker_learn_from_the_others(tmp_path: Path) -> None:
    training = {"max_epochs": 3, "batch_size": 32, "lr": 0.05, "optimiser": "sgd", "weight_decay": 0.1, "device": "cpu"}
    config = ClassificationConfig.from_dict(
        {"data": {"name": "digits", "subset": 100}, "model": {"architecture": "skipping_layers"}, "training": training}
    )
    model, _ = trained(config, tmp_path / "shared", 2)
    second = torch.load(tmp_path / "shared" / "weights-1.pt", weights_only=True)
    first = torch.load(tmp_path / "shared" / "checkpoint.pt", weights_only=True)["model"]
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(config.seed)
    begun = TASK.build_model(config, TASK.load_data(config)).state_dict()
    assert torch.equal(begun["unused.weight"], model.state_dict()["unused.weight"])  # which not even decay reaches
    assert not torch.equal(begun["layers.0.weight"], model.state_dict()["layers.0.weight"])


# What cannot be


@pytest.mark.parametrize(
    ("change", "workers", "sentence"),
    [
        ({}, 33, "33 workers share batches of training.batch_size=32"),
        ({"training": {"batch_size": 79}}, 2, "the last batch of an epoch of 80 training items has 1, which"),
        ({"training": {"compile": True}}, 2, "cannot be compiled"),
        ({"model": {"body": "resnet", "normalisation": "batch"}}, 2, "batch normalisation takes its statistics"),
        ({"solver": {"engine": "torchdiffeq"}}, 2, "takes solver.engine=odenet and an explicit method"),
        ({"solver": {"method": "kvaerno3"}}, 2, "takes solver.engine=odenet and an explicit method"),
        ({"regularisation": {"end_time_spread": 0.1}}, 2, "several workers do not draw together"),
    ],
)
def test_what_workers_cannot_share_is_refused_before_there_is_a_run(
    change: Mapping[str, Any], workers: int, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        prepare("classification", configured(change), workers=workers)
    if workers > 1 and workers < 33:
        prepare("classification", configured(change), workers=1)


def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="3 workers need a GPU each, and torch finds 2 here"):
        prepare("classification", configured(device="cuda"), workers=3)
