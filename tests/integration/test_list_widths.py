"""Lists of every task's runs on narrow and wide terminals: whole words, or a column left out and named."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database

from odenet.main import main
from pipeline.runs.listing import list_columns
from pipeline.runs.query import Runs
from pipeline.runs.summary import summaries
from pipeline.tasks.lookup import get_task
from pipeline.tracking.run_document import metric_entry
from tests.helpers.records import document_of

TASKS = ("classification", "density", "series", "trajectories")


def run_of(task_name: str, run_id: int, status: str = "INTERRUPTED") -> dict[str, Any]:
    """A run with every metric of its task, and with long names."""
    task = get_task(task_name)
    specs = task.metric_specs()
    document = document_of(run_id, status=status)
    return document | {
        "experiment": document["experiment"]
        | {
            "name": task_name,
            "task": task_name,
            "metrics": [metric_entry(spec) for spec in specs],
            "result": task.result,
        },
        "config": {
            "data": {"name": "concentric_spheres_of_many"},
            "model": {"name": "latent_ode_gru_encoder"},
            "seed": run_id,
        },
        "info": {"test": {spec.quantity: 123.456 for spec in specs if spec.split == "test"}},
        "meta": {"changed": {"training.max_epochs": 3}},
        "stop_time": document["start_time"] + timedelta(seconds=90),
    }


@pytest.mark.parametrize("words", [(), ("--group-by", "seed")])
@pytest.mark.parametrize("task", TASKS)
def test_no_word_of_a_list_is_broken_at_80_columns(
    task: str,
    words: tuple[str, ...],
    database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database.runs.insert_many([run_of(task, 1), run_of(task, 2, "COMPLETED")])
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["runs", *words]) == 0
    head, _rule, first, *rest = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert max(map(len, (head, first))) <= 80
    assert len([line for line in rest if line.strip()[:1].isdigit()]) == (0 if words else 1), "a line a run"
    runs = Runs(database)
    known = {column.heading for column in list_columns(summaries(runs, runs.find()))} | {"runs", "n"}
    left = head
    for heading in sorted(known, key=len, reverse=True):
        left = left.replace(heading, " ")
    assert not left.strip(), "part of a heading"


@pytest.mark.parametrize("task", TASKS)
def test_a_wide_list_has_every_column_in_full_whatever_the_terminal(
    task: str, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database.runs.insert_many([run_of(task, 1), run_of(task, 2)])
    runs = Runs(database)
    columns = list_columns(summaries(runs, runs.find()))
    for width in ("80", "200"):
        monkeypatch.setenv("COLUMNS", width)
        assert main(["runs", "--wide"]) == 0
        head, _rule, first, *_ = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
        for column in columns:
            assert column.heading in head
            assert column.heading == "age" or column.cells[0] in first


@pytest.mark.parametrize("words", [(), ("--group-by", "seed")])
def test_each_tasks_first_result_is_shown_or_named_whichever_runs_are_newest(
    words: tuple[str, ...],
    database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database.runs.insert_many([run_of(task, number, "COMPLETED") for number, task in enumerate(TASKS, start=1)])
    firsts = [next(spec.heading for spec in get_task(task).metric_specs() if spec.split == "test") for task in TASKS]
    for width in ("80", "120", "200"):
        monkeypatch.setenv("COLUMNS", width)
        assert main(["runs", *words]) == 0
        said = capsys.readouterr().out
        for heading in firsts:
            assert heading in said


def test_equal_headings_of_groups_have_their_tasks_names(
    database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database.runs.insert_many([run_of(task, number, "COMPLETED") for number, task in enumerate(TASKS, start=1)])
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["runs", "--group-by", "config"]) == 0
    head = capsys.readouterr().out.splitlines()[1]
    assert "trajectories loss" in head
    assert "classification loss" in head


def test_a_group_has_all_runs_that_match_and_the_limit_is_of_groups(
    database: Database[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    seeds, others = range(1, 26), zip((26, 27), TASKS[1:], strict=False)
    database.runs.insert_many([run_of(TASKS[0], seed, "COMPLETED") for seed in seeds])
    database.runs.insert_many([run_of(task, run_id, "COMPLETED") for run_id, task in others])
    assert main(["runs", "--group-by", "seed", "--json"]) == 0
    assert [group["completed"] for group in json.loads(capsys.readouterr().out)] == [1, 1, 25]
    assert main(["runs", "--group-by", "seed", "--limit", "1", "--json"]) == 0
    assert [group["run_ids"] for group in json.loads(capsys.readouterr().out)] == [[27]]


@pytest.mark.parametrize("width", [12, 20, 30, 39, 49])
def test_nothing_of_what_goes_on_is_cut_off_on_a_narrow_terminal(
    width: int, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database.runs.insert_one(run_of(TASKS[0], 1, "COMPLETED"))
    values = [1.2345 + 1 / step for step in range(1, 25)]
    database.metrics.insert_one({"run_id": 1, "name": "training.loss", "steps": [*range(24)], "values": values})
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["watch", "1"]) == 0
    printed = capsys.readouterr().out
    signs = "".join(printed.split())
    assert signs.count("COMPLETED") == 1 or width < 30
    assert Counter("COMPLETED1.2762") <= Counter(signs)
    assert max(map(len, printed.splitlines())) <= width
