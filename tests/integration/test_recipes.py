"""The recipes of CONTRIBUTING.md, carried out on a copy of the packages: its code blocks are the files."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import database_of, run_command
from tests.helpers.pages import Block, apply, blocks_of, files_of, write_files
from tests.helpers.paths import ROOT, SAMPLES

RECIPES: dict[str, list[Block]] = {}
for block in blocks_of(ROOT / "CONTRIBUTING.md"):
    RECIPES.setdefault(str(block.recipe), []).append(block)
IMAGES, TASK = 1, 2
"""The runs: 1 has the model, the data set, the solver and the metric, 2 is of the task."""
TINY = ("training.max_epochs=1", "training.device=cpu", "training.compile=False")


@dataclass(frozen=True)
class Extended:
    """A copy of the packages with everything of the recipes in it, and its two runs."""

    code: Path
    home: Path

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        environment = {"PYTHONPATH": str(self.code), "ODENET_DATA": str(self.code / "samples")}
        return run_command(self.home, *words, options=("-P",), **environment)

    def stored(self, run: int) -> StoredRun:
        return Runs(database_of(self.home)).get(run)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extended]:
    folder = tmp_path_factory.mktemp("recipes")
    copy = Extended(folder / "code", folder / "home")
    for package in ("odenet", "experiments", "pipeline"):
        ignored = shutil.ignore_patterns("__pycache__", "omniboard")
        shutil.copytree(ROOT / package, copy.code / package, ignore=ignored)
    for blocks in RECIPES.values():
        for block in blocks:
            apply(block, copy.code)
    oscillator = files_of(ROOT / "docs" / "plugins.md")["oscillator.py"]
    write_files({"pipeline/tasks/oscillator/task.py": oscillator}, copy.code)
    # Fashion-MNIST's files have the names and the form of Kuzushiji-MNIST's.
    shutil.copytree(SAMPLES / "FashionMNIST", copy.code / "samples" / "KMNIST")
    for words in (
        ("shallow", "kmnist", "model.options.channels=4", "solver.method=ralston", "solver.steps=2", *TINY),
        ("oscillator", "model.options.width=4", *TINY),
    ):
        done = copy.run("run", "with", *words)
        assert done.returncode == 0, done.stderr
    yield copy
    EmbeddedStore(copy.home).stop()


def test_a_recipe_is_one_file_one_entry_a_file_and_a_line_or_one_folder() -> None:
    files = {name: [block.title for block in blocks if block.language != "diff"] for name, blocks in RECIPES.items()}
    changes = {name: [block.text for block in blocks if block.language == "diff"] for name, blocks in RECIPES.items()}
    assert {name: len(titles) for name, titles in files.items()} == dict.fromkeys(RECIPES, 1)
    assert {name: len(texts) for name, texts in changes.items() if texts} == {"command": 1}
    assert [line[0] for line in changes["command"][0].splitlines()].count("+") == 1


def test_a_model_is_chosen_by_its_name_and_has_its_options(extended: Extended) -> None:
    run = extended.stored(IMAGES)
    assert run.config["model"]["architecture"] == "shallow"
    assert run.config["model"]["options"] == {"channels": 4}
    assert run.info["parameters"]["total"] == 40 + 148 + 50
    assert run.status == "COMPLETED"


def test_a_data_set_is_listed_and_read(extended: Extended) -> None:
    listed = {entry["name"]: entry for entry in json.loads(extended.run("data", "list", "--json").stdout)}
    assert listed["kmnist"]["present"]
    assert listed["kmnist"]["images"] == "200 + 100, 1 × 28 × 28"
    assert extended.stored(IMAGES).info["data"]["classes"][:2] == ["o", "ki"]


def test_a_method_of_the_solver_makes_its_evaluations(extended: Extended) -> None:
    run = extended.stored(IMAGES)
    assert run.config["solver"]["method"] == "ralston"
    assert run.metrics()["solver.nfe_forward"].tolist() == [4]
    refused = extended.run("run", "with", "shallow", "digits", "solver.method=ralston", "solver.engine=torchdiffeq")
    assert refused.returncode == 2
    assert "solver.method is ralston, which torchdiffeq does not have" in refused.stderr


def test_a_metric_is_recorded_shown_and_can_be_searched(extended: Extended, tmp_path: Path) -> None:
    run = extended.stored(IMAGES)
    assert {"training.top_3", "validation.top_3"} <= run.points().keys()
    assert 0 <= run.info["test"]["accuracy"] <= run.info["test"]["top_3"] <= 1
    space = tmp_path / "space.yaml"
    space.write_text("maximise: validation.top_4\nspace:\n  training.lr: {uniform: [0.1, 0.2]}\n")
    refused = extended.run("sweep", str(space))
    assert "must name one of validation.loss, validation.accuracy, validation.top_3, " in refused.stderr
    shown = extended.run("runs").stdout
    assert "top 3" in shown


def test_a_command_prints_what_it_finds_and_refuses_in_a_sentence(extended: Extended) -> None:
    found = extended.run("fastest", "config.data.name=kmnist", "--json")
    assert json.loads(found.stdout) == {
        "run_id": IMAGES,
        "epoch_seconds": extended.stored(IMAGES).info["training"]["epoch_seconds"],
    }
    nothing = extended.run("fastest", "config.data.name=none")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (1, 1)
    assert "no such run has trained" in nothing.stderr
    assert "fastest" in extended.run("--help").stdout


def test_a_task_is_trained_by_its_name(extended: Extended) -> None:
    run = extended.stored(TASK)
    assert run.document["experiment"]["name"] == "oscillator"
    assert run.document["experiment"]["plugins"] == []
    assert run.result == run.info["test"]["rmse"]
