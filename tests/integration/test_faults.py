"""What goes wrong while a run goes on: stores that stop, runs that are killed, disks that fill; nothing is lost."""

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from bson import ObjectId, json_util
from pymongo.database import Database
from pymongo.errors import PyMongoError

from pipeline.runs.query import Runs
from pipeline.runs.removal import remove_run
from pipeline.tracking import store as store_module
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.load_record import load_record
from pipeline.tracking.record import NotInStore, Record
from pipeline.tracking.run_folder import run_folder
from pipeline.tracking.store import StoreError, connect, store_uid
from pipeline.tracking.sync import sync
from pipeline.training import load_checkpoint
from tests.helpers.commands import (
    FORKSERVER,
    QUICK,
    SLOW,
    Command,
    database_of,
    epochs_on_disk,
    last_epoch,
    records,
    run_command,
    start_command,
    wait_until,
)
from tests.helpers.records import document_of, epochs_of, left_behind
from tests.helpers.small_disk import fill, small_disk

ARTIFACTS = {
    *("history.json", "steps.json", "weights.safetensors", "learning_curves.png", "function_evaluations.png"),
    *("evaluation.json", "predictions.npz", "confusion_matrix.png", "classification_report.png"),
    *("precision_recall.png", "roc.png", "step_sizes.png"),
}
METRICS = {
    *("training.loss", "training.accuracy", "validation.loss", "validation.accuracy", "training.lr"),
    *("solver.rejected_steps", "solver.largest_error_ratio"),
    *("solver.nfe_forward", "time.epoch_seconds", "time.training_seconds", "time.images_per_second"),
    "memory.peak_mb",
}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder of the test's own, whose store may be stopped and killed."""
    yield tmp_path / "home"
    for left in multiprocessing.active_children():
        left.kill()
    EmbeddedStore(tmp_path / "home").stop()


def assert_whole(run_id: int, home: Path, epochs: int) -> None:
    """The store has everything of a completed run of so many epochs."""
    run = Runs(database_of(home)).get(run_id)
    assert run.status == "COMPLETED"
    assert set(run.metrics()) >= METRICS
    assert all(found == list(range(1, epochs + 1)) for found in epochs_of(run).values())
    assert set(run.artifacts) >= ARTIFACTS
    for name in run.artifacts:
        assert run.artifact(name)  # checked against its sha256
    assert run.result == json.loads(run.artifact("evaluation.json"))["accuracy"] == run.info["test"]["accuracy"]
    assert f"epoch {epochs}/{epochs}" in run.document["captured_out"]


def everything(database: Database[dict[str, Any]]) -> dict[str, list[Any]]:
    """Every document of every collection."""
    return {name: list(database[name].find().sort("_id")) for name in sorted(database.list_collection_names())}


def kill_store(home: Path) -> None:
    pid = EmbeddedStore(home).status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not EmbeddedStore(home).status().running)


# The store goes away


@pytest.mark.parametrize("leave", [lambda home: EmbeddedStore(home).stop(), kill_store], ids=["stopped", "killed"])
def test_a_store_that_goes_and_comes_back_under_a_run_has_lost_nothing(home: Path, leave: Any) -> None:
    run = start_command(home, "run", "--json", *SLOW, "training.max_epochs=60")
    wait_until(lambda: last_epoch(home) >= 2, run)
    leave(home)
    gone_at = last_epoch(home)
    wait_until(lambda: last_epoch(home) >= gone_at + 2, run)  # the run goes on without it
    EmbeddedStore(home).start()
    assert run.wait() == 0
    assert_whole(run.json["run_id"], home, epochs=60)
    assert records(home) == []


def test_what_a_store_misses_at_the_end_of_a_run_is_delivered_once_by_sync(home: Path) -> None:
    run = start_command(home, "run", "--json", *SLOW, "training.max_epochs=3")
    wait_until(lambda: last_epoch(home) >= 1, run)
    EmbeddedStore(home).stop()
    assert run.wait() == 0
    assert run.json["status"] == "COMPLETED"
    (waiting,) = records(home)
    assert f"its record waits in {waiting}, and `odenet sync` delivers it" in run.stderr
    assert "Traceback" not in run.stderr

    delivering = start_command(home, "sync")
    assert delivering.wait() == 0
    assert delivering.stdout == "run 1 delivered (COMPLETED)\n"
    assert_whole(1, home, epochs=3)
    assert Runs(database_of(home)).get(1).result == run.json["result"]
    assert records(home) == []
    database = database_of(home)
    assert database.runs.count_documents({}) == 1

    before = everything(database)
    again = start_command(home, "sync", "--json")
    assert again.wait() == 0
    assert again.json == []
    assert everything(database) == before


