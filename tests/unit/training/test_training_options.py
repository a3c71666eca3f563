"""Clipping, warm-up, one cycle, averaged weights, label smoothing, dropout and augmentation: off, on, and resumed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.optimizer import register_optimizer_step_post_hook

from pipeline.config import Config, ConfigError, NetworkConfig, SolverConfig, TrainingConfig
from pipeline.data import batches
from pipeline.models import build_model
from pipeline.ode.counts import ode_blocks
from pipeline.sweeps.parse import parse_space
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.objective import smoothing_penalty
from pipeline.tasks.classification.task import Classification, ImageData
from pipeline.tasks.lookup import config_class, get_task
from pipeline.training import Fitted, fit
from pipeline.training.optimisation import build_schedule, warmed_up
from tests.helpers.interrupted import InterruptedAfter, without_clock

TASK = Classification()
SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "data": {"name": "digits", "subset": 100},
    "model": {"channels": 5, "augment": 1},
    "solver": {"method": "euler", "steps": 2},
    "training": {"max_epochs": 4, "batch_size": 32, "lr": 0.01, "device": "cpu", "patience": None},
}
STEPS_PER_EPOCH = 3
"""80 training images in batches of 32."""
OPTIONS: dict[str, dict[str, Any]] = {
    "clipping": {"training": {"clip_norm": 0.5}},
    "warm-up": {"training": {"warmup_epochs": 2.5, "schedule": "cosine"}},
    "one cycle": {"training": {"schedule": "one_cycle"}},
    "averaged weights": {"training": {"ema_decay": 0.9}},
    "label smoothing": {"training": {"label_smoothing": 0.1}},
    "dropout": {"model": {"dropout": 0.3}},
    "flips": {"data": {"flip": True}},
    "crops": {"data": {"crop_padding": 2}},
    "cutout": {"data": {"cutout": 3}},
}
ALL = {
    "data": {"flip": True, "crop_padding": 2, "cutout": 3},
    "model": {"dropout": 0.3},
    "training": {
        "clip_norm": 0.5,
        "warmup_epochs": 2.5,
        "schedule": "cosine",
        "ema_decay": 0.9,
        "label_smoothing": 0.1,
    },
}


def configured(*changes: Mapping[str, Any]) -> ClassificationConfig:
    sections = {name: dict(values) for name, values in SECTIONS.items()}
    for change in changes:
        for name, values in change.items():
            sections.setdefault(name, {}).update(values)
    return ClassificationConfig.from_dict(sections)


def training(**values: Any) -> dict[str, Any]:
    return {"training": values}


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return TASK.load_data(configured())


def of(config: ClassificationConfig, digits: ImageData) -> ImageData:
    """The images as the configuration has them preprocessed."""
    return ImageData(digits.splits, TASK.load_data(config).preprocessing)


def built(config: ClassificationConfig, digits: ImageData) -> nn.Module:
    torch.manual_seed(config.seed)
    return TASK.build_model(config, digits)


def trained(
    config: ClassificationConfig,
    digits: ImageData,
    folder: Path,
    model: nn.Module | None = None,
    interrupted_after: int | None = None,
) -> tuple[nn.Module, Fitted]:
    data = of(config, digits)
    model, objective, file = model or built(config, data), TASK.objective(config, data), folder / "checkpoint.pt"
    if interrupted_after is None:
        return model, fit(model, objective, config.training, config.seed, file)
    with pytest.raises(KeyboardInterrupt):
        fit(model, objective, config.training, config.seed, file, [InterruptedAfter(interrupted_after)])
    torch.manual_seed(99)
    other = TASK.build_model(config, data)  # other weights, all of which the checkpoint replaces
    return other, fit(other, objective, config.training, config.seed, file, resume=True)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])


# Off


def test_with_all_of_them_off_losses_and_weights_are_those_of_a_plain_loop_to_the_bit(
    digits: ImageData, tmp_path: Path
) -> None:
    config = configured(training(max_epochs=2))
    model, fitted = trained(config, digits, tmp_path)
    plain, generator = built(config, digits).train(), torch.Generator().manual_seed(config.seed)
    optimiser, losses, validated = optim.Adam(plain.parameters(), config.training.lr), [], []
    for _ in range(2):
        plain.train()
        for pixels, labels in batches(digits.splits.train, 32, generator):
            loss = functional.cross_entropy(plain(pixels.to(torch.float32) / 127.5 - 1), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        plain.eval()
        with torch.no_grad():
            images = digits.splits.validation
            validated.append(
                functional.cross_entropy(plain(images.pixels.to(torch.float32) / 127.5 - 1), images.labels).item()
            )
    assert fitted.batch_losses == losses
    assert [row["validation.loss"] for row in fitted.history] == pytest.approx(validated, rel=1e-6)  # times 20 / 20
    assert validated[1] < validated[0]  # so that the best weights are the last
    assert same_weights(model, plain)
    assert "training.clipped_share" not in fitted.history[0]


@pytest.mark.parametrize("option", OPTIONS)
def test_each_of_them_changes_what_is_learnt(option: str, digits: ImageData, tmp_path: Path) -> None:
    model, fitted = trained(configured(OPTIONS[option], training(max_epochs=2)), digits, tmp_path)
    plain, as_it_was = trained(configured(training(max_epochs=2)), digits, tmp_path)
    if option != "dropout":  # whose network has one more layer
        assert not same_weights(model, plain)
    assert fitted.history[-1]["validation.loss"] != as_it_was.history[-1]["validation.loss"]


# Resumed


@pytest.mark.parametrize("option", [*OPTIONS, "all"])
def test_a_training_resumed_with_each_of_them_is_the_uninterrupted_one_to_the_bit(
    option: str, digits: ImageData, tmp_path: Path
) -> None:
    config = configured(OPTIONS.get(option, ALL))
    whole, uninterrupted = trained(config, digits, tmp_path / "whole")
    parts, resumed = trained(config, digits, tmp_path / "parts", interrupted_after=2)
    assert resumed.batch_losses == uninterrupted.batch_losses
    assert without_clock(resumed) == without_clock(uninterrupted)
    assert resumed.best_epoch == uninterrupted.best_epoch
    assert same_weights(parts, whole)


@pytest.mark.slow
def test_a_compiled_training_resumed_with_all_of_them_is_the_uninterrupted_one_to_the_bit(
    digits: ImageData, tmp_path: Path
) -> None:
    config = configured(ALL, training(compile=True, max_epochs=3))
    whole, uninterrupted = trained(config, digits, tmp_path / "whole")
    assert uninterrupted.compile_seconds is not None
    parts, resumed = trained(config, digits, tmp_path / "parts", interrupted_after=1)
    assert resumed.batch_losses == uninterrupted.batch_losses
    assert same_weights(parts, whole)


# Clipping


def displacement(model: nn.Module, start: nn.Module) -> float:
    moved = [a.detach() - b.detach() for a, b in zip(model.parameters(), start.parameters(), strict=True)]
    return float(torch.cat([part.flatten() for part in moved]).norm())


def test_a_step_of_clipped_gradients_is_as_long_as_the_norm_allows(digits: ImageData, tmp_path: Path) -> None:
    config = configured(training(optimiser="sgd", momentum=0.0, clip_norm=1e-3, max_epochs=1, batch_size=80))
    model, fitted = trained(config, digits, tmp_path)
    assert displacement(model, built(config, digits)) == pytest.approx(0.01 * 1e-3, rel=1e-3)
    assert fitted.history[0]["training.clipped_share"] == 1


def test_a_norm_that_no_gradient_reaches_changes_no_bit_and_the_share_is_of_the_steps(
    digits: ImageData, tmp_path: Path
) -> None:
    _, plain = trained(configured(), digits, tmp_path)
    _, never = trained(configured(training(clip_norm=1e9)), digits, tmp_path)
    assert never.batch_losses == plain.batch_losses
    assert [row.pop("training.clipped_share") for row in never.history] == [0] * 4
    assert without_clock(never) == without_clock(plain)
    _, some = trained(configured(training(clip_norm=1.5)), digits, tmp_path)
    shares = [row["training.clipped_share"] for row in some.history]
    assert all(share * STEPS_PER_EPOCH == pytest.approx(round(share * STEPS_PER_EPOCH)) for share in shares)
    assert 0 < sum(shares) < 4


# Learning rates


def test_a_warm_up_rises_evenly_to_the_schedule_step_by_step(digits: ImageData, tmp_path: Path) -> None:
    config = TrainingConfig(warmup_epochs=2)
    assert [warmed_up(config, step, 3) for step in range(8)] == pytest.approx(
        [1 / 6, 2 / 6, 0.5, 4 / 6, 5 / 6, 1, 1, 1]
    )
    _, fitted = trained(configured(training(warmup_epochs=2)), digits, tmp_path)
    assert [row["training.lr"] for row in fitted.history] == pytest.approx([0.01 / 6, 0.04 / 6, 0.01, 0.01])
    cosine = configured(training(warmup_epochs=2, schedule="cosine"))
    plain = configured(training(schedule="cosine"))
    rates = [[row["training.lr"] for row in trained(c, digits, tmp_path)[1].history] for c in (cosine, plain)]
    assert rates[0] == pytest.approx([rates[1][0] / 6, rates[1][1] * 4 / 6, *rates[1][2:]])


def test_the_first_step_of_a_warm_up_is_as_short_as_its_rate(digits: ImageData, tmp_path: Path) -> None:
    lengths = []
    for epochs in (0, 10):
        config = configured(training(optimiser="sgd", momentum=0.0, warmup_epochs=epochs, max_epochs=1, batch_size=80))
        model, _ = trained(config, digits, tmp_path)
        lengths.append(displacement(model, built(config, digits)))
    assert lengths[1] == pytest.approx(lengths[0] / 10, rel=1e-3)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 7), (4, 3), (10, 40)])
def test_one_cycle_has_the_rates_of_torch(epochs: int, steps: int) -> None:
    config = TrainingConfig(schedule="one_cycle", lr=0.1, max_epochs=epochs)
    rates = []
    for build in (
        lambda optimiser: build_schedule(config, optimiser, steps),
        lambda optimiser: OneCycleLR(optimiser, 0.1, epochs * steps, cycle_momentum=False),
    ):
        optimiser = optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
        schedule, used = build(optimiser), []
        for step in range(epochs * steps):
            used.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            if step < epochs * steps - 1:
                schedule.step()
        rates.append(used)
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)
    assert max(rates[0]) <= 0.1


def test_one_cycle_moves_with_every_step_of_the_training_and_one_step_alone_is_taken_in_full(
    digits: ImageData, tmp_path: Path
) -> None:
    _, fitted = trained(configured(training(schedule="one_cycle")), digits, tmp_path)
    optimiser = optim.SGD(nn.Linear(1, 1).parameters(), 0.01)
    schedule = OneCycleLR(optimiser, 0.01, 4 * STEPS_PER_EPOCH, cycle_momentum=False)
    expected = []
    for step in range(4 * STEPS_PER_EPOCH):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step < 4 * STEPS_PER_EPOCH - 1:
            schedule.step()
    assert [row["training.lr"] for row in fitted.history] == pytest.approx(expected[::STEPS_PER_EPOCH])
    alone = optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
    build_schedule(TrainingConfig(schedule="one_cycle", lr=0.1, max_epochs=1), alone, 1)
    assert alone.param_groups[0]["lr"] == 0.1


# Averaged weights


@contextmanager
def noting_steps(note: Callable[[], None]) -> Iterator[None]:
    handle = register_optimizer_step_post_hook(lambda *_: note())
    try:
        yield
    finally:
        handle.remove()


def test_the_averaged_weights_are_validated_and_kept_and_the_steps_are_those_without(
    digits: ImageData, tmp_path: Path
) -> None:
    change = {"model": {"body": "resnet", "normalisation": "batch"}}
    config = configured(change, training(ema_decay=0.8, max_epochs=3))
    model = built(config, digits)
    averages = {name: value.clone() for name, value in model.state_dict().items()}
    steps: list[None] = []

    def average() -> None:
        steps.append(None)
        decay = min(0.8, (1 + len(steps)) / (10 + len(steps)))
        for name, value in model.state_dict().items():
            averages[name] = (
                decay * averages[name] + (1 - decay) * value if value.is_floating_point() else value.clone()
            )

    with noting_steps(average):
        _, fitted = trained(config, digits, tmp_path, model)
    assert (fitted.best_epoch, len(steps)) == (3, 3 * STEPS_PER_EPOCH)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, averages[name], msg=name)
    images = digits.splits.validation
    with torch.no_grad():
        scores = model.eval()(digits.preprocessing.for_evaluation(images.pixels))
    assert fitted.history[-1]["validation.loss"] == pytest.approx(
        functional.cross_entropy(scores, images.labels).item(), rel=1e-5
    )
    _, plain = trained(configured(change, training(max_epochs=3)), digits, tmp_path)
    assert fitted.batch_losses == plain.batch_losses
    assert without_clock(fitted) != without_clock(plain)


# Label smoothing and dropout


def test_what_label_smoothing_minimises_is_torchs_and_what_is_recorded_the_cross_entropy(
    digits: ImageData, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(7, 4, dtype=torch.float64, requires_grad=True), torch.arange(7) % 4
    loss = functional.cross_entropy(scores, labels)
    ours = loss + smoothing_penalty(scores, loss, 0.2)
    torchs = functional.cross_entropy(scores, labels, label_smoothing=0.2)
    torch.testing.assert_close(ours, torchs)
    torch.testing.assert_close(*(torch.autograd.grad(one, scores, retain_graph=True)[0] for one in (ours, torchs)))
    smoothed, plain = (
        trained(configured(training(label_smoothing=value, max_epochs=1)), digits, tmp_path)[1] for value in (0.4, 0.0)
    )
    assert smoothed.batch_losses[0] == plain.batch_losses[0]  # before any step they know nothing of it
    assert smoothed.batch_losses[1] != plain.batch_losses[1]


@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
@pytest.mark.parametrize("body", ["odenet", "resnet"])
def test_dropout_is_in_the_head_alone_and_at_work_in_training_alone(architecture: str, body: str) -> None:
    config = NetworkConfig(architecture=architecture, body=body, dropout=0.5, channels=4, augment=0)
    torch.manual_seed(0)
    network = build_model(config, SolverConfig(method="euler"), (1, 8, 8), 3)
    dropped = [name for name, module in network.named_modules() if isinstance(module, nn.Dropout)]
    assert len(dropped) == 1
    assert dropped[0].startswith("head.")
    assert not any(isinstance(part, nn.Dropout) for block in ode_blocks(network) for part in block.field.modules())
    images = torch.rand(6, 1, 8, 8)

    def answers() -> Tensor:
        with torch.no_grad():
            answered: Tensor = network(images)
        return answered

    network.train()
    assert not torch.equal(answers(), answers())
    network.eval()
    assert torch.equal(answers(), answers())


# Everywhere


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        (
            "density",
            {"flow": {"width": 4}, "training": {"epoch_iterations": 3}, "solver": {"rtol": 1e-3, "atol": 1e-3}},
        ),
        ("series", {"data": {"subset": 30, "options": {"count": 60}}, "series": {"test_samples": 3}}),
        ("trajectories", {"data": {"name": "identity1d"}, "model": {"hidden": 4}}),
    ],
)
def test_every_task_that_trains_has_them_and_resumes_with_them(
    name: str, sections: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    task = get_task(name)
    options = {"clip_norm": 0.1, "warmup_epochs": 1.5, "ema_decay": 0.7, "max_epochs": 3, "patience": None}
    training_section = {**sections.pop("training", {}), **options, "device": "cpu"}
    config: Config = config_class(name).from_dict({**sections, "training": training_section})
    data = task.load_data(config)
    ended = []
    for interrupted in (False, True):
        torch.manual_seed(0)
        model, file = task.build_model(config, data), tmp_path / str(interrupted) / "checkpoint.pt"
        objective = task.objective(config, data)
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                fit(model, objective, config.training, 0, file, [InterruptedAfter(1)])
            model = task.build_model(config, data)
        ended.append((model, fit(model, objective, config.training, 0, file, resume=interrupted)))
    (whole, uninterrupted), (parts, resumed) = ended
    assert without_clock(resumed) == without_clock(uninterrupted)
    assert same_weights(parts, whole)
    assert all(0 <= row["training.clipped_share"] <= 1 for row in uninterrupted.history)
    assert uninterrupted.history[0]["training.lr"] < config.training.lr


def test_what_is_of_images_alone_is_no_setting_of_other_tasks() -> None:
    of_images = {"label_smoothing", "dropout", "flip", "crop_padding", "cutout"}
    for name in ("density", "series", "trajectories"):
        assert not of_images & {key.rpartition(".")[2] for key in config_class(name).kinds()}


def test_they_can_be_searched_and_are_in_the_record() -> None:
    text = """
