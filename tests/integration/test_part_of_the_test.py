"""Tests on a part of the test split: the same part for all, in the record, and never mixed with others unsaid."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.evaluate import reevaluate_tracked
from pipeline.comparison.compare import compare
from pipeline.comparison.fairness import find_unfairness
from pipeline.config import ConfigError
from pipeline.reporting.terminal import Terminal
from pipeline.runs.listing import group_runs, groups_table, runs_table
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.summary import summaries
from pipeline.tasks.base import Task
from pipeline.tasks.lookup import config_class, get_task
from pipeline.tasks.solver_grid import Grid
from tests.helpers.commands import start_command
from tests.helpers.homes import with_store
from tests.helpers.training import train

WHOLE, PART_0, PART_1 = 1, 2, 3
"""The runs: tested on all 360 digits, and on 90 of them, with seeds 0 and 1."""
SETTINGS = {"training": {"max_epochs": 1}, "model": {"channels": 4}, "solver": {"method": "euler"}}
EULER = Grid(methods=("euler",), steps=(1, 2))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("parts")
    with with_store(home):
        for seed, subset in ((0, None), (0, 90), (1, 90)):
            train(["odenet_simple", "digits"], {**SETTINGS, "evaluation": {"subset": subset}, "seed": seed})
        yield home


@pytest.fixture(scope="module")
def runs(home: Path) -> Iterator[Runs]:  # noqa: ARG001 - whose store it is
    found = Runs()
    yield found
    found.database.client.close()


def labels_of(run: StoredRun) -> np.ndarray:
    with np.load(io.BytesIO(run.artifact("predictions.npz"))) as stored:
        labels: np.ndarray = stored["labels"]
        return labels


def printed(table: Any, capsys: pytest.CaptureFixture[str]) -> str:
    Terminal(width=200).print(table)
    return capsys.readouterr().out


def test_the_record_says_how_many_were_used_of_how_many(runs: Runs) -> None:
    whole, part = runs.get(WHOLE), runs.get(PART_0)
    assert (part.info["data"]["test_images"], part.info["data"]["whole_test"]) == (90, 360)
    assert part.info["test"]["images"] == len(labels_of(part)) == 90
    assert part.facts.tested == "90 of 360"
    assert whole.info["data"]["test_images"] == 360
    assert "whole_test" not in whole.info["data"]
    assert part.facts.data_sha256 == whole.facts.data_sha256
    assert part.document["board"]["data"] == "digits, tested on 90 of 360"
    assert whole.document["board"]["data"] == "digits"


def test_every_seed_is_tested_on_the_same_part_with_the_classes_in_their_shares(runs: Runs) -> None:
    labels = [labels_of(runs.get(run_id)) for run_id in (PART_0, PART_1)]
    assert np.array_equal(*labels)
    shares = np.bincount(labels[0]) / 90 - np.bincount(labels_of(runs.get(WHOLE))) / 360
    assert np.abs(shares).max() < 1 / 90
    assert not np.array_equal(labels[0], labels_of(runs.get(WHOLE))[:90])


def test_lists_say_which_runs_were_tested_on_a_part(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    found = [runs.get(run_id) for run_id in (WHOLE, PART_0, PART_1)]
    rows = summaries(runs, found)
    assert [row.to_dict()["tested"] for row in rows] == [None, "90 of 360", "90 of 360"]
    said = printed(runs_table(rows), capsys)
    assert "tested on" in said
    assert said.count("90 of 360") == 2
    assert "tested on" not in printed(runs_table(rows[:1]), capsys)
    assert "tested on" in printed(runs_table(rows, width=60), capsys), "it must not be left out where it is narrow"
    grouped = group_runs(found, rows, "seed")
    assert [len(group.rows) for group in grouped] == [1, 2]
    assert "90 of 360" in printed(groups_table(grouped), capsys)


def test_comparisons_do_not_mix_them_and_say_so(runs: Runs) -> None:
    mixed = compare([runs.get(WHOLE), runs.get(PART_0)])
    assert len(mixed.groups) == 2
    assert mixed.untested == (f"Runs {WHOLE} and {PART_0} were not tested on the same images.",)
    sentence = "They were not tested on the same part of the test split: all (run 1), 90 of 360 (run 2)."
    assert sentence in find_unfairness(mixed)
    alike = compare([runs.get(PART_0), runs.get(PART_1)])
    assert len(alike.groups) == len(alike.tests) == 1
    assert not any("part of the test split" in said for said in find_unfairness(alike))


def test_an_evaluation_asks_about_the_part_that_is_wanted(runs: Runs) -> None:
    limited = reevaluate_tracked(WHOLE, EULER, limit=90)
    stored = runs.get(limited.run_id)
    assert (stored.config["evaluation"]["subset"], stored.facts.tested) == (90, "90 of 360")
    assert limited.document["info"]["reevaluation"]["images"] == 90
    as_tested = reevaluate_tracked(PART_0, EULER)
    assert as_tested.rows[0].scores["accuracy"] == pytest.approx(runs.get(PART_0).result)
    assert runs.get(as_tested.run_id).facts.tested == "90 of 360"
    everything = reevaluate_tracked(PART_0, EULER, limit=0)
    stored = runs.get(everything.run_id)
    assert (stored.config["evaluation"]["subset"], stored.facts.tested) == (None, None)
    assert stored.info["data"]["test_images"] == 360
    assert everything.rows[0].scores["accuracy"] == pytest.approx(runs.get(WHOLE).result)


def test_the_command_says_the_part_and_refuses_more_than_there_is(home: Path, runs: Runs) -> None:
    command = start_command(home, "evaluate", str(WHOLE), "--solver", "euler", "--steps", "1", "--limit", "40")
    assert command.wait() == 0, command.stderr
    assert "run 1 on 40 of 360 test images of digits" in " ".join(command.stdout.split())
    before = runs.database.runs.count_documents({})
    refused = start_command(home, "evaluate", str(WHOLE), "--limit", "361")
    assert refused.wait() == ConfigError.exit_status
    assert "361 test items are asked for, but there are 360: ask for fewer, or all" in refused.stderr
    words = ("evaluation.subset=361", "training.max_epochs=1")
    refused = start_command(home, "run", "with", "odenet_simple", "digits", *words)
    assert refused.wait() == ConfigError.exit_status
    assert runs.database.runs.count_documents({}) == before
    refused = start_command(home, "evaluate", str(WHOLE), "--limit", "5", "--predict", "a.png")
    assert refused.wait() == ConfigError.exit_status
    assert "leave out --limit" in refused.stderr


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("density", {"name": "two_moons"}),
        ("series", {"options": {"count": 60}}),
        ("trajectories", {"name": "identity1d"}),
    ],
)
def test_every_task_takes_the_same_part_whatever_the_seed(name: str, data: dict[str, Any]) -> None:
    task = get_task(name)
    config = config_class(name).from_dict({"data": data, "evaluation": {"subset": 5}})
    whole = task.load_data(config)
    part, again = (task.limited(whole, config.evaluation.subset) for _ in range(2))
    assert part.test_items == 5 < whole.test_items
    torch.manual_seed(0)
    model = task.build_model(config, whole).eval()
    with torch.no_grad():
        scores = [task.scores(task.predict(model, config, one, lambda _: None), one) for one in (part, again)]
    assert scores[0] == scores[1]
    assert task.facts(config, part)["data"] != task.facts(config, whole)["data"]
    assert task.limited(whole, None) is whole


def test_a_task_that_cannot_take_a_part_says_so() -> None:
    class Data:
        test_items = 10

    with pytest.raises(ConfigError, match="has no method test_subset, by which a part of its test split is taken"):
        Task.test_subset(type("Mine", (), {"name": "mine"})(), Data(), 5)  # type: ignore[arg-type, type-var]
