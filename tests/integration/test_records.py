"""Records that wait on disk: damaged ones keep back no other, old ones take nothing away, copies do no harm."""

import json
import os
import platform
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from pymongo.database import Database

from odenet.main import main
from pipeline.runs.query import Runs
from pipeline.runs.resume import take_over
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.load_record import load_record
from pipeline.tracking.record import Record
from pipeline.tracking.run_folder import run_folder
from pipeline.tracking.store import IDENTITY, store_uid
from pipeline.tracking.sync import DeliveryResult, sync
from pipeline.util.errors import OdenetError
from tests.helpers.records import document_of, left_behind, read

Damage = Callable[[Record], Any]


def document_in(record: Record, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what record.json holds."""
    path = record.folder / "record.json"
    stored = json_util.loads(path.read_text())
    change(stored)
    path.write_text(json_util.dumps(stored))


def whole_again(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def metrics_end_with(line: str) -> Damage:
    def damage(record: Record) -> None:
        with (record.folder / "metrics.jsonl").open("a") as file:
            file.write(f"\n{line}")

    return damage


def a_folder_in_place_of(name: str) -> Damage:
    def damage(record: Record) -> None:
        (record.folder / name).unlink()
        (record.folder / name).mkdir()

    return damage


def content_of(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda record: (record.folder / name).write_bytes(change((record.folder / name).read_bytes()))


POINT = '{"id": {"$oid": "0123456789abcdef01234567"}, "name": "training.loss", "step": 3, "value": 1.0, "at": 5}'
DAMAGES: dict[str, Damage] = {
    "empty": content_of("record.json", lambda _: b""),
    "cut": content_of("record.json", lambda content: content[: len(content) // 2]),
    "zeros": content_of("record.json", lambda content: bytes(len(content))),
    "another encoding": content_of("record.json", lambda content: content.decode().encode("utf-16")),
    "bytes that are no text": content_of("record.json", lambda content: b"\xff\xfe\xff" + content),
    "a list": content_of("record.json", lambda _: b"[1, 2]"),
    "a number": content_of("record.json", lambda _: b"7"),
    "nested too deep": content_of("record.json", lambda _: b"[" * 200_000),
    "a folder": a_folder_in_place_of("record.json"),
    "no document": lambda record: document_in(record, lambda stored: stored.pop("document")),
    "no files": lambda record: document_in(record, lambda stored: stored.pop("files")),
    "no id": lambda record: document_in(record, lambda stored: stored["document"].pop("_id")),
    "no uid": lambda record: document_in(record, lambda stored: stored["document"].pop("uid")),
    "a uid that is a number": lambda record: document_in(record, lambda stored: stored["document"].update(uid=7)),
    "no status": lambda record: document_in(record, lambda stored: stored["document"].pop("status")),
    "another run's id": lambda record: document_in(record, lambda stored: stored["document"].update(_id=1)),
    "an id that nobody has": lambda record: document_in(record, lambda stored: stored["document"].update(_id=99)),
    "another uid": lambda record: document_in(record, lambda stored: stored["document"].update(uid="f" * 32)),
    "a uid with another end": lambda record: document_in(
        record, lambda stored: stored["document"].update(uid=stored["document"]["uid"][:-1] + "x")
    ),
    "an id that is too large": lambda record: document_in(record, lambda stored: stored["document"].update(_id=2**70)),
    "a document that no store takes": lambda record: document_in(
        record, lambda stored: stored["document"].update(info={"x": 2**80})
    ),
    "an artifact's entry without a name": lambda record: document_in(
        record, lambda stored: stored["files"][0].pop("name")
    ),
    "an artifact without content": lambda record: shutil.rmtree(record.folder / "files"),
    "metrics in another encoding": content_of("metrics.jsonl", lambda content: content.decode().encode("utf-16")),
    "metrics that are a folder": a_folder_in_place_of("metrics.jsonl"),
    "a point without a value": metrics_end_with('{"id": {"$oid": "0123456789abcdef01234567"}, "name": "a", "step": 3}'),
    "a point whose time is a number": metrics_end_with(POINT),
    "a point that is a list": metrics_end_with("[1, 2]"),
    "two series with one id": content_of("metrics.jsonl", lambda content: content.replace(b"training", b"traininG", 1)),
    "a line that is no point": metrics_end_with("<html>not found</html>"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_is_set_aside_with_what_could_be_saved_and_keeps_back_no_other(
    store_home: Path, database: Database[dict[str, Any]], name: str
) -> None:
    first, damaged, last = (left_behind(store_home, database, run_id) for run_id in (1, 2, 3))
    DAMAGES[name](damaged)
    before = {path.name: path.read_bytes() for path in damaged.folder.glob("*.json*") if path.is_file()}
    try:
        results = {result.run_id: result for result in sync(store_home, database)}
        assert {run_id: result.outcome for run_id, result in results.items()} == {
            1: "delivered",
            2: "damaged",
            3: "delivered",
        }
        aside = store_home / "damaged" / damaged.folder.name
        assert f"set aside in {aside}" in results[2].message
        assert {path.name: path.read_bytes() for path in aside.glob("*.json*") if path.is_file()} == before
        assert not any(record.folder.exists() for record in (first, damaged, last))
        for run_id in (1, 3):
            assert read(database, run_id).artifact("notes.txt") == b"as it was"
        saved = Runs(database).find({"status": "DIED"})
        assert {run.run_id for run in saved} == {1, 2, 3}
        if "metrics" not in name and "series" not in name:
            assert read(database, 2).metrics()["training.loss"].to_dict() == {1: 1.0, 2: 0.5}
        assert list(sync(store_home, database)) == []
    finally:
        shutil.rmtree(store_home / "damaged", ignore_errors=True)


def test_a_record_with_more_than_a_store_takes_keeps_back_no_other(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    large, _ = left_behind(store_home, database, 1), left_behind(store_home, database, 2)
    document_in(large, lambda stored: stored["document"].update(captured_out="x" * 2**25))
    refused, delivered = sync(store_home, database)
    assert (refused.outcome, delivered.outcome) == ("refused", "delivered")
    assert "run 1 holds more than a store takes" in refused.message
    shutil.rmtree(large.folder)


@pytest.mark.usefixtures("database")
def test_a_record_whose_run_nobody_knows_is_set_aside_whole(
    store_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store_home / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("not json")
    assert main(["sync"]) == 1
    assert "a record was set aside in" in capsys.readouterr().out
    assert (store_home / "damaged" / "mine" / "record.json").read_text() == "not json"
    assert main(["doctor"]) in (0, 1)
    assert "mine set aside in" in capsys.readouterr().out
    shutil.rmtree(store_home / "damaged")


def test_a_damaged_record_leaves_its_checkpoint_to_be_gone_on_from(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database)
    (record.folder / "checkpoint.pt").write_bytes(b"weights")
    (record.folder / "record.json").write_text("{")
    list(sync(store_home, database))
    assert [path.name for path in record.folder.iterdir() if path.name != "lock"] == ["checkpoint.pt"]
    shutil.rmtree(record.folder)
    shutil.rmtree(store_home / "damaged")


def test_what_another_runs_record_says_is_not_added_to_the_run_whose_folder_it_lies_in(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database, 1)
    other = left_behind(store_home, database, 2, config={"seed": 7})
    for name in ("record.json", "metrics.jsonl"):
        shutil.copy(other.folder / name, record.folder / name)
    shutil.rmtree(other.folder)
    database.runs.delete_one({"_id": 2})
    (result,) = sync(store_home, database)
    assert result.outcome == "damaged"
    assert "nothing of it was delivered" in result.message
    assert read(database, 1).metrics() == {}
    assert (store_home / "damaged" / record.folder.name / "metrics.jsonl").exists()
    shutil.rmtree(store_home / "damaged")


def test_of_an_artifact_that_is_replaced_neither_the_disk_nor_the_store_keeps_the_old_one(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database)
    for content in (b"second", b"third", b"fourth"):
        record.add_artifact("notes.txt", content, "text/plain")
        if content != b"second":
            record.deliver(database)
    assert [path.read_bytes() for path in (record.folder / "files").iterdir()] == [b"fourth"]
    assert read(database, 1).artifact("notes.txt") == b"fourth"
    assert database.fs.files.count_documents({"filename": "artifact://runs/1/notes.txt"}) == 1
    assert database.fs.chunks.count_documents({"files_id": record.document["artifacts"][0]["file_id"]}) == 1
    record.discard()


# Copies


def test_a_copy_of_a_live_runs_folder_does_not_end_the_run(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    document = document_of(1)
    database.runs.insert_one(dict(document))
    record = Record.create(run_folder(store_home, document), document)
    record.add_metrics(1, {"training.loss": 1.0})
    shutil.copytree(record.folder, record.folder.with_name(f"{record.folder.name} copy"))
    record.add_metrics(2, {"training.loss": 0.5})
    outcomes = sorted(result.outcome for result in sync(store_home, database))
    assert outcomes == ["damaged", "live"]
    assert database.runs.find_one({"_id": 1}, {"status": True}) == {"_id": 1, "status": "RUNNING"}
    record.deliver(database)
    assert read(database, 1).metrics()["training.loss"].to_dict() == {1: 1.0, 2: 0.5}
    record.discard()
    shutil.rmtree(store_home / "damaged")


def test_a_folder_that_somebody_has_renamed_is_delivered_all_the_same(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database)
    record.folder.rename(record.folder.with_name("from the old laptop"))
    assert [result.outcome for result in sync(store_home, database)] == ["delivered"]
    assert read(database, 1).artifact("notes.txt") == b"as it was"


def test_an_old_copy_that_is_delivered_later_takes_nothing_away(
    store_home: Path, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    record = left_behind(store_home, database)
    shutil.copytree(record.folder, tmp_path / "copy")
    again = load_record(record.folder)
    again.add_metrics(3, {"training.loss": 0.25})
    again.update({"status": "COMPLETED", "result": 0.9})
    assert [result.outcome for result in sync(store_home, database)] == ["delivered"]
    shutil.copytree(tmp_path / "copy", record.folder)
    (late,) = sync(store_home, database)
    assert "the store knew more of it than this record" in late.message
    stored = read(database, 1)
    assert (stored.status, stored.result) == ("COMPLETED", 0.9)
    assert stored.metrics()["training.loss"].to_dict() == {1: 1.0, 2: 0.5, 3: 0.25}


# Old records


def stale(store_home: Path, database: Database[dict[str, Any]]) -> Record:
    """A record that its process could not write any more, while it told the store how it ended."""
    record = left_behind(store_home, database)
    old = {path: path.read_bytes() for path in record.folder.glob("*.json*")}
    record.add_metrics(3, {"training.loss": 0.25})
    record.update_info({"failure": {"reason": "failed", "message": "the disk is full"}})
    record.add_artifact("history.json", b"[]", "application/json")
    record.update({"status": "FAILED", "fail_trace": ["the disk is full"]})
    record.deliver(database)
    for path, content in old.items():
        path.write_bytes(content)
    return record


def test_a_record_older_than_the_store_takes_nothing_away_and_says_so(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    stale(store_home, database)
    before = database.runs.find_one({"_id": 1})
    (result,) = sync(store_home, database)
    assert result == DeliveryResult(
        1,
        "delivered",
        "run 1 delivered (FAILED); the store knew more of it than this record, which added only what the store had not",
    )
    stored = read(database, 1)
    assert stored.facts.failure == {"reason": "failed", "message": "the disk is full"}
    assert set(stored.artifacts) == {"notes.txt", "history.json"}
    assert stored.document["fail_trace"] == ["the disk is full"]
    assert stored.metrics()["training.loss"].to_dict() == {1: 1.0, 2: 0.5, 3: 0.25}
    assert before is not None
    assert {**stored.document, "artifacts": 0} == {**Runs(database).get(1).document, "artifacts": 0}


def test_an_old_record_still_adds_what_the_store_has_not(store_home: Path, database: Database[dict[str, Any]]) -> None:
    record = stale(store_home, database)
    database.metrics.delete_one({"name": "validation.loss"})
    database.runs.update_one({"_id": 1}, {"$set": {"artifacts": []}})
    list(sync(store_home, database))
    stored = read(database, 1)
    assert stored.metrics()["validation.loss"].to_dict() == {1: 2.0, 2: 1.0}
    assert stored.artifact("notes.txt") == b"as it was"
    assert stored.status == "FAILED"
    assert not record.folder.exists()


def test_a_record_of_an_earlier_version_does_not_make_an_ended_run_die(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database)
    document_in(record, lambda stored: stored["document"].pop("revision"))
    database.runs.update_one({"_id": 1}, {"$set": {"status": "COMPLETED", "result": 0.9}})
    list(sync(store_home, database))
    assert (read(database, 1).status, read(database, 1).result) == ("COMPLETED", 0.9)


@pytest.mark.parametrize("delivered", [False, True])
def test_a_run_that_was_about_to_enter_leaves_nothing_unless_it_has_told_the_store_more_since(
    store_home: Path, database: Database[dict[str, Any]], delivered: bool
) -> None:
    document = document_of(1, store=f"mongodb://***:***@{':'.join(map(str, database.client.address or ()))}/odenet")
    record = Record.create(run_folder(store_home, document), document, is_entering=True)
    database.runs.insert_one(dict(document))
    entering = (record.folder / "record.json").read_bytes()
    if delivered:
        record.entered()
        record.add_metrics(1, {"training.loss": 1.0})
        record.deliver(database)
        (record.folder / "record.json").write_bytes(entering)  # from an old copy of the disk
    record.release()
    assert [result.outcome for result in sync(store_home, database)] == ["delivered" if delivered else "withdrawn"]
    assert database.runs.count_documents({}) == delivered
    assert not record.folder.exists()


def test_a_run_that_was_about_to_enter_another_store_of_this_address_is_left_to_that_one(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    where = f"mongodb://***:***@{':'.join(map(str, database.client.address or ()))}/odenet"
    document = document_of(1, store=where, store_uid="that of a store that was put away")
    record = Record.create(run_folder(store_home, document), document, is_entering=True)
    record.release()
    assert [result.outcome for result in sync(store_home, database)] == ["elsewhere"]
    assert record.folder.exists()
    shutil.rmtree(record.folder)


def test_a_run_that_was_about_to_enter_this_store_by_another_name_leaves_nothing(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    document = document_of(1, store="mongodb+srv://***:***@cluster.example/odenet", store_uid=store_uid(database))
    record = Record.create(run_folder(store_home, document), document, is_entering=True)
    record.release()
    assert [result.outcome for result in sync(store_home, database)] == ["withdrawn"]
    assert not record.folder.exists()


def test_a_run_does_not_go_on_over_a_record_that_waits_for_another_store(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    """The store has a copy of the run, as of a backup."""
    record = left_behind(store_home, database, store_uid="that of the store where it began")
    with pytest.raises(
        OdenetError, match=r"^run 1 cannot go on with this store: .*it still waits for mongodb://elsewh"
    ):
        take_over(1, store_home, database)
    kept = load_record(record.folder)
    assert kept.metrics()["training.loss"]["steps"] == [1, 2]
    assert kept.document["status"] == "RUNNING"
    shutil.rmtree(record.folder)


def test_what_people_have_added_to_a_run_stays_when_its_record_is_delivered(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    left_behind(store_home, database)
    database.runs.update_one({"_id": 1}, {"$set": {"omniboard": {"tags": ["mine"]}, "info.rerun_of": 7}})
    list(sync(store_home, database))
    stored = read(database, 1)
    assert stored.document["omniboard"] == {"tags": ["mine"]}
    assert stored.info["rerun_of"] == 7


def test_a_run_that_was_removed_from_the_store_is_not_brought_back_by_its_own_process(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    record = left_behind(store_home, database)
    database.runs.delete_one({"_id": 1})
    with pytest.raises(Exception, match="the store has no run 1 of this record: it was removed there"):
        record.deliver(database)
    assert database.runs.count_documents({}) == database.metrics.count_documents({}) == 0
    shutil.rmtree(record.folder)


# Folders that go


def test_a_record_whose_folder_is_deleted_under_the_run_is_made_anew_with_every_point(
    store_home: Path, database: Database[dict[str, Any]]
) -> None:
    document = document_of(1)
    database.runs.insert_one(dict(document))
    record = Record.create(run_folder(store_home, document), document)
    record.add_metrics(1, {"training.loss": 1.0})
    record.add_artifact("a.txt", b"gone", "text/plain")
    shutil.rmtree(record.folder)
    record.add_metrics(2, {"training.loss": 0.5})
    record.release()
    assert load_record(record.folder).metrics() == {"training.loss": {"steps": [1, 2], "values": [1.0, 0.5]}}
    assert [result.outcome for result in sync(store_home, database)] == ["delivered"]


# Who is alive


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_on_its_own_machine_a_run_is_alive_while_its_lock_is_held_whatever_the_clock_says(
    store_home: Path, database: Database[dict[str, Any]], hours: int
) -> None:
    at = datetime.now(UTC) + timedelta(hours=hours)
    document = document_of(1, heartbeat=at, heard=at, host={"hostname": platform.node()})
    database.runs.insert_one(dict(document))
    record = Record.create(run_folder(store_home, document), document)
    assert read(database, 1).status == "RUNNING"
    assert [run.run_id for run in Runs(database).find({"status": "RUNNING"})] == [1]
    record.release()
    assert read(database, 1).status == "DIED"
    assert [run.run_id for run in Runs(database).find({"status": "DIED"})] == [1]
    shutil.rmtree(record.folder)


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(-3600, "DIED"), (-90, "DIED"), (-5, "RUNNING"), (5, "RUNNING"), (90, "DIED"), (3600, "DIED")],
)
def test_of_another_machines_run_the_time_tells_that_the_store_heard_of_it_also_from_the_future(
    tmp_path: Path, seconds: float, status: str
) -> None:
    heard = datetime.now(UTC) - timedelta(seconds=seconds)
    years_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert effective_status(document_of(1, heard=heard, heartbeat=years_ago), tmp_path) == status
    assert effective_status(document_of(1, heartbeat=heard), tmp_path) == status


def test_the_stores_clock_counts_and_not_this_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_now = datetime.now(UTC) + timedelta(hours=3)
    document = document_of(1, heard=store_now)
    assert effective_status(document, tmp_path) == "DIED"
    monkeypatch.setattr("pipeline.tracking.liveness._ahead", timedelta(hours=3))
    assert effective_status(document, tmp_path) == "RUNNING"


def test_a_live_run_is_marked_by_the_stores_clock(store_home: Path, database: Database[dict[str, Any]]) -> None:
    record = left_behind(store_home, database)
    record.deliver(database, is_alive=True)
    heard = database.runs.find_one({"_id": 1}, {"heard": True})
    assert heard is not None
    assert abs((heard["heard"].replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) < 60
    record.discard()


def test_a_record_and_all_of_its_files_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        record = Record.create(tmp_path / "home" / "runs" / "1-abc", document_of(1))
        record.add_metrics(1, {"training.loss": 1.0})
        record.add_artifact("a.txt", b"", "text/plain")
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o077 for path in (tmp_path / "home").rglob("*")}
    assert not any(modes.values()), json.dumps({str(path): mode for path, mode in modes.items()})
    record.release()


def test_the_first_runs_of_a_new_store_that_begin_at_once_agree_about_it(database: Database[dict[str, Any]]) -> None:
    for _ in range(20):
        database.counters.delete_one({"_id": IDENTITY})
        together = threading.Barrier(4)

        def ask(together: threading.Barrier = together) -> str:
            together.wait()
            return store_uid(database)

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask) for _ in range(4)]
        assert len({one.result() for one in asked}) == 1
