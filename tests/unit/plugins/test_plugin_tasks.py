"""Tasks of plug-ins, made of the one in docs/plugins.md: which parts they choose from, what of them is refused."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.evaluate import _asked_about
from pipeline.plugins import load_plugins, registry
from pipeline.plugins.loading import unload
from pipeline.plugins.registry import PluginError
from pipeline.runs.query import StoredRun
from pipeline.tasks.base import TrainedModel
from pipeline.tasks.lookup import get_task
from pipeline.tasks.plugin_metrics import plain_scores
from pipeline.tasks.solver_grid import Row, reevaluate, trained_setting
from pipeline.util.errors import InvalidInput
from tests.helpers.pages import files_of
from tests.helpers.paths import ROOT
from tests.helpers.records import document_of

OSCILLATOR = files_of(ROOT / "docs" / "plugins.md")["oscillator.py"]
Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """A function that loads the example as a plug-in, with texts in the place of others, and gives its task."""
    files = []

    def loaded(*changes: tuple[str, str], name: str = "oscillator") -> Any:
        text = OSCILLATOR.replace('"oscillator"', f'"{name}"')
        for before, now in changes:
            assert before in text
            text = text.replace(before, now)
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(text)
        load_plugins([str(files[-1])])
        return get_task(name)

    yield loaded
    for file in files:
        unload(str(file))


# Which parts are of which task


def width_of(task: Any) -> int:
    """Of the layers of the model that the task builds, which is also its option."""
    config = task.config.from_dict({})
    width: int = task.build_model(config, None).field.layers[0].out_features
    assert config.model.options == {"width": width}
    return width


def test_tasks_whose_models_have_one_name_build_each_its_own(load: Load) -> None:
    first, second = load(), load(("width: int = 32", "width: int = 5"), name="other")
    assert (width_of(first), width_of(second)) == (32, 5)


@pytest.mark.parametrize("name", ["resnet", "simple"])
def test_a_model_may_be_called_as_one_of_another_task_that_comes_along(load: Load, name: str) -> None:
    assert width_of(load(('"perceptron"', f'"{name}"'))) == 32


SHARED = """
@plugins.model("thin", task="second")
def thin(input_shape: tuple[int], outputs: int, solver: SolverConfig) -> nn.Module:
    return ODEBlock(Field(3), SECONDS, solver)


@dataclass(frozen=True)
class ThirdModel(OscillatorModel):
    pass


@dataclass(frozen=True)
class ThirdConfig(OscillatorConfig):
    model: ThirdModel = field(default_factory=ThirdModel)


@plugins.task("second")
class Second(Oscillator):
    config = OscillatorConfig


@plugins.task("third")
class Third(Oscillator):
    config = ThirdConfig
"""


def test_a_section_that_two_tasks_share_chooses_from_the_parts_of_both_and_one_derived_of_it_from_its_own(
    load: Load,
) -> None:
    first = load((OSCILLATOR, OSCILLATOR + SHARED))
    for name in ("perceptron", "thin"):
        assert first.config.from_dict({"model": {"architecture": name}}).model.architecture == name
    tasks = [get_task(name).config.sections()["model"].task for name in ("oscillator", "second", "third")]
    assert tasks == [None, None, "third"]


# Scores


def scored(task: Any, **scores: Any) -> list[Row]:
    """The rows of an evaluation in which the task gives these scores."""
    task.scores = lambda answers, data: scores  # noqa: ARG005
    config = task.config.from_dict({})
    data = task.load_data(config)
    trained = TrainedModel(task.build_model(config, data), config)
    return list(reevaluate(task, trained, data, [trained_setting(task, config)]))


@pytest.mark.parametrize("given", [torch.tensor(0.5), np.float32(0.5), 0.5, None])
def test_a_score_is_a_number_of_pythons_or_none(load: Load, given: Any) -> None:
    [row] = scored(load(), rmse=given)
    assert (row.status, row.scores["rmse"]) == ("completed", None if given is None else 0.5)
    assert type(row.scores["rmse"]) in (float, type(None))


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ({"rmse": torch.zeros(2)}, "the task oscillator gives a Tensor as test.rmse, .* which is no number"),
        ({"rmse": "low"}, "the task oscillator gives a str as test.rmse, 'low', which is no number: give a float"),
        ({"other": 0.5}, "the task oscillator has test.rmse as its result, and its scores are other: give that one"),
    ],
)
def test_scores_that_are_no_numbers_or_lack_the_result_are_refused(
    load: Load, scores: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence):
        plain_scores(load(), scores)


@pytest.mark.parametrize(
    ("scores", "status"),
    [
        ({"rmse": 1.0, "auc": math.nan}, "completed"),
        ({"rmse": math.nan, "auc": 1.0}, "diverged"),
        ({"rmse": 1.0, "loss": math.inf}, "diverged"),
    ],
)
def test_a_network_has_diverged_by_its_result_or_its_loss_and_not_by_a_metric_that_is_not_defined(
    load: Load, scores: dict[str, float], status: str
) -> None:
    assert [row.status for row in scored(load(), **scores)] == [status]


# Other data

BY_ITS_NAME = (
    "generator=torch.Generator().manual_seed(0)",
    "generator=torch.Generator().manual_seed(len(config.data.name))",
)


@pytest.mark.parametrize("name", ["digits", "nothing.npz", "README.md"])
def test_other_data_are_refused_where_a_task_has_its_own_under_every_name(load: Load, name: str) -> None:
    for task, is_refused in ((load(), True), (load(BY_ITS_NAME), False)):
        config = task.config.from_dict({})
        data = task.load_data(config)
        trained = TrainedModel(task.build_model(config, data), config)
        run = StoredRun(document_of(3, info=task.facts(config, data)), None)  # type: ignore[arg-type]
        if is_refused:
            with pytest.raises(InvalidInput, match=f"oscillator has for '{name}' what run 3 was trained on, and no"):
                _asked_about(run, task, trained, name)
        else:
            assert _asked_about(run, task, trained, name)[2].sha256 != data.sha256


# What is refused when it is registered

METRIC = 'MetricSpec("test.rmse", "RMSE", "root mean squared error of the next state", better="lower")'


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ((), "sweep", "runs that train nothing are called sweep; choose another name for the task"),
        (
            [('result = "test.rmse"', 'result = "test.mse"')],
            "oscillator",
            "the task oscillator has the result test.mse, and its metrics of the test split are test.rmse: name one of",
        ),
        (
            [(METRIC, METRIC.replace("lower", "min"))],
            "oscillator",
            "the metric test.rmse of the task oscillator has better='min': give lower, higher or None",
        ),
        (
            [(METRIC, f'{METRIC[:-1]}, format="%.2e")')],
            "oscillator",
            "the metric test.rmse of the task oscillator has format='%.2e': give one of a float, as .3f or .0f",
        ),
    ],
)
def test_a_task_that_would_fail_after_its_training_is_refused_with_its_line(
    load: Load, changes: list[tuple[str, str]], name: str, sentence: str
) -> None:
    with pytest.raises(PluginError, match=rf"{name}.py:\d+: {re.escape(sentence)}"):
        load(*changes, name=name)
    assert name not in registry.names("task")
