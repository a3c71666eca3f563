"""Batches that are computed in parts: what they come to beside the whole, and what cannot be taken apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from experiments.prepare import prepare
from pipeline.config import Config, ConfigError, TrainingConfig
from pipeline.device.allocations import Allocations
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.task import Classification
from pipeline.tasks.lookup import config_class, get_task
from pipeline.training import Callback, Fitted, fit
from tests.helpers.interrupted import InterruptedAfter, without_clock

TASK = Classification()
EQUAL_STEPS = {"solver": {"method": "rk4", "steps": 2}}
OWN_STEPS = {"solver": {"control": "sample", "rtol": 1e-2, "atol": 1e-2}}
RESIDUAL = {"model": {"body": "resnet"}}
KINDS: dict[str, Mapping[str, Any]] = {
    "equal steps": EQUAL_STEPS,
    "own steps": OWN_STEPS,
    "residual": RESIDUAL,
    "changed images": RESIDUAL | {"data": {"flip": True, "crop_padding": 2, "cutout": 3}},
    "label smoothing": RESIDUAL | {"training": {"label_smoothing": 0.1}},
    "clipping": RESIDUAL | {"training": {"clip_norm": 0.5}},
    "averaged weights": RESIDUAL | {"training": {"ema_decay": 0.9}},
    "one cycle": RESIDUAL | {"training": {"schedule": "one_cycle"}},
    "penalised": EQUAL_STEPS | {"regularisation": {"kinetic": 1e-3}},
}


def configured(*changes: Mapping[str, Any], **training: Any) -> ClassificationConfig:
    sections: dict[str, dict[str, Any]] = {
        "data": {"name": "digits", "subset": 100},
        "model": {"channels": 5, "augment": 1},
        # 80 images in batches of 32, 32 and 16.
        "training": {"max_epochs": 2, "batch_size": 32, "lr": 0.05, "optimiser": "sgd", "device": "cpu"},
    }
    for change in (*changes, {"training": training}):
        for name, values in change.items():
            sections.setdefault(name, {}).update(values)
    return ClassificationConfig.from_dict(sections)


def trained(
    config: Config, folder: Path, *callbacks: Callback, resume: bool = False, task: Any = TASK
) -> tuple[nn.Module, Fitted]:
    data = task.load_data(config)
    torch.manual_seed(config.seed)
    model, objective = task.build_model(config, data), task.objective(config, data)
    return model, fit(model, objective, config.training, 0, folder / "checkpoint.pt", callbacks, resume)


@pytest.mark.parametrize("size", [12, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_evaluations_metrics_and_weights_are_those_of_whole_batches_up_to_rounding(
    kind: str, size: int, tmp_path: Path
) -> None:
    whole, of_whole = trained(configured(KINDS[kind]), tmp_path)
    parts, of_parts = trained(configured(KINDS[kind], micro_batch_size=size), tmp_path)
    assert of_parts.batch_losses == pytest.approx(of_whole.batch_losses, rel=1e-4)
    for name in ("batch_nfe_forward", "batch_nfe_backward", "batch_rejected"):
        assert getattr(of_parts, name) == getattr(of_whole, name), name
    assert of_parts.batch_nfe_per_image == pytest.approx(of_whole.batch_nfe_per_image)
    assert of_parts.batch_error_ratio == pytest.approx(of_whole.batch_error_ratio, rel=1e-2, abs=1e-6)
    assert len(of_parts.last_solves) == len(of_whole.last_solves)
    for row, expected in zip(without_clock(of_parts), without_clock(of_whole), strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-6)
    for one, other in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_in_bfloat16_the_losses_are_those_of_whole_batches_up_to_its_rounding(tmp_path: Path) -> None:
    _, whole = trained(configured(EQUAL_STEPS, precision="bf16"), tmp_path)
    _, parts = trained(configured(EQUAL_STEPS, precision="bf16", micro_batch_size=12), tmp_path)
    assert parts.batch_losses == pytest.approx(whole.batch_losses, rel=2e-2)


def test_points_are_trained_on_in_parts_as_images_are(tmp_path: Path) -> None:
    task, kind = get_task("trajectories"), config_class("trajectories")
    values = {"solver": {"method": "rk4", "steps": 5}, "training": {"max_epochs": 1, "batch_size": 50}}
    _, whole = trained(kind.from_dict(values), tmp_path, task=task)
    values["training"]["micro_batch_size"] = 20  # type: ignore[index]
    _, parts = trained(kind.from_dict(values), tmp_path, task=task)
    assert parts.batch_losses == pytest.approx(whole.batch_losses, rel=1e-4)


def test_a_training_in_parts_is_exact_when_it_is_resumed_and_draws_its_random_numbers_on(tmp_path: Path) -> None:
    config = configured(RESIDUAL, {"model": {"dropout": 0.3}}, max_epochs=3, micro_batch_size=12)
    whole, uninterrupted = trained(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(config, tmp_path, InterruptedAfter(1))
    resumed, fitted = trained(config, tmp_path, resume=True)
    assert fitted.batch_losses == uninterrupted.batch_losses
    assert without_clock(fitted) == without_clock(uninterrupted)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


class PeakOfAStep(Callback):
    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._within = Allocations(torch.device("cpu"))

    def training_started(self, batches_per_epoch: int, max_epochs: int) -> None:  # noqa: ARG002
        self._within.__enter__()

    def training_ended(self) -> None:
        self._within.__exit__(None, None, None)
        self.peak_mb = self._within.peak_mb


def test_a_tenth_of_the_batch_takes_far_less_memory(tmp_path: Path) -> None:
    peaks = {}
    for size in (None, 8):
        watch = PeakOfAStep()
        config = configured(RESIDUAL, {"model": {"channels": 16, "stride": 1}}, batch_size=80, micro_batch_size=size)
        trained(config, tmp_path, watch)
        peaks[size] = watch.peak_mb
    assert peaks[8] < peaks[None] / 2


# What cannot be


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"solver": {"method": "dopri5"}}, "solver.control=batch the errors of a whole batch decide"),
        (RESIDUAL | {"model": {"body": "resnet", "normalisation": "batch"}}, "statistics from a whole batch"),
        (EQUAL_STEPS | {"regularisation": {"end_time_spread": 0.1}}, "ends at one random time"),
    ],
)
def test_what_depends_on_the_whole_batch_is_refused_before_there_is_a_run(
    change: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        prepare("classification", configured(change, micro_batch_size=12))


def test_a_task_that_computes_its_batches_at_once_says_so() -> None:
    values = {"data": {"name": "two_moons"}, "training": {"micro_batch_size": 10}}
    with pytest.raises(ConfigError, match="the task density computes each batch at once"):
        prepare("density", config_class("density").from_dict(values))


def test_a_part_that_is_larger_than_its_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="micro_batch_size is 200, but a batch has"):
        TrainingConfig(micro_batch_size=200)