def test_a_store_that_hangs_is_given_up_in_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "OPERATION_SECONDS", 1.0)
    database = database_of(home)
    pid = EmbeddedStore(home).status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    try:
        before = datetime.now(UTC)
        with pytest.raises(PyMongoError):
            database.runs.find_one()
        assert datetime.now(UTC) - before < timedelta(seconds=5)
        with pytest.raises(StoreError, match="went away"):
            Runs(database).get(1)
    finally:
        os.kill(pid, signal.SIGCONT)


# The run is killed


def test_a_run_killed_between_epochs_is_delivered_as_far_as_it_came(home: Path) -> None:
    run = start_command(home, "run", *SLOW, "training.max_epochs=1000")
    wait_until(lambda: last_epoch(home) >= 3, run)
    EmbeddedStore(home).stop()  # the last epochs are on disk alone
    reached = last_epoch(home)
    wait_until(lambda: last_epoch(home) > reached, run)
    run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    on_disk = epochs_on_disk(home)

    assert start_command(home, "sync").wait() == 0
    died = Runs(database_of(home)).get(1)
    assert died.status == died.document["status"] == "DIED"
    assert {name: series.index.tolist() for name, series in died.metrics().items()} == on_disk
    assert {entry["name"] for entry in died.info["metrics"]} == set(on_disk)
    assert load_checkpoint(run_folder(home, died.document) / "checkpoint.pt")["epoch"] >= reached
    assert records(home) == []


def test_a_run_killed_before_its_first_epoch_is_delivered_as_died(home: Path) -> None:
    run = start_command(home, "run", *SLOW, "training.max_epochs=1000")
    wait_until(lambda: records(home) and "is_entering" not in (records(home)[0] / "record.json").read_text(), run)
    run.send(signal.SIGKILL)
    run.wait()
    database = database_of(home)
    assert [delivery.outcome for delivery in sync(home, database)] == ["delivered"]
    died = Runs(database).get(1)
    assert (died.status, died.result, died.metrics()) == ("DIED", None, {})
    assert died.config["training"]["max_epochs"] == 1000


def test_a_run_killed_in_its_evaluation_keeps_its_weights_and_every_epoch(home: Path) -> None:
    run = start_command(home, "run", *QUICK, "training.max_epochs=2", draws_figures=True)  # which takes a while
    wait_until(lambda: records(home) and "learning_curves.png" in (records(home)[0] / "record.json").read_text(), run)
    run.send(signal.SIGKILL)
    run.wait()
    database = database_of(home)
    assert [delivery.outcome for delivery in sync(home, database)] == ["delivered"]
    died = Runs(database).get(1)
    assert (died.status, died.result) == ("DIED", None)
    assert set(died.metrics()) >= METRICS
    assert all(epochs == [1, 2] for epochs in epochs_of(died).values())
    assert died.weights()
    assert all(died.artifact(name) for name in died.artifacts)


def test_a_run_that_was_not_heard_of_is_listed_as_died_before_any_sync(home: Path) -> None:
    database = database_of(home)
    now = datetime.now(UTC)
    for run_id, silent_seconds in ((1, 600), (2, 5)):
        database.runs.insert_one(document_of(run_id) | {"heartbeat": now - timedelta(seconds=silent_seconds)})
    listed = start_command(home, "runs", "--json")
    assert listed.wait() == 0
    assert [(row["run_id"], row["status"]) for row in listed.json] == [(2, "RUNNING"), (1, "DIED")]
    runs = Runs(database)
    assert [run.run_id for run in runs.find({"status": "DIED"})] == [1]
    assert [run.run_id for run in runs.find({"status": "RUNNING"})] == [2]


