"""Backup and restore: all of a store goes into a file and out of it again, and nothing that is there is changed."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from gridfs import GridFS
from pymongo.database import Database

from odenet.main import main
from pipeline.dashboard.board import ensure_columns
from pipeline.runs.annotations import add_tags, set_note
from pipeline.runs.backup import create_backup, restore_backup
from pipeline.runs.backup.alone import PATIENCE, alone
from pipeline.runs.backup.archive import ArchiveError
from pipeline.runs.backup.create_backup import back_up
from pipeline.runs.backup.restore_backup import restore
from pipeline.runs.garbage import find_garbage
from pipeline.runs.load_model import load_model
from pipeline.runs.query import Runs
from pipeline.runs.registry import promote
from pipeline.runs.removal import remove_run
from pipeline.tracking.store import MAX_RUN_ID, REMOVED, next_run_id
from pipeline.util.errors import InvalidInput, OdenetError
from pipeline.util.paths import home
from tests.helpers.commands import FORKSERVER, start_command, wait_until
from tests.helpers.damage import CRAFTED, craft, write_archive
from tests.helpers.trained import TrainedHome

Store = Database[dict[str, Any]]


@pytest.fixture
def full(trained: TrainedHome) -> Store:
    """A store with everything that one can have: two runs, tags, a note, a model, the dashboard's columns."""
    store, runs = trained.database, Runs(trained.database)
    add_tags(runs.get(1), ["paper"])
    set_note(runs.get(2), "the one of table 3")
    promote(runs.get(1), "best")
    ensure_columns(store)
    pointing = {"info.rerun_of": 1, "info.sweep": {"trials": [{"run_id": 1}, {"run_id": 2}, {"run_id": None}]}}
    store.runs.update_one({"_id": 2}, {"$set": pointing})
    return store


