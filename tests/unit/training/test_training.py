"""Training: repeats itself, stops in time, goes on where it was, and never leaves half a checkpoint."""

import copy
import io
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.recording import failure_reason
from pipeline.config import ConfigError, ImageConfig, NetworkConfig, SolverConfig, TrainingConfig
from pipeline.data import Images, Preprocessing, Splits, batches, build_preprocessing, load_splits
from pipeline.device.precision import choose_device, numerics
from pipeline.models import BatchNormalisationWarning, Network, build_model
from pipeline.ode import SolverFailure
from pipeline.tasks.classification.objective import CrossEntropy
from pipeline.training import (
    Callback,
    CheckpointError,
    Fitted,
    LossDiverged,
    StopTraining,
    fit,
    load_checkpoint,
    save_checkpoint,
)
from pipeline.training.callback import Metrics
from pipeline.training.early_stopping import EarlyStopping
from pipeline.training.optimisation import build_optimiser, build_schedule
from tests.helpers.paths import ROOT
from tests.helpers.small_disk import small_disk

CPU = torch.device("cpu")
DIGIT = (1, 8, 8)
ODENET = {"channels": 6, "augment": 0}
RESNET = {"channels": 6, "augment": 0, "body": "resnet", "blocks": 2}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "odenet direct": (ODENET, {}),
    "odenet adjoint": (ODENET, {"gradient": "adjoint"}),
    "odenet with its first step taken over": (ODENET, {"reuse_first_step": True}),
    "resnet": (RESNET, {}),
}