def test_a_live_run_is_left_to_its_own_process(home: Path) -> None:
    run = start_command(home, "run", *SLOW, "training.max_epochs=1000")
    wait_until(lambda: last_epoch(home) >= 1, run)
    syncing = start_command(home, "sync", "--json")
    assert syncing.wait() == 0
    assert [delivery["outcome"] for delivery in syncing.json] == ["live"]
    assert Runs(database_of(home)).get(1).status == "RUNNING"
    run.send(signal.SIGTERM)
    assert run.wait() == 130


# Several at once


def test_runs_that_start_at_once_without_a_store_share_one_and_have_their_own_ids(home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    commands = [start_command(home, "run", "--json", *QUICK, "training.max_epochs=10") for _ in range(4)]
    assert [command.wait() for command in commands] == [0, 0, 0, 0]
    assert sorted(command.json["run_id"] for command in commands) == [1, 2, 3, 4]
    for run_id in range(1, 5):
        assert_whole(run_id, home, epochs=10)
    results = {command.json["result"] for command in commands}
    assert len(results) == 1  # the same seed on the same machine
    assert database_of(home)["fs.files"].count_documents({"filename": "experiments/classification.py"}) == 1


# The run is asked to end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_end_keeps_what_it_has(home: Path, number: signal.Signals) -> None:
    run = start_command(home, "run", "--json", *SLOW, "training.max_epochs=1000")
    wait_until(lambda: last_epoch(home) >= 2, run)
    run.send(number)
    assert run.wait() == 130
    assert run.stderr.splitlines()[-1].startswith("odenet: run 1 INTERRUPTED: ")
    assert "Traceback" not in run.stderr
    kept = Runs(database_of(home)).get(1)
    assert (kept.status, kept.result) == ("INTERRUPTED", None)
    assert run.json["status"] == "INTERRUPTED"
    epochs = kept.metrics()["validation.loss"]
    assert len(epochs) >= 2
    assert kept.info["training"]["best_epoch"] == epochs.idxmin()
    assert {"weights.safetensors", "learning_curves.png", "history.json"} <= set(kept.artifacts)
    checkpoint = load_checkpoint(run_folder(home, kept.document) / "checkpoint.pt")
    weights = kept.weights()
    assert weights.keys() == checkpoint["best_weights"].keys()
    assert all((weights[name] == checkpoint["best_weights"][name]).all() for name in weights)
    assert records(home) == []


# The run fails


def test_a_solve_that_fails_ends_the_run_with_its_reason_and_the_remedies_without_assertions_too(home: Path) -> None:
    impossible = ("solver.method=dopri5", "solver.max_steps=1", "solver.rtol=1e-9", "solver.atol=1e-9")
    failed = run_command(home, "run", "--json", *QUICK, *impossible, options=("-O",))
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    sentence = failed.stderr.splitlines()[-1]
    assert sentence.startswith("odenet: run 1 FAILED: the forward solve failed at t = ")
    assert all(remedy in sentence for remedy in ("model.normalisation=group", "training.lr", "rtol", "model.augment"))
    assert json.loads(failed.stdout)["status"] == "FAILED"
    stored = Runs(database_of(home)).get(1)
    assert stored.status == "FAILED"
    failure = stored.info["solver_failure"]
    assert failure["status"] == "step_limit"
    assert 0 <= failure["t"] < 1
    assert failure["dt"] > 0
    assert failure["evaluations"] > 6
    assert failure["state_norm"] > 0
    assert "SolverFailure" in stored.document["fail_trace"][-1]


def test_a_state_that_is_no_number_is_told_and_read_back_as_json(home: Path) -> None:
    failed = start_command(home, "run", "--json", *QUICK, "training.optimiser=sgd", "training.lr=1e30")
    assert failed.wait() == 1
    assert failed.json["status"] == "FAILED"
    assert "Traceback" not in failed.stderr
    shown = start_command(home, "show", "--json", "1")
    assert shown.wait() == 0
    assert shown.json["status"] == "FAILED"


# The disk fills


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Of 3 MB."""
    with small_disk(tmp_path / "disk", 3000) as mounted:
        yield mounted


def test_a_disk_that_fills_during_a_run_is_told_and_the_store_has_the_rest(home: Path, disk: Path) -> None:
    database_of(home)
    (home / "runs").symlink_to(disk)
    run = start_command(home, "run", "--json", *SLOW, "training.max_epochs=1000")
    wait_until(lambda: last_epoch(home) >= 2, run)
    fill(disk, 4096)
    assert run.wait() == 1
    assert "Traceback" not in run.stderr
    assert re.search(r"^odenet: run 1 FAILED: .*(No space left|disk is full).*ODENET_HOME", run.stderr, re.MULTILINE)
    stored = Runs(database_of(home)).get(1)
    assert stored.status == "FAILED"
    assert len(stored.metrics()["training.loss"]) >= 2


def test_a_disk_that_is_full_from_the_start_leaves_nothing_of_the_run(home: Path, disk: Path) -> None:
    database = database_of(home)
    (home / "runs").symlink_to(disk)
    fill(disk, 1024)
    run = start_command(home, "run", *QUICK)
    assert run.wait() == 1
    assert re.fullmatch(
        r"odenet: The run's record cannot be written in .* \(No space left on device\); .*\n", run.stderr
    )
    assert database.runs.count_documents({}) == 0
    assert [path.name for path in disk.iterdir()] == ["filling"]


# Records on disk


def test_a_torn_last_line_costs_that_point_alone(store_home: Path, database: Database[dict[str, Any]]) -> None:
    record = left_behind(store_home, database)
    metrics = record.folder / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-7])
    assert [delivery.outcome for delivery in sync(store_home, database)] == ["delivered"]
    series = Runs(database).get(1).metrics()
    assert series["training.loss"].to_dict() == {1: 1.0, 2: 0.5}
    assert series["validation.loss"].to_dict() == {1: 2.0}


def test_a_torn_line_spoils_none_that_comes_after_it(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "1-abc", document_of(1))
    record.add_metrics(1, {"training.loss": 1.0})
    with (record.folder / "metrics.jsonl").open("a") as file:
        file.write('\n{"id": {"$oid": "6')
    record.add_metrics(2, {"training.loss": 0.5})
    assert load_record(record.folder).metrics() == {"training.loss": {"steps": [1, 2], "values": [1.0, 0.5]}}


def test_points_that_a_full_disk_kept_out_are_written_when_there_is_room(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "1-abc", document_of(1))
    metrics = record.folder / "metrics.jsonl"
    metrics.mkdir()  # as little a file to be written as one on a full disk
    with pytest.raises(OSError, match="directory"):
        record.add_metrics(1, {"training.loss": 1.0})
    metrics.rmdir()
    record.update({"status": "FAILED"})
    assert load_record(record.folder).metrics() == {"training.loss": {"steps": [1], "values": [1.0]}}


def test_points_written_before_a_kill_reached_the_document_are_found_by_omniboard(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database)
    stored = json_util.loads((record.folder / "record.json").read_text())
    stored["document"]["info"].pop("metrics")
    (record.folder / "record.json").write_text(json_util.dumps(stored))
    assert [delivery.outcome for delivery in sync(store_home, database)] == ["delivered"]
    delivered = Runs(database).get(1)
    by_name = {series["name"]: str(series["_id"]) for series in database.metrics.find({"run_id": 1})}
    assert {entry["name"]: entry["id"] for entry in delivered.info["metrics"]} == by_name
    assert len(by_name) == 2


def test_a_record_of_another_store_is_not_delivered_to_this_one(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database)
    database.runs.update_one({"_id": 1}, {"$set": {"uid": "another run's"}})
    before = everything(database)
    (delivery,) = sync(store_home, database)
    assert delivery.outcome == "elsewhere"
    assert "run 1 is not in this store but was started in mongodb://elsewhere/lab" in delivery.message
    assert everything(database) == before
    with pytest.raises(NotInStore):
        record.deliver(database)  # nor by the run's own process, should its store be replaced under it
    assert database.runs.find_one({"_id": 1}, {"uid": True}) == {"_id": 1, "uid": "another run's"}
    told = start_command(store_home, "sync")
    assert told.wait() == 1
    assert "connect to that one" in told.stdout
    shutil.rmtree(record.folder)


def test_what_waits_for_the_store_of_a_run_is_left_to_it_by_one_that_has_a_copy(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database, store_uid="another store's")
    (record.folder / "checkpoint.pt").write_bytes(b"whole")
    for _ in range(2):
        (delivery,) = sync(store_home, database)
        assert delivery.outcome == "delivered"
        assert "it still waits for mongodb://elsewhere/lab" in delivery.message
    remove_run(Runs(database).get(1), store_home)
    assert {"record.json", "checkpoint.pt"} <= {path.name for path in record.folder.iterdir()}
    shutil.rmtree(record.folder)


def test_the_record_of_a_run_that_was_removed_from_its_own_store_is_said_to_be_so(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    where = f"mongodb://***:***@{':'.join(map(str, database.client.address or ()))}/{database.name}"
    record = left_behind(store_home, database, store=where, store_uid=store_uid(database))
    database.runs.delete_one({"_id": 1})
    (delivery,) = sync(store_home, database)
    assert delivery.outcome == "elsewhere"
    assert "run 1 is not in this store but was deleted from it: delete" in delivery.message
    shutil.rmtree(record.folder)


def test_delivering_a_record_twice_changes_nothing(store_home: Path, database: Database[dict[str, Any]]) -> None:
    record = left_behind(store_home, database)
    record.deliver(database)
    before = everything(database)
    record.deliver(database)
    again = load_record(record.folder)  # which knows nothing of the first time
    again.deliver(database)
    assert everything(database) == before
    again.discard()


def test_a_record_that_cannot_be_delivered_keeps_back_no_other(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    damaged, incomplete, sound = (left_behind(store_home, database, run_id) for run_id in (1, 2, 3))
    (damaged.folder / "record.json").write_text("{")
    shutil.rmtree(incomplete.folder / "files")
    deliveries = {delivery.run_id: delivery for delivery in sync(store_home, database)}
    assert {run_id: delivery.outcome for run_id, delivery in deliveries.items()} == {
        1: "damaged",
        2: "damaged",
        3: "delivered",
    }
    for record in (damaged, incomplete):
        assert not record.folder.exists()
        assert (store_home / "damaged" / record.folder.name / "record.json").exists()
        assert f"set aside in {store_home / 'damaged' / record.folder.name}" in deliveries[record.run_id].message
        saved = Runs(database).get(record.run_id)
        assert saved.document["status"] == "DIED"
        assert saved.metrics()["training.loss"].to_dict() == {1: 1.0, 2: 0.5}
    assert not sound.folder.exists()
    assert Runs(database).get(1).artifacts == ()
    shutil.rmtree(store_home / "damaged")


def deliver_all(home: Path) -> None:
    list(sync(home, connect(EmbeddedStore(home).start())))


def test_a_large_artifact_whose_delivery_was_killed_arrives_whole(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    content = os.urandom(40_000_000)
    record = left_behind(store_home, database)
    record.add_artifact("large.bin", content, "application/octet-stream")
    for enough in (10, 60):
        process = FORKSERVER.Process(target=deliver_all, args=(store_home,))
        process.start()
        wait_until(lambda enough=enough: database["fs.chunks"].count_documents({}) > enough)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert "large.bin" not in str(list(database["fs.files"].find()))  # nobody reads half a file
    assert [delivery.outcome for delivery in sync(store_home, database)] == ["delivered"]
    stored = Runs(database).get(1).artifact("large.bin")
    assert hashlib.sha256(stored).digest() == hashlib.sha256(content).digest()
    assert database["fs.chunks"].count_documents({}) == -(-len(content) // (255 * 1024)) + 1


def test_a_run_whose_store_takes_it_but_whose_disk_does_not_is_in_neither(
    tmp_path: Path, database: Database[dict[str, Any]]
) -> None:
    from pipeline.tracking.entering import enter

    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"exists|directory"):
        enter(document_of(1) | {"uid": str(ObjectId())}, {}, None, tmp_path, database)
    assert database.runs.count_documents({}) == 0


def test_two_who_deliver_one_record_do_no_harm(store_home: Path, database: Database[dict[str, Any]]) -> None:
    left_behind(store_home, database)
    commands: list[Command] = [start_command(store_home, "sync", "--json") for _ in range(3)]
    assert [command.wait() for command in commands] == [0, 0, 0]
    outcomes = [delivery["outcome"] for command in commands for delivery in command.json]
    assert outcomes.count("delivered") == 1
    assert Runs(database).get(1).artifact("notes.txt") == b"as it was"
    assert records(store_home) == []
