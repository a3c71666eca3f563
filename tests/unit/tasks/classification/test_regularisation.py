"""Regularised training of image classification: what it minimises, records, repeats and refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import ConfigError, RegularisationConfig
from pipeline.device.compilation import compile_for_training
from pipeline.ode.counts import nfe_forward
from pipeline.ode.regularisation import take_penalties, weighted_penalty
from pipeline.runs.query import Runs
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.task import Classification, ImageData
from pipeline.tasks.classification.unused_settings import warn_of_unused_settings
from pipeline.tasks.unused_settings import UnusedSettingWarning
from pipeline.training import Callback, Fitted, fit
from tests.helpers import training

TASK = Classification()
ALL = {"kinetic": 1e-4, "jacobian": 1e-4, "curvature": 1e-4, "end_time_spread": 0.5}


def configured(**sections: Any) -> ClassificationConfig:
    return ClassificationConfig.from_dict(
        {
            "data": {"name": "digits", "subset": 100},
            "model": {"channels": 5, "augment": 1, "activation": "softplus", **sections.pop("model", {})},
            "training": {
                "max_epochs": 2,
                "batch_size": 32,
                "lr": 1e-3,
                "device": "cpu",
                **sections.pop("training", {}),
            },
            **sections,
        }
    )


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return TASK.load_data(configured())


class InterruptedAfterAnEpoch(Callback):
    def epoch_done(self, *_: object) -> None:
        raise KeyboardInterrupt


def trained(
    config: ClassificationConfig, digits: ImageData, folder: Path, is_interrupted: bool = False
) -> tuple[torch.nn.Module, Fitted]:
    def build() -> torch.nn.Module:
        torch.manual_seed(config.seed)
        return TASK.build_model(config, digits)

    model, objective, file = build(), TASK.objective(config, digits), folder / "checkpoint.pt"
    if is_interrupted:
        with pytest.raises(KeyboardInterrupt):
            fit(model, objective, config.training, config.seed, file, [InterruptedAfterAnEpoch()])
        model = build()
        torch.manual_seed(7)
    return model, fit(model, objective, config.training, config.seed, file, resume=is_interrupted)


def test_penalties_are_minimised_and_recorded_beside_the_loss(digits: ImageData, tmp_path: Path) -> None:
    slow = {"lr": 1e-20, "max_epochs": 1}
    _, plain = trained(configured(training=slow), digits, tmp_path)
    _, regularised = trained(configured(training=slow, regularisation=ALL), digits, tmp_path)
    found = regularised.history[0]
    assert {"training.kinetic", "training.jacobian", "training.curvature"} <= found.keys()
    assert not [name for name in found if name.startswith("validation.") and name not in plain.history[0]]
    # Nothing was learnt, and the random end times alone make another loss of training batches.
    assert found["validation.loss"] == plain.history[0]["validation.loss"]
    _, penalised = trained(configured(training=slow, regularisation={"kinetic": 1.0}), digits, tmp_path)
    assert penalised.history[0]["training.loss"] == plain.history[0]["training.loss"]
    assert penalised.history[0]["training.kinetic"] > 1


def test_a_training_batch_minimises_the_loss_and_the_weighted_penalties(digits: ImageData) -> None:
    config = configured(regularisation={"kinetic": 1e-3, "jacobian": 1e-2})
    model = TASK.build_model(config, digits).train()
    objective = TASK.objective(config, digits)
    batch = next(objective.training_batches(32, torch.Generator()))
    torch.manual_seed(0)
    result = objective.loss(model, batch, torch.Generator())
    assert result.penalty is not None
    sums = {name: result.sums[name].item() / 32 for name in ("kinetic", "jacobian")}
    assert result.penalty.item() == pytest.approx(1e-3 * sums["kinetic"] + 1e-2 * sums["jacobian"], rel=1e-5)
    assert objective.loss(model.eval(), batch, None).penalty is None


@pytest.mark.parametrize("name", ["kinetic", "jacobian", "curvature"])
def test_a_heavy_penalty_is_smaller_after_training(name: str, digits: ImageData, tmp_path: Path) -> None:
    ends = {}
    for weight in (1e-9, 1.0):
        config = configured(
            model={"normalisation": "none"},
            training={"lr": 1e-2, "max_epochs": 6, "patience": None},
            regularisation={name: weight},
        )
        ends[weight] = trained(config, digits, tmp_path)[1].history[-1][f"training.{name}"]
    assert ends[1.0] < ends[1e-9] / 2


def test_a_regularised_training_that_is_resumed_ends_as_one_that_was_not(digits: ImageData, tmp_path: Path) -> None:
    config = configured(regularisation=ALL)
    whole, _ = trained(config, digits, tmp_path)
    resumed, _ = trained(config, digits, tmp_path, is_interrupted=True)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.usefixtures("store_home")
def test_a_run_records_its_penalties_every_epoch_and_none_of_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = training.train(
        ["odenet_simple", "digits"],
        {
            "data": {"subset": 100},
            "model": {"channels": 5},
            "training": {"max_epochs": 2, "device": "cpu"},
            "regularisation": {"kinetic": 1e-4, "end_time_spread": 0.5},
        },
    )
    assert outcome.status == "COMPLETED", outcome.error
    assert len(outcome.metrics["training.kinetic"]["values"]) == 2
    assert "training.jacobian" not in outcome.metrics
    run = Runs().get(outcome.run_id)
    assert not {"kinetic", "jacobian", "curvature"} & run.info["test"].keys()
    assert "kinetic" in capsys.readouterr().err


# What is refused, and warned of


@pytest.mark.parametrize("key", ["kinetic", "jacobian", "curvature", "end_time_spread"])
def test_a_negative_weight_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"regularisation\.{key} must be at least 0, not -1"):
        RegularisationConfig(**{key: -1})


@pytest.mark.parametrize("spread", [2.0, 3])
def test_an_end_time_that_may_be_the_start_is_refused(spread: float) -> None:
    with pytest.raises(ConfigError, match=r"end_time_spread is \d, which must be below model\.final_time=2"):
        configured(model={"final_time": 2.0}, regularisation={"end_time_spread": spread})
    configured(model={"final_time": 2.0}, regularisation={"end_time_spread": 1.9})


@pytest.mark.parametrize("key", ["jacobian", "curvature"])
def test_to_compile_what_differentiates_the_field_is_refused(key: str, digits: ImageData) -> None:
    with pytest.raises(ConfigError, match=r"use training\.compile=auto"):
        configured(training={"compile": True}, regularisation={key: 0.1})
    configured(training={"compile": True}, regularisation={"kinetic": 0.1})
    automatic = configured(training={"max_epochs": 10_000}, regularisation={key: 0.1})
    (block,) = [part for part in TASK.build_model(automatic, digits).modules() if hasattr(part, "can_be_compiled")]
    assert not block.can_be_compiled


def test_regularisation_of_a_residual_network_changes_nothing_and_is_warned_of() -> None:
    with pytest.warns(UnusedSettingWarning, match=r"regularisation\.kinetic=0\.1 changes nothing: a residual network"):
        warn_of_unused_settings(configured(model={"body": "resnet"}, regularisation={"kinetic": 0.1}))


@pytest.mark.slow
def test_a_compiled_training_has_the_penalties_of_an_eager_one(digits: ImageData) -> None:
    config = configured(regularisation={"kinetic": 1e-3}, solver={"method": "heun", "rtol": 0.1, "atol": 0.1})
    images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = {}
    for is_compiled in (False, True):
        torch.manual_seed(0)
        model = TASK.build_model(config, digits).train()
        if is_compiled:
            assert compile_for_training(model, images) is not None
        scores = model(images)
        penalty = weighted_penalty(take_penalties(model), config.regularisation)
        assert penalty is not None
        (scores.square().mean() + penalty).backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found[is_compiled] = penalty.detach(), gradients, nfe_forward(model)
    assert found[True][2] == found[False][2]
    torch.testing.assert_close(found[True][0], found[False][0], rtol=1e-5, atol=0)
    torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-4, atol=1e-5)