class Watch(Callback):
    """A callback that remembers, and may interrupt after an epoch."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.batches: list[tuple[int, int, float]] = []
        self.epochs: list[int] = []
        self.interrupt_after = interrupt_after

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:
        self.batches.append((epoch, batch, loss()))

    def epoch_done(self, epoch: int, history: Sequence[dict[str, float]]) -> None:
        assert [row["epoch"] for row in history] == list(range(1, epoch + 1))
        self.epochs.append(epoch)
        if epoch == self.interrupt_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def digits() -> Splits:
    """150 training and 50 validation images."""
    return load_splits(ImageConfig(subset=200, validation_fraction=0.25), 0, CPU)


PLAIN = build_preprocessing(ImageConfig(), DIGIT)


def network(seed: int = 0, solver: dict[str, Any] | None = None, **model: Any) -> Network:
    torch.manual_seed(seed)
    return build_model(NetworkConfig(**model), SolverConfig(**(solver or {})), DIGIT, 10)


def train(
    digits: Splits,
    model: Network,
    folder: Path,
    seed: int = 0,
    preprocessing: Preprocessing = PLAIN,
    callback: Callback | None = None,
    validation: Images | None = None,
    resume: bool = False,
    **config: Any,
) -> Fitted:
    settings = TrainingConfig(**({"max_epochs": 2, "batch_size": 64, "lr": 0.01, "device": "cpu"} | config))
    return fit(
        model,
        CrossEntropy(replace(digits, validation=validation or digits.validation), preprocessing),
        settings,
        seed,
        folder / "checkpoint.pt",
        [callback or Watch()],
        resume,
    )


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without_clock(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [
        {name: value for name, value in row.items() if not name.startswith(("time.", "memory."))} for row in history
    ]


def validation_loss(model: Network, images: Images) -> float:
    """In one batch of everything."""
    model.eval()
    with torch.no_grad():
        return float(functional.cross_entropy(model(PLAIN.for_evaluation(images.pixels)), images.labels))


# The loop


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_losses_to_the_bit_and_another_does_not(
    kind: str, digits: Splits, tmp_path: Path
) -> None:
    model, solver = KINDS[kind]
    runs = []
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        net = network(seed, solver, **model)
        runs.append((train(digits, net, tmp_path / name, seed), weights(net)))
    (first, first_weights), (again, again_weights), (other, other_weights) = runs
    assert len(first.batch_losses) == 2 * 3
    assert first.batch_losses == again.batch_losses
    assert without_clock(first.history) == without_clock(again.history)
    assert same(first_weights, again_weights)
    assert first.batch_losses != other.batch_losses
    assert not same(first_weights, other_weights)


def test_the_seed_decides_the_order_of_the_images_by_itself(digits: Splits, tmp_path: Path) -> None:
    one, other = (train(digits, network(0, **RESNET), tmp_path, seed=seed).batch_losses for seed in (1, 2))
    assert one != other


def test_only_training_images_are_learnt_from(digits: Splits, tmp_path: Path) -> None:
    # Another validation split changes what is measured, not a bit of what is learnt.
    wrong = Images(digits.validation.pixels.flip(0), digits.validation.labels)
    trained = []
    for validation in (digits.validation, wrong):
        net = network(0, **RESNET)
        fitted = train(digits, net, tmp_path, validation=validation, patience=None, max_epochs=1)
        trained.append((fitted.batch_losses, weights(net), fitted.history[0]["validation.loss"]))
    assert trained[0][0] == trained[1][0]
    assert same(trained[0][1], trained[1][1])
    assert trained[0][2] != trained[1][2]


def test_the_last_smaller_batch_is_kept_and_weighted_right(digits: Splits, tmp_path: Path) -> None:
    # Next to no learning: the mean over three batches of 64, 64 and 22 is that of the whole split in one.
    net = network(0, **RESNET)
    expected = validation_loss(net, digits.train)
    watch = Watch()
    fitted = train(digits, net, tmp_path, callback=watch, optimiser="sgd", lr=1e-12, max_epochs=1)
    (row,) = fitted.history
    losses = fitted.batch_losses
    assert [batch for _, batch, _ in watch.batches] == [1, 2, 3]
    assert row["training.loss"] == pytest.approx(expected, rel=1e-5)
    assert row["training.loss"] == pytest.approx((64 * losses[0] + 64 * losses[1] + 22 * losses[2]) / 150, rel=1e-5)
    assert row["training.loss"] != pytest.approx(sum(losses) / 3, rel=1e-5)
    assert row["validation.loss"] == pytest.approx(validation_loss(net, digits.validation), rel=1e-5)


def test_validation_neither_uses_nor_moves_the_statistics_of_its_own_batches(digits: Splits, tmp_path: Path) -> None:
    net = network(0, normalisation="batch", **RESNET)
    fitted = train(digits, net, tmp_path, max_epochs=1)
    assert [int(m.num_batches_tracked) for m in net.modules() if isinstance(m, nn.BatchNorm2d)] == [3, 3]
    assert fitted.history[0]["validation.loss"] == pytest.approx(validation_loss(net, digits.validation), rel=1e-5)


def test_an_epoch_reports_what_it_measured(digits: Splits, tmp_path: Path) -> None:
    watch = Watch()
    net = network(0, {"gradient": "adjoint", "method": "rk4", "steps": 2}, **ODENET)
    fitted = train(digits, net, tmp_path, callback=watch)
    assert watch.epochs == [1, 2]
    assert [(epoch, batch) for epoch, batch, _ in watch.batches] == [(e, b) for e in (1, 2) for b in (1, 2, 3)]
    assert [loss for *_, loss in watch.batches] == fitted.batch_losses
    assert fitted.batch_nfe_forward == fitted.batch_nfe_backward == [8] * 6
    row = fitted.history[0]
    assert (row["solver.nfe_forward"], row["solver.nfe_backward"], row["training.lr"]) == (8, 8, 0.01)
    assert 0 <= row["training.accuracy"] <= 1
    assert row["time.images_per_second"] == pytest.approx(150 / row["time.training_seconds"])
    assert row["time.epoch_seconds"] > row["time.training_seconds"] > 0
    assert row["memory.peak_mb"] > 10


def test_evaluations_that_are_not_made_are_absent_from_the_metrics(digits: Splits, tmp_path: Path) -> None:
    direct = train(digits, network(0, **ODENET), tmp_path, max_epochs=1)
    assert "solver.nfe_backward" not in direct.history[0]
    assert direct.history[0]["solver.nfe_forward"] >= 8
    resnet = train(digits, network(0, **RESNET), tmp_path, max_epochs=1)
    assert not any(name.startswith("solver.") for name in resnet.history[0])


# Early stopping


def memorised(digits: Splits) -> Images:
    """A validation split with every label moved on by one: the better the training, the worse it looks."""
    return Images(digits.train.pixels, (digits.train.labels + 1) % 10)


def test_training_stops_when_patience_is_over_and_restores_the_best_weights(digits: Splits, tmp_path: Path) -> None:
    net = network(0, **RESNET)
    validation = memorised(digits)
    fitted = train(digits, net, tmp_path, validation=validation, patience=3, max_epochs=40, lr=0.02)
    losses = [row["validation.loss"] for row in fitted.history]
    assert fitted.stopped_early
    assert fitted.best_epoch == losses.index(min(losses)) + 1
    assert len(losses) == fitted.best_epoch + 3 < 40
    assert losses[-1] > 1.1 * min(losses)
    assert validation_loss(net, validation) == pytest.approx(min(losses), rel=1e-5)


def test_training_without_patience_never_stops_early_and_restores_the_best_weights_all_the_same(
    digits: Splits, tmp_path: Path
) -> None:
    net = network(0, **RESNET)
    validation = memorised(digits)
    fitted = train(digits, net, tmp_path, validation=validation, patience=None, max_epochs=12, lr=0.02)
    losses = [row["validation.loss"] for row in fitted.history]
    assert len(losses) == 12
    assert not fitted.stopped_early
    assert fitted.best_epoch < 12
    assert validation_loss(net, validation) == pytest.approx(min(losses), rel=1e-5)


class Stopping(Callback):
    """Ends the training after so many epochs, and notes those that it heard of."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.heard: list[int] = []

    def epoch_done(self, epoch: int, history: Sequence[Metrics]) -> None:  # noqa: ARG002
        self.heard.append(epoch)
        if epoch == self.last:
            raise StopTraining


