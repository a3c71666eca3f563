"""The advice to whoever trains for an hour."""

from collections.abc import Sequence

import pytest

from experiments.long_training import LongTraining
from experiments.presets import resolve
from pipeline.models import build_model
from pipeline.training.callback import Metrics


def said(names: Sequence[str], epoch_seconds: float, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said after each of two epochs of a training of 50 that these named configurations make."""
    config = resolve(names, {"training": {"max_epochs": 50}}).config
    model = build_model(config.model, config.solver, (1, 8, 8), 10)
    advice = LongTraining("classification", config, model)
    history: list[Metrics] = []
    for epoch in (1, 2):
        history.append({"epoch": epoch, "time.epoch_seconds": epoch_seconds})
        advice.epoch_done(epoch, history)
    return capsys.readouterr().err


def test_a_training_of_an_hour_says_once_that_there_is_a_quicker_one(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(["odenet_simple", "digits"], 100.0, capsys)
    assert told.startswith("50 epochs like this one take 83 min: `with … fast`")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "epoch_seconds"),
    [(["odenet_simple", "digits"], 50.0), (["odenet_simple", "digits", "fast"], 100.0), (["resnet_small"], 100.0)],
    ids=["a shorter training", "one that is fast already", "one that solves no ODE"],
)
def test_nothing_is_said_of(names: Sequence[str], epoch_seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(names, epoch_seconds, capsys) == ""


def test_fast_is_three_settings_over_any_other_configuration() -> None:
    plain, fast = (resolve(["odenet_simple", *names], {}).config for names in ([], ["fast"]))
    assert (fast.training.precision, fast.training.compile, fast.solver.reuse_first_step) == ("bf16", True, True)
    assert (fast.model, fast.data, fast.training.lr) == (plain.model, plain.data, plain.training.lr)
