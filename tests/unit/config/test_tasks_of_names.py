"""Which task the words of a command line are of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline import plugins
from pipeline.config import ConfigError
from pipeline.config.presets import merge_presets
from pipeline.plugins import registry

KNOWN: Mapping[str, Any] = {
    "digits": {"task": ("classification", "density"), "data": {"name": "digits"}},
    "moons": {"task": ("density",), "data": {"name": "moons"}},
    "cnf": {"task": "density", "model": {"architecture": "cnf"}},
    "odenet": {"model": {"architecture": "simple"}},
    "second_seed": {"seed": 1},
}


@pytest.mark.parametrize(
    ("names", "task"),
    [
        ([], "classification"),
        (["digits"], "classification"),
        (["odenet", "digits"], "classification"),
        (["digits", "cnf"], "density"),
        (["moons", "second_seed"], "density"),
        (["cnf", "points.csv"], "density"),
        (["odenet", "images.npz"], "classification"),
    ],
)
def test_the_task_is_the_one_that_all_names_fit(names: list[str], task: str) -> None:
    assert merge_presets(names, {}, KNOWN, "classification")[0] == task


def test_a_value_among_the_names_is_refused_with_where_it_belongs() -> None:
    with pytest.raises(ConfigError, match=r"give it as config=\{'training\.lr': 0\.01\}$"):
        merge_presets(["odenet", "training.lr=0.01"], {}, KNOWN, "classification")


def test_names_that_fit_no_common_task_are_refused_with_what_each_fits() -> None:
    with pytest.raises(ConfigError, match="of one task, not odenet of classification, moons of density"):
        merge_presets(["odenet", "moons"], {}, KNOWN, "classification")


def test_a_file_of_data_is_the_data_set() -> None:
    assert merge_presets(["cnf", "points.csv"], {}, KNOWN, "classification")[1]["data"] == {"name": "points.csv"}


@pytest.mark.parametrize(("text", "told"), [("training:\n", "None"), ("training: 3\n", "3")])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_file_with_a_section_that_is_none_takes_nothing_of_the_others_away(
    tmp_path: Path, text: str, told: str, is_last: bool
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    names = [str(tmp_path / "own.yaml"), "slow"] if not is_last else ["slow", str(tmp_path / "own.yaml")]
    with pytest.raises(ConfigError, match=f"^training is a section with keys of its own, not {told}$"):
        merge_presets(names, {"training": {"max_epochs": 1}}, {"slow": {"training": {"lr": 0.1}}}, "classification")


def no_points() -> dict[str, Any]:
    return {}


@pytest.fixture
def two_of_a_name() -> Iterator[None]:
    plugins.data_set("rings_of_two", task="first", summary="of the first")(no_points)
    plugins.data_set("rings_of_two", task="second", summary="of the second")(no_points)
    yield
    registry.forget(__file__)


@pytest.mark.usefixtures("two_of_a_name")
def test_parts_of_two_tasks_may_have_one_name() -> None:
    assert registry.tasks_of("data set", "rings_of_two") == ["first", "second"]
    assert registry.find("data set", "rings_of_two", "second").facts["summary"] == "of the second"
    assert "rings_of_two" not in registry.names("data set", "classification")
    with pytest.raises(LookupError):
        registry.find("data set", "rings_of_two", "classification")