def test_a_callback_ends_the_training_after_an_epoch_that_all_others_hear_of_and_it_can_go_on(
    digits: Splits, tmp_path: Path
) -> None:
    stopping, other = Stopping(2), Stopping(0)
    objective, config = CrossEntropy(digits, PLAIN), TrainingConfig(max_epochs=4, patience=None, device="cpu")
    fitted = fit(network(), objective, config, 0, tmp_path / "checkpoint.pt", [stopping, other])
    assert stopping.heard == other.heard == [1, 2]
    assert (len(fitted.history), fitted.stopped_early) == (2, True)
    assert fitted.best_epoch in (1, 2)
    gone_on = train(digits, network(), tmp_path, resume=True, max_epochs=4, patience=None)
    assert (len(gone_on.history), gone_on.stopped_early) == (4, False)


def test_a_callback_that_is_asked_again_ends_a_resumed_training_where_it_had_ended_it(
    digits: Splits, tmp_path: Path
) -> None:
    stopping = Stopping(2)
    objective, config = CrossEntropy(digits, PLAIN), TrainingConfig(max_epochs=4, patience=None, device="cpu")
    how = (objective, config, 0, tmp_path / "checkpoint.pt", [stopping])
    fit(network(), *how)
    resumed = fit(network(), *how, resume=True, asked_again=[stopping])
    assert stopping.heard == [1, 2, 2]
    assert (len(resumed.history), resumed.stopped_early) == (2, True)


def test_an_equal_loss_is_not_a_lower_one_and_a_lower_one_starts_patience_anew() -> None:
    stopping = EarlyStopping(patience=2)
    outcomes = [
        (stopping.is_best(epoch, loss), stopping.is_over) for epoch, loss in enumerate([1.0, 1.0, 0.5, 0.6, 0.5], 1)
    ]
    assert outcomes == [(True, False), (False, False), (True, False), (False, False), (False, True)]
    assert (stopping.best_epoch, stopping.best_loss) == (3, 0.5)


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    stopping = EarlyStopping(patience=2)
    assert not stopping.is_best(1, math.nan)
    assert not stopping.is_best(2, math.inf)
    assert stopping.is_over


# Optimisation


def rates(schedule: str, max_epochs: int) -> list[float]:
    config = TrainingConfig(schedule=schedule, max_epochs=max_epochs, lr=0.1, optimiser="sgd")
    optimiser = build_optimiser(config, nn.Linear(1, 1).parameters())
    scheduler = build_schedule(config, optimiser, 1)
    used = []
    for _ in range(max_epochs):
        used.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return used


@pytest.mark.parametrize(
    ("max_epochs", "lengths"),
    [(10, [3, 3, 3, 1]), (30, [9, 9, 9, 3]), (50, [15, 15, 15, 5]), (100, [30, 30, 30, 10]), (7, [3, 2, 2])],
)
def test_the_step_schedule_divides_by_ten_after_every_three_tenths(max_epochs: int, lengths: list[int]) -> None:
    expected = [0.1 * 10.0**-power for power, length in enumerate(lengths) for _ in range(length)]
    assert rates("step", max_epochs) == pytest.approx(expected, rel=1e-12)