@pytest.fixture
def file(full: Store, tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "store.zip"
    back_up(full, path)
    return path


def everything(store: Store) -> dict[str, list[Any]]:
    """Every document of every collection that has one."""
    found = {name: list(store[name].find().sort("_id")) for name in sorted(store.list_collection_names())}
    return {name: documents for name, documents in found.items() if documents}


def contents(store: Store) -> dict[str, Any]:
    """Every document, and of each file its entry and content; not what tells stores apart, nor when it was stored."""
    files = GridFS(store)
    found: dict[str, Any] = {
        name: {document["_id"]: document for document in store[name].find({}, {"stored": False})}
        for name in store.list_collection_names()
        if not name.startswith("fs.")
    }
    found.get("counters", {}).pop("store", None)
    for entry in store.fs.files.find({}, {"uploadDate": False}):
        found.setdefault("files", {})[entry["_id"]] = (entry, files.get(entry["_id"]).read())
    return {name: documents for name, documents in found.items() if documents}


def empty(store: Store) -> None:
    for name in store.list_collection_names():
        store[name].delete_many({})


# There and back


def test_a_store_goes_into_another_one_and_back_with_every_document_and_file(
    full: Store, file: Path, database: Store, tmp_path: Path
) -> None:
    before = contents(full)
    assert set(before) >= {"runs", "metrics", "files", "environments", "models", "counters", "omniboard.custom.columns"}
    restore(database, file)
    assert contents(database) == before
    back_up(database, tmp_path / "back.zip")
    empty(full)
    restore(full, tmp_path / "back.zip")
    assert contents(full) == before
    assert load_model("best", database=full).network is not None


def test_a_backup_that_could_not_be_restored_is_not_kept_and_says_why(full: Store, tmp_path: Path) -> None:
    full.runs.insert_one({"_id": 50, "uid": Runs(full).get(1).document["uid"]})
    with pytest.raises(ArchiveError, match="was not kept, as nothing of it could be restored"):
        back_up(full, tmp_path / "store.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "odd", [{"_id": 0}, {"_id": 77, "uid": 12}, {"_id": MAX_RUN_ID}, {"_id": {"of": "another"}}], ids=str
)
def test_a_run_of_another_program_that_no_restore_takes_is_left_out_and_named(
    full: Store, database: Store, tmp_path: Path, odd: dict[str, Any]
) -> None:
    runs = full.runs.count_documents({})
    full.runs.insert_one({**odd, "status": "QUEUED"})
    full.metrics.insert_one({"run_id": odd["_id"], "name": "loss", "steps": [], "values": [], "timestamps": []})
    made = back_up(full, tmp_path / "store.zip")
    assert made.left_out == (f"the run {odd['_id']}",)
    restore(database, tmp_path / "store.zip")
    assert database.runs.count_documents({}) == made.runs == runs


@pytest.mark.parametrize(
    ("collection", "document", "named"),
    [
        ("environments", {"_id": "conda", "path": "/x"}, "the document conda in environments"),
        ("models", {"_id": "bert", "path": "/x"}, "the document bert in models"),
        ("metrics", {"_id": "m", "run_id": "another"}, "the series m"),
        ("metrics", {"_id": {"of": 1}, "run_id": "another", "name": "mine"}, "the series {'of': 1}"),
        ("fs.files", {"_id": "m", "filename": "x", "chunkSize": 1}, "the file m"),
    ],
    ids=str,
)
def test_a_document_of_another_program_that_no_restore_takes_is_left_out_and_named(
    full: Store, database: Store, tmp_path: Path, collection: str, document: dict[str, Any], named: str
) -> None:
    full.runs.insert_one({"_id": "another"})
    before = contents(full)
    full[collection].insert_one(document)
    made = back_up(full, tmp_path / "store.zip")
    assert (made.left_out, made.damaged_documents) == ((named,), ())
    restore(database, tmp_path / "store.zip")
    assert contents(database) == before


@pytest.mark.parametrize(
    ("collection", "which", "change", "named", "reason"),
    [
        ("environments", {}, {"sources": "all"}, "the document {} in environments", "has no list of sources"),
        ("fs.files", {"filename": "roc.png"}, {"chunkSize": "x"}, "the file {}", "has chunks of 'x' bytes"),
        ("fs.files", {"filename": "roc.png"}, {"metadata": 5}, "the file {}", "is none that a store has"),
        ("fs.files", {"filename": ".py"}, {"metadata": 5}, "the file {}", "is none that a store has"),
        ("metrics", {"run_id": 1}, {"name": 7}, "the series {}", "has no name"),
        ("models", {}, {"history": []}, "the document {} in models", "has no history"),
        ("runs", {"_id": 2}, {"uid": 7}, "the run {}", "the uid of run 2 is no text"),
    ],
)
def test_a_damaged_document_of_ours_is_named_with_the_reason_and_the_rest_is_in_the_backup(
    full: Store,
    database: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    collection: str,
    which: dict[str, Any],
    change: dict[str, Any],
    named: str,
    reason: str,
) -> None:
    if "filename" in which:
        which = {"filename": {"$regex": f"{which['filename']}$"}}
    damaged = full[collection].find_one(which)
    assert damaged is not None
    full[collection].update_one({"_id": damaged["_id"]}, {"$set": change})
    assert main(["backup", str(tmp_path / "store.zip")]) == 1
    [told] = capsys.readouterr().err.splitlines()
    assert told.startswith(f"{named.format(damaged['_id'])} (")
    assert told.endswith(f"{reason}) is not in the backup, as no restore would take it: mend or remove it")
    restore(database, tmp_path / "store.zip")
    assert database[collection].count_documents({}) == full[collection].count_documents({}) - 1
    assert Runs(database).get(1).weights()


def test_a_store_with_odd_documents_of_other_programs_takes_a_restore(file: Path, database: Store) -> None:
    database.runs.insert_many([{"_id": {"of": "another"}}, {"_id": "list", "uid": [1]}, {"_id": "none", "uid": None}])
    database[REMOVED].insert_one({"_id": {"of": "another"}, "uid": "x"})
    assert [run.is_new for run in restore(database, file).runs] == [True, True]


def test_runs_of_another_program_with_empty_uids_are_told_apart(full: Store, database: Store, tmp_path: Path) -> None:
    full.runs.insert_many([{"_id": name, "uid": None, "start_time": None} for name in ("a", "b")])
    back_up(full, tmp_path / "store.zip")
    restore(database, tmp_path / "store.zip")
    assert {run["_id"] for run in database.runs.find({"uid": None})} == {"a", "b"}


def test_runs_that_wait_in_a_queue_of_sacreds_are_told_apart(full: Store, tmp_path: Path) -> None:
    waiting = {"experiment": {"name": "e"}, "host": {"hostname": "h"}, "status": "QUEUED", "start_time": None}
    full.runs.insert_many([{"_id": number, **waiting, "config": {"x": number % 2}} for number in (101, 102, 103)])
    back_up(full, tmp_path / "store.zip")
    full.runs.delete_one({"_id": 102})
    restore(full, tmp_path / "store.zip")
    assert {run["_id"] for run in full.runs.find({"status": "QUEUED"})} == {101, 102, 103}


def test_a_run_that_is_removed_meanwhile_leaves_a_backup_that_can_be_restored(
    full: Store, database: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its document first, and its metrics a moment later."""
    known = create_backup.list_ids
    full.metrics.insert_one({"run_id": 999, "name": "training.loss", "steps": [1], "values": [1.0], "timestamps": []})
    monkeypatch.setattr(create_backup, "list_ids", lambda of: [*known(of), *([999] if of.name == "runs" else [])])
    made = back_up(full, tmp_path / "store.zip")
    assert made.runs == full.runs.count_documents({})
    restore(database, tmp_path / "store.zip")
    assert database.runs.count_documents({}) == made.runs
    assert database.metrics.count_documents({"run_id": 999}) == 0


def test_a_run_that_is_removed_before_its_files_are_written_is_not_in_the_backup(
    full: Store, database: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = create_backup._other_collections

    def remove_it(store: Store) -> list[str]:
        remove_run(Runs(store).get(2), home())
        return known(store)

    monkeypatch.setattr(create_backup, "_other_collections", remove_it)  # behind runs and metrics, before files
    made = back_up(full, tmp_path / "store.zip")
    restore(database, tmp_path / "store.zip")
    assert made.runs == database.runs.count_documents({}) == full.runs.count_documents({})
    assert database.runs.find_one({"_id": 2}) is None
    assert database.metrics.count_documents({"run_id": 2}) == 0
    whole = contents(database)
    assert all(entry["file_id"] in whole["files"] for run in whole["runs"].values() for entry in run["artifacts"])


def test_a_restored_store_goes_on_where_the_other_one_was(full: Store, database: Store, tmp_path: Path) -> None:
    removed = next_run_id(full)
    back_up(full, tmp_path / "store.zip")
    restore(database, tmp_path / "store.zip")
    assert find_garbage(database, tmp_path).is_empty
    assert next_run_id(database) == removed + 1


def test_a_counter_that_no_restore_takes_keeps_no_store_from_a_backup_and_new_ids_stay_new(
    full: Store, database: Store, tmp_path: Path
) -> None:
    full.runs.update_one({"_id": 2}, {"$set": {"info.rerun_of": 90}})
    full.counters.update_one({"_id": "runs"}, {"$set": {"last": MAX_RUN_ID - 1000}})
    made = back_up(full, tmp_path / "store.zip")
    reason = f"no store can count on from {MAX_RUN_ID - 1000}"
    assert made.damaged_documents == (f"the document runs in counters ({reason})",)
    restore(database, tmp_path / "store.zip")
    assert database.runs.count_documents({}) == made.runs == 2
    assert next_run_id(database) == 91


def test_the_commands_say_what_they_did(full: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "store.zip"
    assert main(["backup", str(file)]) == 0
    assert "2 runs and " in capsys.readouterr().out
    assert main(["restore", str(file)]) == 0
    assert capsys.readouterr().out == "0 runs restored; 2 were here already\n"
    empty(full)
    full.runs.insert_one({"_id": next_run_id(full), "uid": "another"})
    assert main(["restore", str(file)]) == 0
    table = capsys.readouterr().out
    assert "2 runs restored; 0 were here already" in table
    assert ["1", "3"] in [line.split() for line in table.splitlines()]
    assert main(["restore", "--json", str(file)]) == 0
    assert [run["run_id"] for run in json.loads(capsys.readouterr().out)["runs"]] == [3, 2]


def test_other_tools_read_a_backup(full: Store, file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "unpacked")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "unpacked", check=True)
    about = json.loads((tmp_path / "unpacked" / "backup.json").read_text())
    assert about["documents"]["runs"] == 2
    (weights,) = full.fs.files.find({"filename": "artifact://runs/1/weights.safetensors"})
    assert (tmp_path / "unpacked" / "files" / str(weights["_id"])).stat().st_size == weights["length"]


# Into a store that has runs


def test_nothing_that_a_store_has_is_changed(file: Path, database: Store) -> None:
    restore(database, file)
    database.runs.update_one({"_id": 1}, {"$set": {"omniboard.notes": "changed here", "result": 0.5}})
    database.models.update_one({"_id": "best"}, {"$set": {"history.0.accuracy": 0.5}})
    database["omniboard.custom.columns"].update_one({"name": "seed"}, {"$set": {"config_path": "config.other"}})
    before = contents(database)
    restored = restore(database, file)
    assert contents(database) == before
    assert not any(run.is_new for run in restored.runs)
    assert set(restored.kept) == {"models/best", "omniboard.custom.columns/seed"}


def test_a_run_whose_id_is_taken_gets_a_new_one_and_all_that_points_to_it_follows(
    full: Store, file: Path, database: Store
) -> None:
    database.runs.insert_one({"_id": next_run_id(database), "uid": "a", "format": "odenet-1"})  # a run 1 of its own
    database.metrics.insert_one({"run_id": 1, "name": "training.loss", "values": [7.0]})
    restored = restore(database, file)
    assert [(run.backup_id, run.run_id, run.is_new) for run in restored.runs] == [(1, 3, True), (2, 2, True)]
    assert database.runs.find_one({"_id": 1}) == {"_id": 1, "uid": "a", "format": "odenet-1"}
    assert [one["values"] for one in database.metrics.find({"run_id": 1})] == [[7.0]]
    moved, other, original = Runs(database).get(3), Runs(database).get(2), Runs(full).get(1)
    assert moved.document["uid"] == original.document["uid"]
    for name, series in original.metrics().items():
        assert moved.metrics()[name].equals(series)
    assert moved.weights().keys() == original.weights().keys()
    assert database.fs.files.count_documents({"filename": {"$regex": "^artifact://runs/1/"}}) == 0
    assert database.fs.files.count_documents({"filename": {"$regex": "^artifact://runs/3/"}}) == len(moved.artifacts)
    assert other.info["rerun_of"] == 3
    assert other.info["sweep"]["trials"] == [{"run_id": 3}, {"run_id": 2}, {"run_id": None}]
    assert load_model("best", database=database).network is not None
    assert restore(database, file).runs[0].run_id == 3
    assert database.runs.count_documents({}) == 3


def test_what_points_to_a_removed_run_comes_to_point_to_no_other(full: Store, database: Store, tmp_path: Path) -> None:
    full.runs.update_one({"_id": 2}, {"$set": {"info.rerun_of": 90}})
    back_up(full, tmp_path / "store.zip")
    database.runs.insert_one({"_id": 90, "uid": "a", "format": "odenet-1"})
    restore(database, tmp_path / "store.zip")
    pointed_to = Runs(database).get(2).info["rerun_of"]
    assert database.runs.find_one({"_id": pointed_to}) is None
    assert next_run_id(database) > pointed_to


def test_runs_of_sacreds_own_observer_go_along_once(full: Store, database: Store, tmp_path: Path) -> None:
    sacred = {
        "_id": 7,
        "format": "MongoObserver-0.7.0",
        "start_time": datetime(2020, 1, 1),
        "experiment": {"name": "other", "sources": []},
        "host": {"hostname": "elsewhere"},
        "artifacts": [],
    }
    full.runs.insert_one(dict(sacred))
    back_up(full, tmp_path / "store.zip")
    for _ in range(2):
        restore(database, tmp_path / "store.zip")
        assert database.runs.find_one({"_id": 7}) == sacred
        assert database.runs.count_documents({}) == 3


def test_a_run_that_was_going_on_is_restored_as_one_that_died(full: Store, database: Store, tmp_path: Path) -> None:
    full.runs.update_one({"_id": 2}, {"$set": {"status": "RUNNING", "heartbeat": datetime.now(UTC)}})
    back_up(full, tmp_path / "store.zip")
    restored = restore(database, tmp_path / "store.zip")
    run = Runs(database).get(2)
    assert (run.document["status"], run.document["stop_time"]) == ("DIED", run.document["heartbeat"])
    assert [run.was_running for run in restored.runs] == [False, True]
    assert Runs(full).get(2).document["status"] == "RUNNING"


# What goes wrong


def test_a_backup_is_for_its_owner_alone_and_never_replaces_a_file(full: Store, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    with pytest.raises(InvalidInput, match=r"exists already: name a new file"):
        back_up(full, file)
    assert file.read_bytes() == before


def test_a_backup_onto_a_full_disk_says_so_and_leaves_nothing(trained: TrainedHome, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    process = FORKSERVER.Process(target=_back_up_to_a_small_disk, args=(trained.home, folder / "store.zip", tmp_path))
    process.start()
    wait_until(lambda: process.exitcode is not None)
    assert process.exitcode == 1
    said = (tmp_path / "stderr").read_text()
    assert said.startswith("odenet: the backup ")
    assert said.count("\n") == 1
    assert list(folder.iterdir()) == []


def _back_up_to_a_small_disk(home: Path, file: Path, folder: Path) -> None:
    os.environ["ODENET_HOME"] = str(home)
    sys.stderr = (folder / "stderr").open("w")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    status = main(["backup", str(file)])
    sys.stderr.close()
    sys.exit(status)


def test_an_interrupted_backup_leaves_nothing(full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_file: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)  # the last thing before it gets its name
    with pytest.raises(KeyboardInterrupt):
        back_up(full, tmp_path / "store.zip")
    assert list(tmp_path.iterdir()) == []


def damage(file: Path, name: str, content: bytes | None) -> Path:
    """A copy of the backup in which a member has this content, or is missing, with correct checksums of the ZIP."""
    copy = file.with_name("damaged.zip")
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as damaged:
        for member in archive.namelist():
            if member != name:
                damaged.writestr(member, archive.read(member))
            elif content is not None:
                damaged.writestr(member, content)
    return copy


@pytest.fixture
def weights(full: Store) -> str:
    """The member that is run 1's weights."""
    entry = full.fs.files.find_one({"filename": "artifact://runs/1/weights.safetensors"})
    assert entry is not None
    return f"files/{entry['_id']}"


def test_a_damaged_backup_is_told_in_one_sentence_and_changes_nothing(
    file: Path, weights: str, database: Store, tmp_path: Path
) -> None:
    content = file.read_bytes()
    place = content.index(b"training.loss") - 1000
    flipped, short = tmp_path / "flipped.zip", tmp_path / "short.zip"
    flipped.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    short.write_bytes(content[: len(content) // 2])
    with zipfile.ZipFile(file) as archive:
        runs = archive.read("collections/runs.bson")
    broken = [
        (flipped, ArchiveError),
        (damage(file, weights, b"other weights"), ArchiveError),
        (short, InvalidInput),
    ]
    for path, error in broken:
        with pytest.raises(error, match=r"^[^\n]*(is damaged|is no backup)[^\n]*$"):
            restore(database, path)
    for member, changed in ((weights, None), ("collections/runs.bson", runs[:-10]), ("backup.json", b"{}")):
        with pytest.raises(OdenetError, match=r"^[^\n]*(is damaged|is no backup)[^\n]*$"):
            restore(database, damage(file, member, changed))
    assert contents(database) == {}


def test_a_file_that_is_no_backup_is_told_so(database: Store, tmp_path: Path) -> None:
    text, archive, newer = tmp_path / "notes.txt", tmp_path / "other.zip", tmp_path / "newer.zip"
    text.write_text("not a backup")
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("notes.txt", "not a backup")
    with zipfile.ZipFile(newer, "w") as other:
        other.writestr("backup.json", json.dumps({"format": "odenet-backup-2"}))
    for path, words in (
        (text, "is no backup"),
        (archive, "is no backup"),
        (newer, "has the format odenet-backup-2"),
        (tmp_path / "missing.zip", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(InvalidInput, match=words):
            restore(database, path)
    assert contents(database) == {}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_backup_fails_before_the_first_write(
    file: Path, database: Store, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    collection, change = CRAFTED[name]
    craft(file, tmp_path / "crafted.zip", collection, change)
    before = everything(database)
    assert main(["restore", str(tmp_path / "crafted.zip")]) in (1, 2)
    told = capsys.readouterr().err
    assert told.startswith("odenet: ")
    assert told.count("\n") == 1
    assert everything(database) == before


def test_a_backup_that_is_crafted_as_ours_are_is_restored(file: Path, database: Store, tmp_path: Path) -> None:
    craft(file, tmp_path / "crafted.zip", "runs", lambda runs: runs[-1].update(note="mine"))
    assert len(restore(database, tmp_path / "crafted.zip").runs) == 2


@pytest.mark.parametrize(
    ("collection", "document"),
    [
        ("runs", {"_id": 50, "status": "RUNNING"}),
        ("runs", {"_id": 51, "start_time": [1], "experiment": "mine", "host": 7}),
        ("runs", {"_id": "my-run", "format": "MongoObserver-0.7.0"}),
        ("omniboard.settings", {"_id": 1, "value": 2}),
    ],
)
def test_a_document_that_lacks_something_is_restored_with_all_the_others(
    file: Path, database: Store, tmp_path: Path, collection: str, document: dict[str, Any]
) -> None:
    craft(file, tmp_path / "other.zip", collection, lambda documents: documents.append(document))
    restore(database, tmp_path / "other.zip")
    assert database[collection].count_documents({"_id": document["_id"]}) == 1
    assert database.runs.count_documents({"format": {"$regex": "^odenet"}}) == 2
    back_up(database, tmp_path / "again.zip")
    restore(database, tmp_path / "again.zip")


@pytest.mark.parametrize("times", [300, 900])
def test_a_backup_that_unpacks_to_many_times_its_size_is_refused_before_it_is_read(
    database: Store, tmp_path: Path, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bomb = tmp_path / "bomb.zip"
    block = b"\0" * 1024 * (times if times < 500 else 1000)
    write_archive(bomb, {"backup.json": b'{"format": "odenet-backup-1"}', "files/1": block * 200})
    assert main(["restore", str(bomb)]) == 2
    assert "times its size" in capsys.readouterr().err
    assert everything(database) == {}


def test_a_backup_that_unpacks_to_more_than_it_says_is_refused(
    file: Path, database: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    liar = tmp_path / "liar.zip"
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "SHA256SUMS"}
    write_archive(liar, members | {"files/zeros": b"\0" * 5_000_000})
    content = liar.read_bytes()
    assert content.count((5_000_000).to_bytes(4, "little")) == 2  # in the member's head and in the directory
    liar.write_bytes(content.replace((5_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert main(["restore", str(liar)]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1
    assert everything(database) == {}


def test_what_other_programs_keep_comes_back_and_what_cannot_is_named(
    full: Store, database: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("2024-results", "my notes", "größe")
    for name in names:
        full[name].insert_one({"_id": 1, "value": name})
    full["of/a path"].insert_one({"_id": 1})
    small = GridFS(full).put(b"x" * 1000, chunk_size=100)
    odd = GridFS(full).put(b"y", _id={"of": "another"})
    file = tmp_path / "store.zip"
    try:
        assert main(["backup", str(file)]) == 0
    finally:
        GridFS(full).delete(odd)
    told = capsys.readouterr().err
    assert "the collection of/a path of another program is not in the backup" in told
    assert "the file {'of': 'another'} of another program is not in the backup" in told
    restore(database, file)
    for name in names:
        assert database[name].find_one() == {"_id": 1, "value": name}
    assert GridFS(database).get(small).read() == b"x" * 1000
    assert Runs(database).get(1).artifact("roc.png") == Runs(full).get(1).artifact("roc.png")


def test_a_file_that_the_store_has_lost_does_not_hinder_the_others(
    full: Store, weights: str, database: Store, tmp_path: Path
) -> None:
    full.fs.chunks.delete_many({"files_id": ObjectId(weights.removeprefix("files/"))})
    backup = back_up(full, tmp_path / "store.zip")
    assert backup.damaged_files == ("artifact://runs/1/weights.safetensors",)
    restore(database, tmp_path / "store.zip")
    assert database.fs.files.count_documents({}) == backup.files
    assert Runs(database).get(1).artifact("roc.png") == Runs(full).get(1).artifact("roc.png")


def test_a_file_that_is_removed_while_a_backup_is_made_is_not_called_damaged(
    full: Store, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = create_backup.in_portions

    def and_remove(collection: Any, *asked: Any, **more: Any) -> Iterator[Any]:
        found = list(read(collection, *asked, **more))
        if found and isinstance(found[0], dict):  # the entries that contents are read by
            GridFS(full).delete(ObjectId(weights.removeprefix("files/")))
        yield from found

    monkeypatch.setattr(create_backup, "in_portions", and_remove)
    backup = back_up(full, tmp_path / "store.zip")
    assert backup.damaged_files == ()
    assert backup.files == full.fs.files.count_documents({})


def test_a_second_restore_at_the_same_time_is_told_of_the_first_and_doubles_no_run(
    full: Store, file: Path, store_home: Path, database: Store
) -> None:
    database.runs.insert_one({"_id": next_run_id(database), "uid": "another"})  # so that run 1 has to get a new id
    commands = [start_command(store_home, "restore", str(file)) for _ in range(3)]
    told = {(command.wait(), command.stderr) for command in commands}
    assert (0, "") in told
    other = "odenet: another restore is at work here: wait for its end, then look at `odenet runs`\n"
    assert told <= {(0, ""), (2, other)}
    uids = [run["uid"] for run in database.runs.find()]
    assert len(uids) == len(set(uids)) == full.runs.count_documents({"uid": {"$exists": True}}) + 1
    assert all(run.metrics() for run in Runs(database).find() if run.run_id != 1)


def test_a_restore_of_another_home_waits_for_its_end_or_for_its_silence(
    file: Path, database: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with alone(database):
        theirs = database.counters.find_one({"_id": "restore"})
        monkeypatch.setenv("ODENET_HOME", str(tmp_path))
        with pytest.raises(InvalidInput, match=r"^another restore is at work here"):
            restore(database, file)
    assert theirs is not None
    assert database.counters.find_one({"_id": "restore"}) is None
    for killed in ({"host": "another", "heard": theirs["heard"] - PATIENCE}, {"began": 0.0}):
        database.counters.insert_one(theirs | killed)
        assert restore(database, file).runs
    database.counters.insert_one(theirs | {"host": "another"})
    with pytest.raises(InvalidInput, match=r"^another restore is at work here"):
        restore(database, file)
    database.counters.delete_one({"_id": "restore"})


def test_the_id_of_a_removed_run_is_given_back_to_it_alone(full: Store, file: Path, database: Store) -> None:
    restore(database, file)
    run = Runs(database).get(1)
    database.models.delete_many({})
    remove_run(run, home())
    database[REMOVED].insert_one({"_id": "another program's"})
    database[REMOVED].update_one({"_id": 1}, {"$set": {"uid": "of another store"}})
    [again] = [one for one in restore(database, file).runs if one.backup_id == 1]
    assert again.run_id > full.counters.find_one({"_id": "runs"})["last"]  # type: ignore[index]
    database.models.delete_many({})
    remove_run(Runs(database).get(again.run_id), home())
    [again] = [one for one in restore(database, file).runs if one.backup_id == 1]
    assert again.is_new


def test_a_run_that_another_restore_has_put_in_meanwhile_is_told_as_such(
    file: Path, database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = restore_backup._Restore._choose_ids

    def late(self: Any) -> Any:
        new = choose(self)
        database.runs.insert_one(dict(next(self._archive.documents("runs"))))
        return new

    monkeypatch.setattr(restore_backup._Restore, "_choose_ids", late)
    with pytest.raises(OdenetError, match=r"^run 1 has been put in by another restore just now: restore once more"):
        restore(database, file)


def test_a_restore_that_was_killed_leaves_whole_runs_and_is_gone_on_with(
    full: Store, file: Path, store_home: Path, database: Store
) -> None:
    database.runs.insert_one({"_id": next_run_id(database), "uid": "another"})  # so that run 1 has to get a new id
    database.metrics.insert_one({"run_id": 2, "name": "training.loss", "values": [7.0]})  # of a removal broken off
    begun = full.metrics.find_one({"run_id": 1})
    assert begun is not None
    database.metrics.insert_one({**begun, "run_id": 77})  # of an earlier restore, under the id that run 1 had there
    files = full.fs.files.count_documents({})
    for stored in (10, files - 15, files - 5):
        command = start_command(store_home, "restore", str(file))
        wait_until(lambda stored=stored: database.fs.files.count_documents({}) >= stored, command)
        command.send(signal.SIGKILL)
        command.wait()
        for run in Runs(database).find():
            if run.is_foreign:
                continue
            assert set(run.metrics()) == {series["name"] for series in run.document["info"]["metrics"]}
            assert all(run.artifact(name) for name in run.artifacts)
    restore(database, file)
    then, now = contents(full), contents(database)
    new_id = next(run["_id"] for run in now["runs"].values() if run["uid"] == then["runs"][1]["uid"])
    assert sorted(now["runs"]) == [1, 2, new_id]
    for series_id, series in then["metrics"].items():
        run_id = new_id if series["run_id"] == 1 else series["run_id"]
        assert now["metrics"].pop(series_id) == {**series, "run_id": run_id}
    assert now["metrics"] == {}
    kept, came = ({key: content for key, (_, content) in found["files"].items()} for found in (then, now))
    assert came == kept
    assert find_garbage(database, store_home).is_empty
