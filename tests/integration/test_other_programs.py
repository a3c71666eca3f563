"""Runs of other programs in the same database, and documents that are not as anybody's should be."""

import csv
import io
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bson import ObjectId
from pymongo.database import Database
from rich.console import Console
from sacred import Experiment
from sacred.observers import MongoObserver

from odenet.main import main
from pipeline.runs.garbage import find_garbage
from pipeline.runs.live_view import followed, live_table
from pipeline.runs.query import Runs
from pipeline.runs.stop import ask_to_stop, going_on_with
from pipeline.tracking import record
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.reported_values import MOST_BYTES
from pipeline.tracking.store import MAX_RUN_ID, StoreError, next_run_id
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.damage import STRANGE_DOCUMENTS
from tests.helpers.records import document_of


def record_with_sacred(database: Database[dict[str, Any]], lr: float, name: str = "newton") -> Any:
    """A run of Sacred's own observer; its id."""
    experiment = Experiment(name, save_git_info=False)
    experiment.observers.append(MongoObserver(client=database.client, db_name=database.name))
    experiment.add_config(lr=lr, data={"name": "digits"})

    @experiment.main
    def run(_run: Any) -> dict[str, float]:
        for step in range(3):
            _run.log_scalar("loss", lr / (step + 1), step)
        return {"accuracy": 0.5}

    return experiment.run(options={"--capture": "no", "--loglevel": 40})._id


@pytest.fixture
def foreign(database: Database[dict[str, Any]]) -> tuple[Any, Any]:
    """Two runs of Sacred's own observer, one of an experiment that is called as our task is."""
    return record_with_sacred(database, 0.1), record_with_sacred(database, 0.2, "classification")


def record_with_ours(home: Path, body: Any, config: Mapping[str, Any] | None = None) -> Any:
    """A run of somebody's own experiment with our observer; its id."""
    experiment = Experiment("newton", save_git_info=False)
    experiment.observers.append(StoreObserver(home))
    experiment.add_config(dict(config or {}))
    experiment.main(body)
    return experiment.run(options={"--capture": "no", "--loglevel": 30})._id