def test_the_cosine_schedule_falls_along_half_a_wave() -> None:
    assert rates("cosine", 8) == pytest.approx([0.05 * (1 + math.cos(math.pi * e / 8)) for e in range(8)])


def test_the_constant_schedule_stays() -> None:
    assert rates("constant", 9) == [0.1] * 9


def test_the_schedule_moves_once_an_epoch(digits: Splits, tmp_path: Path) -> None:
    fitted = train(digits, network(0, **RESNET), tmp_path, max_epochs=4, schedule="step", lr=0.1, optimiser="sgd")
    assert [row["training.lr"] for row in fitted.history] == pytest.approx([0.1, 0.1, 0.01, 0.001])


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_optimiser_learns_and_weight_decay_counts(optimiser: str, digits: Splits, tmp_path: Path) -> None:
    norms = {}
    for decay in (0.0, 0.3):
        net = network(0, **RESNET)
        fitted = train(
            digits, net, tmp_path, optimiser=optimiser, weight_decay=decay, batch_size=16, patience=None, lr=0.005
        )
        norms[decay] = sum(float(value.detach().square().sum()) for value in net.parameters())
        if decay == 0:
            assert fitted.history[-1]["training.loss"] < fitted.history[0]["training.loss"] < 2.5
    assert norms[0.3] < norms[0.0]


def test_momentum_is_that_of_the_configuration(digits: Splits, tmp_path: Path) -> None:
    trained = [
        train(digits, network(0, **RESNET), tmp_path, optimiser="sgd", momentum=momentum).batch_losses
        for momentum in (0.0, 0.9)
    ]
    assert trained[0][0] == trained[1][0]
    assert trained[0] != trained[1]


# Checkpoints


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preprocessing", ["plain", "random_crop"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(
    kind: str, preprocessing: str, optimiser: str, digits: Splits, tmp_path: Path
) -> None:
    model, solver = KINDS[kind]
    model = model | {"stride": 4 if preprocessing == "random_crop" else 2}
    few = Splits(
        "digits",
        Images(digits.train.pixels[:40], digits.train.labels[:40]),
        Images(digits.validation.pixels[:20], digits.validation.labels[:20]),
        digits.test,
        digits.classes,
        "",
    )
    seen = build_preprocessing(ImageConfig(preprocessing=preprocessing), DIGIT)

    def net(seed: int) -> Network:
        torch.manual_seed(seed)
        return build_model(NetworkConfig(**model), SolverConfig(**solver), seen.output_shape, 10)

    how: dict[str, Any] = {
        "preprocessing": seen,
        "max_epochs": 4,
        "batch_size": 16,
        "optimiser": optimiser,
        "schedule": "cosine",
        "patience": None,
    }
    whole = net(0)
    uninterrupted = train(few, whole, tmp_path / "whole", **how)
    with pytest.raises(KeyboardInterrupt):
        train(few, net(0), tmp_path / "parts", callback=Watch(interrupt_after=2), **how)
    torch.manual_seed(99)
    parts = net(7)  # other weights, all of which the checkpoint replaces
    watch = Watch()
    resumed = train(few, parts, tmp_path / "parts", callback=watch, resume=True, **how)
    assert watch.epochs == [3, 4]
    assert resumed.batch_losses == uninterrupted.batch_losses
    assert without_clock(resumed.history) == without_clock(uninterrupted.history)
    assert resumed.batch_nfe_forward == uninterrupted.batch_nfe_forward
    assert resumed.batch_nfe_backward == uninterrupted.batch_nfe_backward
    assert (resumed.best_epoch, resumed.stopped_early) == (uninterrupted.best_epoch, uninterrupted.stopped_early)
    assert same(weights(parts), weights(whole))


