"""Settings without effect are named; all others are not."""

import warnings
from typing import Any

import pytest

from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.unused_settings import warn_of_unused_settings
from pipeline.tasks.unused_settings import UnusedSettingWarning


def said(**sections: dict[str, Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnusedSettingWarning)
        warn_of_unused_settings(ClassificationConfig.from_dict(sections))
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"model": {"body": "resnet", "augment": 0}, "solver": {"rtol": 1e-6}},
            "solver.rtol=1e-06 changes nothing: a residual network (model.body=resnet) solves no ODE",
        ),
        (
            {"model": {"architecture": "complex", "body": "resnet", "augment": 5}},
            "model.augment=5 changes nothing: the complex residual network has no augmented dimensions",
        ),
        (
            {"model": {"body": "resnet", "augment": 0, "final_time": 2.0}},
            "model.final_time=2.0 changes nothing: a residual network (model.body=resnet) solves no ODE",
        ),
        ({"solver": {"steps": 4}}, "solver.steps=4 changes nothing: solver.method=dopri5 chooses its steps itself"),
        (
            {"solver": {"method": "rk4", "steps": 4, "atol": 0.1}},
            "solver.atol=0.1 changes nothing: solver.method=rk4 takes equal steps, as many as solver.steps",
        ),
        (
            {"solver": {"gradient": "direct", "adjoint_rtol": 0.1}},
            "solver.adjoint_rtol=0.1 changes nothing: no adjoint is solved with solver.gradient=direct",
        ),
        (
            {"model": {"normalisation": "none", "groups": 2}},
            "model.groups=2 changes nothing: there is no group normalisation with model.normalisation=none",
        ),
        ({"training": {"momentum": 0.5}}, "training.momentum=0.5 changes nothing: it is for sgd, not for training.op"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_without_effect_is_named_with_the_reason(sections: dict[str, Any], sentence: str) -> None:
    (found,) = said(**sections)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"model": {"body": "resnet", "augment": 0, "groups": 2}},
        {"solver": {"rtol": 1e-5, "controller": "pi", "max_steps": 9, "reuse_first_step": True}},
        {"solver": {"method": "euler", "steps": 9}, "training": {"optimiser": "sgd", "momentum": 0.5}},
        {"solver": {"gradient": "adjoint", "adjoint_rtol": 0.1, "adjoint_atol": 0.1}},
    ],
)
def test_settings_with_an_effect_are_not(sections: dict[str, Any]) -> None:
    assert said(**sections) == []