with: [odenet_simple, digits]
minimise: validation.loss
space:
  training.clip_norm: {loguniform: [1e-2, 10]}
  training.warmup_epochs: {uniform: [0, 5]}
  training.ema_decay: {choice: [null, 0.9, 0.99]}
  training.label_smoothing: {uniform: [0, 0.2]}
  training.schedule: {choice: [constant, cosine]}
  model.dropout: {uniform: [0, 0.5]}
  data.flip: {choice: [true, false]}
  data.crop_padding: {quniform: [0, 4, 1]}
  data.cutout: {quniform: [0, 4, 2]}
"""
    assert len(parse_space(text, "space.yaml").parameters()) == 9
    recorded = configured(ALL).to_dict()
    assert all(recorded[section][key] == value for section, values in ALL.items() for key, value in values.items())


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (
            {"training": {"schedule": "one_cycle", "warmup_epochs": 2}},
            "training.warmup_epochs is 2, but training.schedule=one_cycle rises by itself: leave one of them out",
        ),
        (
            {"data": {"preprocessing": "random_crop", "crop_padding": 4}},
            "data.crop_padding is 4, but data.preprocessing=random_crop crops by itself: leave one of them out",
        ),
        ({"training": {"ema_decay": 1.0}}, "training.ema_decay must be below 1, not 1.0"),
        ({"training": {"clip_norm": 0}}, "training.clip_norm must be above 0, not 0"),
        ({"model": {"dropout": 1}}, "model.dropout must be below 1, not 1"),
    ],
)
def test_what_cannot_go_together_is_refused_in_a_sentence(refused: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as said:
        configured(refused)
    assert str(said.value) == sentence


@pytest.mark.parametrize("key", ["cutout", "crop_padding"])
def test_an_augmentation_as_large_as_the_images_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{key} is 8, which must be below the 8 pixels of the images' side"):
        TASK.load_data(configured({"data": {key: 8}}))