@pytest.mark.parametrize("wrong", [2**70, "low", [1.0, 2.0]], ids=["too large", "text", "list"])
def test_a_point_that_no_series_holds_is_left_out_alone(
    store_home: Path, database: Database[dict[str, Any]], wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def body(_run: Any) -> None:
        for step, value in enumerate([1.0, wrong, torch.tensor(3.0), np.float32(4.0)]):
            _run.log_scalar("loss", value, step)
        _run.log_scalar("loss", 5.0, 4.5)

    run = Runs(database).get(record_with_ours(store_home, body))
    assert run.points()["loss"] == {"steps": [0, 2, 3, 4.5], "values": [1.0, 3.0, 4.0, 5.0]}
    assert "loss at step 1 is left out" in caplog.text
    assert list((store_home / "runs").glob("*/record.json")) == []


class Unwilling:
    """What nothing can make text of."""

    def __reduce__(self) -> Any:
        raise RuntimeError("no")


def test_what_cannot_be_recorded_takes_nothing_else_with_it(
    store_home: Path,
    database: Database[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record, "MOST_POINTS", 3)
    (store_home / "a.txt").write_text("here")

    def body(_run: Any) -> str:
        _run.info.update(first=1, unwilling=Unwilling(), large="x" * MOST_BYTES, last=2)
        _run.add_artifact(store_home / "a.txt", name=Path("b.txt"))
        _run.add_artifact(os.fsencode(store_home / "a.txt"))
        _run.add_artifact(store_home / "a.txt", name="")
        _run._emit_heartbeat()
        for step in range(5):
            _run.log_scalar("loss", 1.0, step)
        _run.log_scalar("\ud800", 1.0, 0)
        _run.log_scalar("late", 1.0, 0)
        return "y" * MOST_BYTES

    run = Runs(database).get(record_with_ours(store_home, body))
    assert (run.status, run.result) == ("COMPLETED", None)
    assert {"first", "last"} <= run.info.keys()
    assert not {"unwilling", "large"} & run.info.keys()
    assert {name: points["steps"] for name, points in run.points().items()} == {"loss": [0, 1, 2], "late": [0]}
    assert [run.artifact(name) for name in ("a.txt", "b.txt")] == [b"here", b"here"]
    for said in (
        "info.unwilling cannot be recorded",
        "info.large has 10.5 MB",
        "result has 10.5 MB",
        "loss has 3 points",
    ):
        assert caplog.text.count(said) == 1
    assert list((store_home / "runs").glob("*/record.json")) == []


@pytest.mark.parametrize(
    ("config", "said"), [({"x": "y" * MOST_BYTES}, "has 10.5 MB"), ({"x\0": 1}, "cannot be stored")]
)
def test_a_configuration_that_no_store_takes_is_refused_before_there_is_a_run(
    store_home: Path, database: Database[dict[str, Any]], config: dict[str, Any], said: str
) -> None:
    known = database.runs.count_documents({})
    with pytest.raises(InvalidInput, match=said):
        record_with_ours(store_home, lambda: None, config)
    assert database.runs.count_documents({}) == known


@pytest.mark.parametrize("result", [np.mean([0.25, 0.75]), np.float32(0.5), torch.tensor(0.5)])
def test_a_result_of_an_array_or_tensor_is_that_number(
    store_home: Path, database: Database[dict[str, Any]], result: Any
) -> None:
    assert Runs(database).get(record_with_ours(store_home, lambda: result)).result == 0.5


def test_a_run_of_somebodys_own_is_not_asked_for_what_it_does_not_look_for(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    def body(_run: Any) -> None:
        with pytest.raises(InvalidInput, match="of the experiment newton, which does not look for requests"):
            ask_to_stop(Runs(database).get(_run._id))

    run = Runs(database).get(record_with_ours(store_home, body))
    assert (run.status, going_on_with(run)) == ("COMPLETED", None)


def test_a_run_of_somebodys_own_is_found_by_what_lists_have_in_the_column_of_models(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    run_id = record_with_ours(store_home, lambda: 0.5)
    assert [run.run_id for run in Runs(database).find(["model=newton"])] == [run_id]


def test_a_run_of_somebodys_own_lacks_no_figure(
    store_home: Path,
    database: Database[dict[str, Any]],  # noqa: ARG001 - the store
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_id = record_with_ours(store_home, lambda: 0.5)
    assert main(["show", "--figures", str(run_id)]) == 0, capsys.readouterr().err


def test_a_page_of_all_runs_keeps_those_that_end_and_draws_what_is_no_number_as_a_gap(
    database: Database[dict[str, Any]],
) -> None:
    runs = Runs(database)
    database.runs.insert_many([document_of(1), document_of(2)])
    points = {"steps": [1, 2, 3], "values": [1.0, None, 0.0], "timestamps": [datetime.now(UTC)] * 3}
    database.metrics.insert_many(
        [{"run_id": 1, "name": "training.loss", **points}, {"run_id": 2, "name": "training.loss"}]
    )
    seen = followed(runs)
    assert {run.run_id for run in seen} == {1, 2}
    database.runs.update_one({"_id": 1}, {"$set": {"status": "FAILED"}})
    database.runs.insert_one(document_of(3))
    seen = followed(runs, seen)
    assert [(run.run_id, run.status) for run in seen[:1]] == [(1, "FAILED")]
    assert {run.run_id for run in seen} == {1, 2, 3}
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(live_table(seen, 120))
    assert "█ ▁" in console.export_text()
    database.runs.delete_one({"_id": 1})
    assert {run.run_id for run in followed(runs, seen)} == {2, 3}


def test_runs_of_sacreds_own_observer_are_listed_and_shown(
    foreign: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs"]) == 0
    listed = capsys.readouterr()
    assert "newton" in listed.out
    assert listed.err == ""
    assert main(["show", str(foreign[1])]) == 0
    shown = capsys.readouterr().out
    assert "0.2" in shown
    assert "loss" in shown
    assert main(["show", "--json", str(foreign[0])]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["config"]["lr"] == 0.1
    assert document["metrics"]["loss"]["values"] == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_runs_of_sacreds_own_observer_are_compared_by_configuration_and_metrics(
    foreign: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--json", *map(str, foreign)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["config_differences"]["lr"] == [0.1, 0.2]
    assert main(["compare", *map(str, foreign)]) == 0
    told = capsys.readouterr().out
    assert "loss, last" in told
    assert "0.03333" in told


def test_runs_of_sacreds_own_observer_are_tagged_noted_and_exported(
    foreign: tuple[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tag", str(foreign[0]), "theirs"]) == 0
    assert main(["note", str(foreign[0]), "of the old laboratory"]) == 0
    assert main(["export", "--format", "csv", "--out", str(tmp_path / "tables")]) == 0
    with (tmp_path / "tables" / "runs.csv").open() as file:
        rows = {row["run_id"]: row for row in csv.DictReader(file)}
    assert rows[str(foreign[0])]["tags"] == '["theirs"]'
    assert rows[str(foreign[1])]["config.lr"] == "0.2"
    with (tmp_path / "tables" / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", ["rm --yes {}", "resume {}", "rerun {}", "promote {} mine"])
def test_what_only_our_runs_can_is_refused_for_others_in_a_sentence(
    foreign: tuple[Any, Any], database: Database[dict[str, Any]], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(database.runs.find())
    for run_id in foreign:
        assert main(words.format(run_id).split()) in (1, 2)
        told = capsys.readouterr().err
        assert told.startswith(f"odenet: run {run_id} ")
        assert told.count("\n") == 1
    assert list(database.runs.find()) == before


@pytest.mark.parametrize("name", STRANGE_DOCUMENTS)
def test_a_strange_document_keeps_no_command_from_the_others(
    database: Database[dict[str, Any]],
    store_home: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    sound = record_with_sacred(database, 0.1)
    strange = STRANGE_DOCUMENTS[name]
    database.runs.insert_many([{"_id": 77, **strange}, {"_id": 78, **STRANGE_DOCUMENTS["no uid"]}])
    database.metrics.insert_one({"run_id": 77, "name": "loss", "steps": [], "values": []})
    for words in (
        *(["runs"], ["runs", "--json"], ["runs", "--group-by", "seed"], ["runs", "--sort", "result"]),
        *(["export"], ["export", "--out", str(tmp_path / "out")], ["sweeps"]),
    ):
        assert main(words) == 0, words
    told = capsys.readouterr()
    assert f'"run_id": {sound}' in told.out
    assert "Traceback" not in told.err
    assert main(["compare", str(sound), "77"]) in (0, 1, 2)
    assert main(["show", "77"]) in (0, 1)
    assert main(["tag", "77", "mine"]) in (0, 1)
    assert main(["rm", "77", "--json"]) in (1, 2)  # nobody answers
    assert "went wrong" not in capsys.readouterr().err
    with suppress(OdenetError):  # what runs of an unknown format refer to is not known
        find_garbage(database, store_home)
    assert main(["backup", str(tmp_path / "all.zip")]) in (0, 1)  # 1 of one of ours that no restore would take
    assert (tmp_path / "all.zip").is_file()
    assert "Traceback" not in capsys.readouterr().err


def test_what_a_document_lacks_is_named(database: Database[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    database.runs.insert_one({"_id": 7, "format": "odenet-2", "status": "COMPLETED"})
    database.runs.insert_one({"_id": 8, "format": "odenet-99", "status": "COMPLETED"})
    assert main(["runs"]) == 0
    told = capsys.readouterr().err
    assert "run 7 has no start_time, experiment, config, host that can be read" in told
    assert "run 8 is stored in the format odenet-99, and this version reads" in told


@pytest.mark.parametrize("run_id", ["my-run-1", MAX_RUN_ID + 1, 2**63 - 1, 2.5, ObjectId("0123456789abcdef01234567")])
def test_a_run_whose_id_nobody_counts_to_is_found_and_ids_count_on(
    database: Database[dict[str, Any]], run_id: Any
) -> None:
    now = datetime.now(UTC)
    database.runs.insert_one({"_id": run_id, "format": "MongoObserver-0.7.0", "status": "COMPLETED", "start_time": now})
    assert [run.run_id for run in Runs(database).find(limit=5)] == [run_id]
    if not isinstance(run_id, float):
        assert main(["show", str(run_id)]) == 0
    assert main(["runs", "--json"]) == 0
    assert 0 < next_run_id(database) <= 3
    assert next_run_id(database) <= 4


def test_a_counter_a_million_ahead_costs_nothing(database: Database[dict[str, Any]], store_home: Path) -> None:
    record_with_sacred(database, 0.1)
    database.counters.update_one({"_id": "runs"}, {"$set": {"last": MAX_RUN_ID - 1}}, upsert=True)
    before = datetime.now(UTC)
    assert len(Runs(database).find(limit=20)) == 1
    assert find_garbage(database, store_home).metrics == ()
    assert (datetime.now(UTC) - before).total_seconds() < 5
    assert next_run_id(database) == MAX_RUN_ID
    with pytest.raises(StoreError, match=r"from where no store can count on; set `last`"):
        next_run_id(database)


ESCAPES = "\x1b]0;owned\x07\x1b[2Jred [bold]bold[/] [/nothing] :rose: \u202eevil"


def test_what_is_stored_steers_no_terminal_and_is_no_markup(
    database: Database[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = record_with_sacred(database, 0.1)
    database.runs.update_one(
        {"_id": run_id},
        {
            "$set": {
                "experiment.name": ESCAPES,
                "config.data": {"name": ESCAPES, ESCAPES: ESCAPES},
                "info.metrics": [],
                "artifacts": [{"name": ESCAPES, "file_id": ObjectId()}],
                "fail_trace": [ESCAPES],
                "status": "FAILED",
                "omniboard": {"tags": [ESCAPES]},
                "host.hostname": ESCAPES,
            }
        },
    )
    for words in (["runs"], ["show", str(run_id)], ["compare", str(run_id), str(record_with_sacred(database, 0.2))]):
        assert main(words) == 0
    assert main(["tag", str(run_id), "mine"]) == 0
    assert main(["show", ESCAPES]) == 2
    told = "".join(capsys.readouterr())
    assert not {"\x1b", "\x07", "\u202e"} & set(told)
    flat = " ".join(told.split())
    assert "[bold]bold[/] [/nothing] :rose:" in flat
    assert "\\x1b]0;owned\\x07" in told


@pytest.mark.parametrize("formula", ["=HYPERLINK(1)", "+1", "-2+3", "@SUM(1)", "\t=1", "\n=1", "\uff1d1"])
def test_no_text_of_an_export_is_a_formula(database: Database[dict[str, Any]], tmp_path: Path, formula: str) -> None:
    run_id = record_with_sacred(database, -0.5)
    changes = {"omniboard.notes": formula, f"config.{formula}": formula, "config.width": -3}
    database.runs.update_one({"_id": run_id}, {"$set": changes})
    database.runs.insert_one(document_of(run_id + 1, config={"width": "auto"}))
    assert main(["export", "--format", "csv", "--out", str(tmp_path / "tables")]) == 0
    with (tmp_path / "tables" / "runs.csv").open(newline="") as file:
        row, _ = csv.DictReader(file)
    assert row["note"] == f"'{formula}"
    assert not any(str(cell).startswith(("=", "+", "@", "\t")) for cell in [*row, *row.values()])
    assert (row["config.lr"], row["config.width"]) == ("-0.5", "-3")  # a number stays one, beside text as well