class OtherNoise(nn.Module):
    """Adds what Python and NumPy draw to the inputs of a training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        noise = random.random() + np.random.rand() if self.training else 0.0  # noqa: S311 - what users write
        scores: Tensor = self.linear(images.flatten(1) + noise)
        return scores


def test_what_a_model_draws_from_python_and_numpy_is_the_same_in_a_resumed_training(
    digits: Splits, tmp_path: Path
) -> None:
    def seeded(seed: int) -> None:
        for seed_one in (torch.manual_seed, random.seed, np.random.seed):
            seed_one(seed)

    seeded(0)
    whole = train(digits, OtherNoise(), tmp_path / "whole")
    seeded(0)
    with pytest.raises(KeyboardInterrupt):
        train(digits, OtherNoise(), tmp_path / "parts", callback=Watch(interrupt_after=1))
    seeded(9)
    assert train(digits, OtherNoise(), tmp_path / "parts", resume=True).batch_losses == whole.batch_losses


def test_patience_and_the_best_weights_outlive_an_interruption(digits: Splits, tmp_path: Path) -> None:
    how: dict[str, Any] = {"validation": memorised(digits), "patience": 3, "max_epochs": 40, "lr": 0.02}
    whole, parts = network(0, **RESNET), network(0, **RESNET)
    uninterrupted = train(digits, whole, tmp_path / "whole", **how)
    last = len(uninterrupted.history) - 1
    with pytest.raises(KeyboardInterrupt):
        train(digits, parts, tmp_path / "parts", callback=Watch(interrupt_after=last), **how)
    resumed = train(digits, parts, tmp_path / "parts", resume=True, **how)
    assert (resumed.best_epoch, len(resumed.history)) == (uninterrupted.best_epoch, last + 1)
    assert same(weights(parts), weights(whole))


def test_a_finished_training_resumes_to_its_best_weights_without_another_epoch(digits: Splits, tmp_path: Path) -> None:
    trained = network(0, **RESNET)
    train(digits, trained, tmp_path)
    again, watch = network(1, **RESNET), Watch()
    fitted = train(digits, again, tmp_path, callback=watch, resume=True)
    assert watch.epochs == []
    assert len(fitted.history) == 2
    assert same(weights(again), weights(trained))


SAVING = """
import os, sys
from pathlib import Path
import torch
from pipeline.training import save_checkpoint
while os.fork():  # the parent only waits for its child to be killed, and makes another
    if os.wait()[1] != 9:
        sys.exit()
print("process", os.getpid(), flush=True)
if not os.read(0, 1):  # begins when told to
    sys.exit()
number = 0
while True:
    number += 1
    save_checkpoint({"number": number, "filled": torch.full((300_000,), float(number))}, Path(sys.argv[1]))
    print("saved", number, flush=True)
"""


def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    command = [sys.executable, "-c", SAVING, str(path)]
    half_written = 0
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        lines = (line.split() for line in parent.stdout)
        child = int(next(lines)[1])
        for kill in range(12):
            parent.stdin.write("x")
            parent.stdin.flush()
            for _ in range(2):
                acknowledged = int(next(lines)[1])
            for _ in range(10):  # what is there at an instant is what a kill at that instant would leave
                load_checkpoint(path)
            time.sleep(0.0005 * kill)
            os.kill(child, signal.SIGKILL)
            for word, number in lines:
                if word == "process":
                    break
                acknowledged = int(number)
            child = int(number)
            half_written += path.with_name("checkpoint.pt.part").exists()
            state = load_checkpoint(path)
            assert state["number"] in (acknowledged, acknowledged + 1)
            assert (state["filled"] == state["number"]).all()
    assert half_written > 0, "no kill fell into a save"


def test_what_a_killed_save_left_does_not_stop_the_next(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "checkpoint.pt"
    save_checkpoint({"number": 1}, path)
    path.with_name("checkpoint.pt.part").write_bytes(b"half")
    save_checkpoint({"number": 2}, path)
    assert load_checkpoint(path) == {"number": 2}
    assert os.listdir(path.parent) == ["checkpoint.pt"]  # noqa: PTH208 - names alone


def test_a_missing_checkpoint_is_named(digits: Splits, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^there is no checkpoint .*checkpoint\.pt: start the run again$"):
        train(digits, network(0, **RESNET), tmp_path, resume=True)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"filled": torch.ones(1000)}, path)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    path.write_bytes({"cut": content[:1000], "flipped": content, "empty": b"", "text": b"not a checkpoint"}[damage])
    with pytest.raises(CheckpointError, match=r"^the checkpoint .*checkpoint\.pt is damaged \(\w+\): start the run"):
        load_checkpoint(path)


@pytest.mark.parametrize("foreign", [{"a": 1}, [1, 2], "text"])
def test_a_checkpoint_of_something_else_is_refused(foreign: Any, digits: Splits, tmp_path: Path) -> None:
    save_checkpoint(foreign, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"is not of this model: start the run again$"):
        train(digits, network(0, **RESNET), tmp_path, resume=True)


def test_a_checkpoint_of_another_model_is_refused(digits: Splits, tmp_path: Path) -> None:
    train(digits, network(0, **RESNET), tmp_path, max_epochs=1)
    with pytest.raises(CheckpointError, match=r"is not of this model"):
        train(digits, network(0, channels=8, body="resnet", augment=0), tmp_path, resume=True)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("container", ["torch", "pickle"])
def test_a_pickled_object_in_a_checkpoint_is_refused_and_not_executed(container: str, tmp_path: Path) -> None:
    path, sprung = tmp_path / "checkpoint.pt", tmp_path / "sprung"
    buffer = io.BytesIO()
    if container == "torch":
        torch.save({"epoch": Trap(sprung)}, buffer)
    else:
        pickle.dump({"epoch": Trap(sprung)}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)
    assert not sprung.exists()
    buffer.seek(0)
    torch.load(buffer, weights_only=False) if container == "torch" else pickle.load(buffer)  # noqa: S301
    assert sprung.exists(), "the trap is none"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Of one megabyte."""
    with small_disk(tmp_path / "disk", 1000) as mounted:
        yield mounted


