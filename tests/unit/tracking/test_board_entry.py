"""What the dashboard lists of a run."""

import math
from typing import Any

import pytest

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tracking.board_entry import board_entry, rounded
from pipeline.tracking.readable import readable
from pipeline.tracking.run_document import metric_entry
from tests.helpers.damage import STRANGE_DOCUMENTS

CLASSIFICATION: dict[str, Any] = {
    "_id": 7,
    "format": "odenet-3",
    "experiment": {"name": "classification"},
    "config": {"data": {"name": "folder/mine.npz"}, "model": {"architecture": "simple", "body": "odenet", "blocks": 3}},
    "info": {},
    "result": 0.97222222,
}


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ({}, "training"),
        ({"rerun_of": 3}, "rerun"),
        ({"parent": 3}, "evaluation"),
        ({"sweep": {"id": 15, "trial": 2, "phase": "search"}}, "trial"),
        ({"sweep": {"id": 15, "trial": 2, "phase": "check"}}, "check"),
    ],
)
def test_an_entry_has_the_words_of_lists_and_the_rounded_result(info: dict[str, Any], kind: str) -> None:
    expected = {"kind": kind, "model": "simple ODE-Net × 3", "data": "mine", "figures": {"accuracy": 0.9722}}
    assert board_entry(CLASSIFICATION | {"info": info}) == expected


def test_the_result_of_another_task_has_the_heading_of_its_metric() -> None:
    spec = MetricSpec("test.score", "score v1.0", "how good it is")
    experiment = {"name": "mine", "task": "mine", "metrics": [metric_entry(spec)], "result": "test.score"}
    assert board_entry(CLASSIFICATION | {"experiment": experiment})["figures"] == {"score v1_0": 0.9722}


@pytest.mark.parametrize("result", [None, math.nan, math.inf, True, "0.9", {"accuracy": 0.9}])
def test_what_is_no_number_is_no_figure(result: Any) -> None:
    assert board_entry(CLASSIFICATION | {"result": result})["figures"] == {}


def test_a_sweep_and_an_experiment_of_no_task_are_called_by_what_they_are() -> None:
    sweep = CLASSIFICATION | {"experiment": {"name": "sweep"}, "config": {"space": {"file": "spaces/digits.yaml"}}}
    assert board_entry(sweep) == {"kind": "sweep", "model": "sweep", "data": "digits", "figures": {"accuracy": 0.9722}}
    own = {**CLASSIFICATION, "format": "MongoObserver-0.7.0", "experiment": {"name": "hello"}}
    entry = board_entry(readable(own)[0])
    assert entry == {"kind": "foreign", "model": "hello", "data": None, "figures": {"result": 0.9722}}


@pytest.mark.parametrize("name", STRANGE_DOCUMENTS)
def test_a_strange_document_has_an_entry_too(name: str) -> None:
    assert set(board_entry(readable({"_id": 1, **STRANGE_DOCUMENTS[name]})[0])) == {"kind", "model", "data", "figures"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.97222222, 0.9722),
        (1.23456789, 1.2346),
        (12345.678949, 12345.6789),
        (-0.000123456, -0.0001235),
        (0.0, 0.0),
        (3, 3),
    ],
)
def test_four_decimals_or_four_significant_digits_are_kept(value: float, expected: float) -> None:
    assert rounded(value) == expected
