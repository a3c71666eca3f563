"""What cannot be trained, or was hardly meant so, is said before a run begins."""

import warnings
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from experiments.prepare import Prepared, prepare
from experiments.presets import resolve
from pipeline.config import ConfigError
from pipeline.tasks.classification.task import TrainedModel
from pipeline.tasks.lookup import get_task
from pipeline.tasks.solver_grid import Grid, trained_setting
from pipeline.util.user_warnings import OdenetWarning

SMALL = {"data.subset": 101, "data.validation_fraction": 0.5, "training.device": "cpu", "model.channels": 6}
ONE_PLACE = {"model.stride": 8, "model.normalisation": "batch", "model.body": "resnet"}
"""Maps of 1 × 1."""


def prepared(**changed: Any) -> Prepared:
    """With double underscores for dots."""
    updates: dict[str, Any] = {}
    for key, value in {**SMALL, **{key.replace("__", "."): value for key, value in changed.items()}}.items():
        section, name = key.split(".")
        updates.setdefault(section, {})[name] = value
    return prepare("classification", resolve(["odenet_simple", "digits"], updates).config)


def of_one_place(**changed: Any) -> Prepared:
    return prepared(**{**{key.replace(".", "__"): value for key, value in ONE_PLACE.items()}, **changed})


@pytest.mark.parametrize("batch_size", [1, 7, 49])
def test_a_last_batch_of_one_image_that_cannot_be_normalised_is_refused_before_the_run(batch_size: int) -> None:
    with pytest.raises(ConfigError, match=f"training.batch_size={batch_size} leaves one of the 50 training images"):
        of_one_place(training__batch_size=batch_size)


def test_it_is_fine_where_the_last_batch_has_more_or_the_maps_have() -> None:
    assert of_one_place(training__batch_size=8).data.splits.train.pixels.shape[0] == 50
    assert prepared(model__normalisation="batch", training__batch_size=7)
    assert of_one_place(training__batch_size=7, model__normalisation="group", model__groups=2)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_look_at_it_leaves_a_module_of_ones_own_as_it_was_wherever_it_lies(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)).eval().to(device)
    monkeypatch.setattr(type(get_task("classification")), "build_model", lambda *_: network)
    assert prepared(training__batch_size=7)
    assert not network.training
    if device == "cpu":
        assert int(network[0].num_batches_tracked) == 0


def test_a_stride_larger_than_the_image_is_warned_of() -> None:
    with pytest.warns(OdenetWarning, match=r"model.stride=9 is larger than the images \(8 × 8\)"):
        prepared(model__stride=9, model__groups=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OdenetWarning)
        prepared(model__stride=8, model__groups=2)


@pytest.mark.parametrize("methods", [("euler",), ("rk4", "midpoint")])
def test_steps_by_sample_are_refused_where_no_method_chooses_its_steps(methods: tuple[str, ...]) -> None:
    trained = trained_setting(get_task("classification"), resolve(["odenet_simple"], {}).config)
    with pytest.raises(ConfigError, match=f"--control sample is for adaptive methods, and {', '.join(methods)} take"):
        Grid(methods=methods, control="sample").settings(trained)
    assert Grid(methods=(*methods, "dopri5"), control="sample").settings(trained)


def test_groups_of_a_single_value_are_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match="the normalisation has a single value to work on, as maps are 1 × 1"):
        prepared(model__stride=8, model__groups=8)


@pytest.mark.parametrize(("name", "is_told_more"), [("digits", False), ("photos/", True)])
def test_test_images_that_may_have_been_trained_on_are_told_where_ones_own_data_changed(
    name: str, is_told_more: bool
) -> None:
    run = prepared()
    config = replace(run.config, data=replace(run.config.data, name=name))
    data = replace(run.data, splits=replace(run.data.splits, name=name))
    trained = TrainedModel(nn.Identity(), config, data.preprocessing, data.splits.classes)
    (said,) = run.task.data_notes(trained, data, "of another", 3)
    assert said.startswith(f"the arrays of {name} are not those that run 3 was trained on")
    assert ("some of them may have been among its training's" in said) is is_told_more