def test_a_full_disk_is_said_and_leaves_the_old_checkpoint(disk: Path) -> None:
    path = disk / "checkpoint.pt"
    save_checkpoint({"filled": torch.ones(1000)}, path)
    with pytest.raises(
        CheckpointError, match=r"cannot be written \(No space left on device\): make room or move"
    ) as raised:
        save_checkpoint({"filled": torch.ones(1_000_000)}, path)
    assert failure_reason(raised.value) == "disk_full"  # so that a sweep goes on with the trial
    assert os.listdir(disk) == ["checkpoint.pt"]  # noqa: PTH208
    assert load_checkpoint(path)["filled"].shape == (1000,)


def test_a_checkpoint_below_a_file_cannot_be_written_which_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written \((Not a directory|File exists)\)"):
        save_checkpoint({}, tmp_path / "file" / "checkpoint.pt")


# Failures


def test_a_loss_that_diverges_ends_the_training_in_a_sentence(digits: Splits, tmp_path: Path) -> None:
    net = network(0, channels=6, augment=0, body="resnet", normalisation="none", blocks=4)
    with pytest.raises(LossDiverged) as failed:
        train(digits, net, tmp_path, optimiser="sgd", lr=1e6, max_epochs=5)
    assert str(failed.value) == (
        f"the training loss became {failed.value.loss} in epoch {failed.value.epoch}: use a training.lr below 1e+06"
    )
    assert not math.isfinite(failed.value.loss)
    assert pickle.loads(pickle.dumps(failed.value)).epoch == failed.value.epoch  # noqa: S301 - made in this line


def test_a_solve_that_fails_ends_the_training_with_its_reason(digits: Splits, tmp_path: Path) -> None:
    net = network(0, {"max_steps": 1, "rtol": 1e-8, "atol": 1e-8}, **ODENET)
    with pytest.raises(SolverFailure) as failed:
        train(digits, net, tmp_path)
    assert failed.value.to_dict()["status"] == "step_limit"
    assert not (tmp_path / "checkpoint.pt").exists()


def test_an_ode_net_that_learns_too_fast_ends_as_a_failed_solve(digits: Splits, tmp_path: Path) -> None:
    with pytest.warns(BatchNormalisationWarning):
        net = network(0, {"max_steps": 200}, normalisation="batch", **ODENET)
    with pytest.raises(SolverFailure) as failed:
        train(digits, net, tmp_path, optimiser="sgd", lr=1e4, max_epochs=20, patience=None)
    assert failed.value.status in ("underflow", "step_limit", "diverged")


# Precision and device


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_precision_trains(precision: str, kind: str, digits: Splits, tmp_path: Path) -> None:
    model, solver = KINDS[kind]
    net = network(0, solver | {"method": "rk4", "steps": 2}, **model)
    fitted = train(digits, net, tmp_path, precision=precision, max_epochs=3, batch_size=16)
    losses = [row["training.loss"] for row in fitted.history]
    assert losses[2] < losses[1] < losses[0]
    assert all(value.dtype == torch.float32 for value in net.parameters())


def test_bf16_computes_in_bfloat16_and_never_with_stale_weights(digits: Splits, tmp_path: Path) -> None:
    net = network(0, {"method": "euler"}, **ODENET)
    by_hand = copy.deepcopy(net)
    computed: set[torch.dtype] = set()
    handle = net.stem[0].register_forward_hook(lambda _module, _inputs, output: computed.add(output.dtype))
    fitted = train(digits, net, tmp_path, precision="bf16", optimiser="sgd", momentum=0.0, max_epochs=1, batch_size=16)
    handle.remove()
    assert computed == {torch.bfloat16}
    generator = torch.Generator().manual_seed(0)
    losses = []
    for pixels, labels in batches(digits.train, 16, generator):
        with torch.autocast("cpu", dtype=torch.bfloat16):  # a fresh one each step: nothing cached outlives it
            loss = functional.cross_entropy(by_hand(PLAIN.for_evaluation(pixels)).float(), labels)
        by_hand.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in by_hand.parameters():
                assert parameter.grad is not None
                parameter -= 0.01 * parameter.grad
        losses.append(loss.item())
    assert fitted.batch_losses == pytest.approx(losses, rel=1e-3)
    full = train(digits, network(0, {"method": "euler"}, **ODENET), tmp_path, optimiser="sgd", max_epochs=1)
    assert fitted.batch_losses[0] != full.batch_losses[0]


@pytest.mark.parametrize("deterministic_before", [False, True])
def test_the_process_wide_switches_are_restored_even_after_a_failure(deterministic_before: bool) -> None:
    torch.use_deterministic_algorithms(deterministic_before)
    torch.set_float32_matmul_precision("highest")
    tf32_before = torch.backends.cudnn.allow_tf32

    def fail_within() -> None:
        with numerics(TrainingConfig(precision="tf32", deterministic=True), CPU):
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.get_float32_matmul_precision() == "high"
            assert torch.backends.cudnn.allow_tf32
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            fail_within()
        assert torch.are_deterministic_algorithms_enabled() == deterministic_before
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.backends.cudnn.allow_tf32 == tf32_before
    finally:
        torch.use_deterministic_algorithms(False)


def test_fp32_asks_for_full_products_whatever_was_set_before() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with numerics(TrainingConfig(precision="fp32"), CPU):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_switches_that_were_set_by_torchs_newer_interface_are_restored_too() -> None:
    conv, matmul = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = conv.fp32_precision, matmul.fp32_precision
    conv.fp32_precision, matmul.fp32_precision = "ieee", "tf32"
    try:
        with numerics(TrainingConfig(precision="fp32"), CPU):
            assert matmul.fp32_precision == "ieee"
            assert not torch.backends.cudnn.allow_tf32
        assert (conv.fp32_precision, matmul.fp32_precision) == ("ieee", "tf32")
    finally:
        conv.fp32_precision, matmul.fp32_precision = before
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize(("precision", "products"), [("fp32", "ieee"), ("tf32", "tf32")])
def test_products_are_as_asked_for_whatever_is_said_for_all_of_torch(precision: Any, products: str) -> None:
    every = [torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul]
    before, of_each = torch.backends.fp32_precision, [each.fp32_precision for each in every]
    torch.backends.fp32_precision = "tf32" if precision == "fp32" else "ieee"
    try:
        told = [each.fp32_precision for each in every]
        with numerics(TrainingConfig(precision=precision), CPU):
            assert [each.fp32_precision for each in every] == [products] * 3
        assert [each.fp32_precision for each in every] == told
    finally:
        torch.backends.fp32_precision = before
        for each, value in zip(every, of_each, strict=True):
            each.fp32_precision = value


def test_a_deterministic_training_runs_and_repeats_itself(digits: Splits, tmp_path: Path) -> None:
    losses = [train(digits, network(0, **ODENET), tmp_path, deterministic=True).batch_losses for _ in range(2)]
    assert losses[0] == losses[1]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_and_auto_means_the_cpu() -> None:
    with pytest.raises(ConfigError, match=r"^training\.device is cuda, but torch finds no GPU here: use "):
        choose_device(TrainingConfig(device="cuda"))
    assert choose_device(TrainingConfig(device="auto")) == CPU


def test_the_cpu_may_be_asked_for() -> None:
    assert choose_device(TrainingConfig(device="cpu")) == CPU
