"""Tags, notes, files, export, removal and clearing: what is meant goes or comes, and nothing beside it."""

import io
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from bson import ObjectId
from gridfs import GridFS

from experiments.prepare import prepare
from experiments.tracked import resume_tracked
from odenet.main import main
from pipeline.runs.annotations import add_tags, attach, remove_tags, set_note
from pipeline.runs.export import write_export
from pipeline.runs.garbage import collect, find_garbage
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.registry import promote
from pipeline.runs.removal import remove_run
from pipeline.runs.resume import prepare_resume
from pipeline.tracking.environment import put_environment
from pipeline.tracking.gridfs import put_bytes, remove_chunks, remove_file
from pipeline.tracking.run_folder import claimed
from pipeline.tracking.stop_request import STOP_REQUEST
from pipeline.tracking.store import next_run_id
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.commands import FORKSERVER, SLOW, Command, records, start_command, wait_until
from tests.helpers.trained import TrainedHome

LONG = timedelta(days=10_000)
"""No checkpoint is as old as that."""


@pytest.fixture
def live_run(trained: TrainedHome) -> Iterator[Command]:
    """Run 3, which trains until it is told to stop."""
    command = start_command(trained.home, "run", *SLOW, "training.max_epochs=200")
    try:
        wait_until(lambda: trained.database.metrics.find_one({"run_id": 3, "name": "training.loss"}), command)
        yield command
    finally:
        if command.process.is_alive():
            command.send(signal.SIGKILL)
            command.wait()


def run(trained: TrainedHome, run_id: int) -> StoredRun:
    return Runs(trained.database).get(run_id)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def assert_whole(trained: TrainedHome, run_id: int) -> None:
    """The run has its metrics, and every one of its files can be read."""
    stored = run(trained, run_id)
    assert set(stored.metrics()) == {series["name"] for series in stored.document["info"]["metrics"]}
    for name in stored.artifacts:
        stored.artifact(name)
    sources = stored.document["experiment"]["sources"]
    assert sources
    for _, file_id in sources:
        GridFS(trained.database).get(file_id).read()


def age_files(trained: TrainedHome) -> None:
    """As if every file, and what lists them, had been stored two days ago."""
    before = datetime.now(UTC) - timedelta(days=2)
    trained.database.environments.update_many({}, {"$set": {"stored": before}})
    trained.database.fs.files.update_many({}, {"$set": {"uploadDate": before}})
    trained.database.fs.chunks.update_many({}, {"$set": {"uploadDate": before}})


def in_two_days() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


# Tags and notes


def test_tags_and_notes_are_where_omniboard_has_them(trained: TrainedHome, capsys: pytest.CaptureFixture[str]) -> None:
    # What Omniboard writes when a person edits its table.
    trained.database.runs.update_one({"_id": 1}, {"$set": {"omniboard.tags": ["seen"], "omniboard.notes": "old"}})
    assert main(["tag", "1", "paper", "seen", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run_id": 1, "tags": ["seen", "paper"]}
    assert main(["note", "1", "the one of table 3"]) == 0
    assert run(trained, 1).document["omniboard"] == {"tags": ["seen", "paper"], "notes": "the one of table 3"}
    assert main(["tag", "1", "seen", "--remove"]) == 0
    assert run(trained, 1).document["omniboard"]["tags"] == ["paper"]
    assert main(["note", "1", "- a list of one"]) == 0
    assert run(trained, 1).document["omniboard"]["notes"] == "- a list of one"


def test_what_people_gave_a_run_is_in_what_machines_read_of_it(
    trained: TrainedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("rename", "1", "wide field"), ("tag", "1", "1.10"), ("note", "1", "of table 3")):
        assert main(list(words)) == 0
    capsys.readouterr()
    assert main(["show", "1", "--json"]) == 0
    given = {"name": "wide field", "tags": ["1.10"], "note": "of table 3"}
    shown = json.loads(capsys.readouterr().out)
    assert shown | given == shown
    assert main(["runs", "tag=1.10", "--columns", "name,host", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row | given | {"run_id": 1, "host": run(trained, 1).document["host"]["hostname"]} == row


def test_an_empty_tag_is_refused(trained: TrainedHome) -> None:
    assert main(["tag", "1", "paper", " "]) == 2
    assert "omniboard" not in run(trained, 1).document


def test_signs_that_are_no_text_are_refused_in_tags_and_notes(
    trained: TrainedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("tag", "note"):
        assert main([command, "1", "a\udcff"]) == 2
        assert "has bytes that are no text in UTF-8" in capsys.readouterr().err
    assert main(["run", "--note", "a\udcff", "with", "digits"]) == 2
    assert "the note " in capsys.readouterr().err
    assert "omniboard" not in run(trained, 1).document


def test_what_is_written_to_a_run_that_was_just_removed_says_so(trained: TrainedHome) -> None:
    stored = run(trained, 1)
    remove_run(stored, trained.home)
    for write in (lambda: add_tags(stored, ["x"]), lambda: remove_tags(stored, ["x"]), lambda: set_note(stored, "x")):
        with pytest.raises(InvalidInput, match="run 1 has been removed"):
            write()
    assert trained.database.runs.count_documents({"_id": 1}) == 0


# Attached files


def test_an_attached_file_is_an_artifact_like_the_others(trained: TrainedHome, tmp_path: Path) -> None:
    file = tmp_path / "review.pdf"
    file.write_bytes(os.urandom(600_000))  # three chunks
    before = run(trained, 1).artifacts
    assert main(["attach", "1", str(file)]) == 0
    assert run(trained, 1).artifacts == (*before, "review.pdf")
    assert run(trained, 1).artifact("review.pdf") == file.read_bytes()
    assert find_garbage(trained.database, trained.home, LONG, now=in_two_days()).is_empty


def test_a_file_of_a_name_that_is_taken_or_that_cannot_be_read_is_refused(trained: TrainedHome, tmp_path: Path) -> None:
    before = trained.everything()
    file = tmp_path / "roc.png"
    with pytest.raises(InvalidInput, match="cannot be read"):
        attach(run(trained, 1), file, trained.home)
    file.write_bytes(b"mine")
    with pytest.raises(InvalidInput, match=r"has an artifact roc\.png already"):
        attach(run(trained, 1), file, trained.home)
    with pytest.raises(InvalidInput, match="cannot be read"):
        attach(run(trained, 1), tmp_path, trained.home)
    assert trained.everything() == before


def test_a_file_is_not_attached_to_a_run_that_has_begun_again_meanwhile(trained: TrainedHome, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    stored = run(trained, 1)
    trained.database.runs.update_one({"_id": 1}, {"$set": {"status": "RUNNING"}})
    with pytest.raises(OdenetError, match="run 1 has changed just now"):
        attach(stored, file, trained.home)
    assert "notes.txt" not in run(trained, 1).artifacts


def test_a_file_is_not_attached_while_another_machine_still_has_the_record(
    trained: TrainedHome, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    trained.database.runs.update_one({"_id": 1}, {"$set": {"status": "RUNNING", "heartbeat": long_ago}})
    with pytest.raises(InvalidInput, match=r"run 1 \(DIED\) still waits .*odenet sync"):
        attach(run(trained, 1), file, trained.home)
    assert "notes.txt" not in run(trained, 1).artifacts


# Removal


def test_removal_takes_what_is_the_runs_own_and_leaves_the_other_whole(trained: TrainedHome) -> None:
    replaced = ObjectId()
    GridFS(trained.database).put(b"older", _id=replaced, filename="artifact://runs/1/roc.png")
    age_files(trained)
    artifacts = [artifact["file_id"] for artifact in run(trained, 1).document["artifacts"]]
    folder = trained.run_folder(1)
    assert main(["rm", "1", "--yes"]) == 0
    assert [stored.run_id for stored in Runs(trained.database).find()] == [2]
    assert trained.database.metrics.count_documents({"run_id": 1}) == 0
    assert trained.database.fs.files.count_documents({"_id": {"$in": [*artifacts, replaced]}}) == 0
    assert trained.database.fs.chunks.count_documents({"files_id": {"$in": [*artifacts, replaced]}}) == 0
    assert not folder.exists()
    assert trained.run_folder(2).exists()
    assert_whole(trained, 2)


def test_the_last_run_takes_sources_along_that_nobody_has_wanted_lately(trained: TrainedHome) -> None:
    age_files(trained)
    (wanted, _), *_ = run(trained, 1).document["experiment"]["sources"]
    put_bytes(trained.database, wanted, Path(wanted).read_bytes())  # as a run does that starts
    assert main(["rm", "1", "2", "--yes"]) == 0
    assert [file["filename"] for file in trained.database.fs.files.find()] == [wanted]
    assert len(trained.database.fs.chunks.distinct("files_id")) == 1


def test_sources_stored_lately_stay_for_a_run_that_is_starting(trained: TrainedHome) -> None:
    sources = [file_id for _, file_id in run(trained, 1).document["experiment"]["sources"]]
    assert main(["rm", "1", "2", "--yes"]) == 0
    assert sorted(file["_id"] for file in trained.database.fs.files.find()) == sorted(sources)


@pytest.mark.parametrize(("text", "status"), [("n\n", 1), ("\n", 1), ("", 2), ("maybe\n", 1)])
def test_nothing_is_removed_unless_a_person_says_yes(
    trained: TrainedHome, monkeypatch: pytest.MonkeyPatch, text: str, status: int
) -> None:
    before = trained.everything()
    answer(monkeypatch, text)
    assert main(["rm", "1"]) == status
    assert trained.everything() == before
    assert trained.run_folder(1).exists()


@pytest.mark.usefixtures("trained")
def test_yes_removes_and_json_stays_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "y\n")
    assert main(["rm", "2", "1", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": [2, 1]}


def test_of_several_runs_none_is_removed_when_one_cannot_be(trained: TrainedHome) -> None:
    before = trained.everything()
    assert main(["rm", "1", "99", "--yes"]) == 2
    with claimed(trained.run_folder(2)):  # by the lock, a process still runs it
        assert main(["rm", "1", "2", "--yes"]) == 2
    assert trained.everything() == before
    assert trained.run_folder(1).exists()


def test_what_was_promoted_while_a_person_thinks_keeps_the_others_too(
    trained: TrainedHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def think(_question: str) -> bool:
        promote(run(trained, 2), "best")
        return True

    monkeypatch.setattr("odenet.housekeeping._confirmed", think)
    assert main(["rm", "1", "2"]) == 2
    assert "run 2 is the model best" in capsys.readouterr().err
    assert [one.run_id for one in Runs(trained.database).find()] == [2, 1]


def test_a_run_that_ended_after_it_was_read_has_not_died(trained: TrainedHome) -> None:
    earlier = run(trained, 1)
    read = StoredRun({**earlier.document, "status": "RUNNING"}, trained.database)
    assert read.status == "COMPLETED"
    trained.database.runs.update_one({"_id": 1}, {"$set": {"status": "RUNNING"}})
    assert read.status == "DIED"


def test_of_several_runs_none_is_asked_to_stop_when_one_cannot_be(trained: TrainedHome, live_run: Command) -> None:
    assert main(["stop", "3", "1"]) == 2
    assert STOP_REQUEST not in run(trained, 3).document
    assert live_run.process.is_alive()


@pytest.mark.usefixtures("trained")
def test_checkpoints_of_two_thousand_years_are_kept() -> None:
    assert main(["gc", "--checkpoint-days", "800000", "--dry-run"]) == 0


def test_an_id_never_comes_back(trained: TrainedHome) -> None:
    trained.database.counters.delete_many({})  # as for runs that were given an id by hand
    assert main(["rm", "2", "--yes"]) == 0
    assert next_run_id(trained.database) == 3


def test_a_run_that_goes_on_again_while_the_person_thinks_is_not_removed(trained: TrainedHome) -> None:
    stored = run(trained, 1)
    trained.database.runs.update_one({"_id": 1}, {"$set": {"status": "RUNNING"}})
    before = trained.everything()
    with pytest.raises(OdenetError, match="run 1 has changed just now"):
        remove_run(stored, trained.home)
    assert trained.everything() == before
    assert trained.run_folder(1).exists()


def test_a_run_that_is_promoted_while_the_person_thinks_is_not_removed(trained: TrainedHome) -> None:
    stored = run(trained, 1)
    promote(stored, "mine")
    with pytest.raises(InvalidInput, match="run 1 is the model mine"):
        remove_run(stored, trained.home)
    assert_whole(trained, 1)


def test_a_run_whose_result_is_no_number_is_removed_like_any(
    trained: TrainedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.database.runs.update_one({"_id": 1}, {"$set": {"result": {"accuracy": 0.9}}})
    assert main(["rm", "1", "--yes"]) == 0, capsys.readouterr().err
    assert trained.database.runs.count_documents({"_id": 1}) == 0


@pytest.mark.parametrize("delay", [0.0, 0.5, 1.0, 1.5, 2.5])
def test_of_a_removal_and_a_process_that_goes_on_with_the_run_one_does_and_the_other_is_told(
    trained: TrainedHome, delay: float
) -> None:
    resuming = start_command(trained.home, "resume", "1", "with", "training.max_epochs=40")
    time.sleep(delay)
    removing = start_command(trained.home, "rm", "1", "--yes")
    statuses = resuming.wait(), removing.wait()
    assert 0 in statuses, (resuming.stderr, removing.stderr)
    there = trained.database.runs.count_documents({"_id": 1})
    series = trained.database.metrics.count_documents({"run_id": 1})
    if statuses[1] == 0:
        assert "Traceback" not in resuming.stderr
        assert (there, series, list((trained.home / "runs").glob("1-*"))) == (0, 0, [])
    else:
        assert "run 1 " in removing.stderr
        assert there == 1
        assert len(run(trained, 1).metrics()["training.loss"]) == 40


def test_a_run_that_was_removed_since_it_was_read_is_not_gone_on_with(trained: TrainedHome) -> None:
    stored, config, data = prepare_resume(1, {"training": {"max_epochs": 9}}, trained.home, trained.database)
    prepared = prepare(stored.task, config, data)
    assert main(["rm", "1", "--yes"]) == 0
    with pytest.raises(
        InvalidInput, match="run 1 was removed or has changed just now: look at it with `odenet show 1`"
    ):
        resume_tracked(stored, prepared)
    assert trained.database.runs.count_documents({"_id": 1}) == 0
    assert trained.database.metrics.count_documents({"run_id": 1}) == 0
    assert not list((trained.home / "runs").glob("1-*"))


def test_a_run_that_another_process_has_gone_on_with_since_it_was_listed_is_not_removed(
    trained: TrainedHome,
) -> None:
    stored = run(trained, 1)
    trained.database.runs.update_one({"_id": 1}, {"$set": {"heartbeat": datetime.now(UTC)}})
    with pytest.raises(OdenetError, match="run 1 has changed just now"):
        remove_run(stored, trained.home)
    assert_whole(trained, 1)


def test_nothing_is_removed_where_runs_of_an_unknown_format_may_need_it(trained: TrainedHome) -> None:
    trained.database.runs.insert_one({"_id": 50, "format": "odenet-4"})
    for remove in (
        lambda: remove_run(run(trained, 1), trained.home),
        lambda: find_garbage(trained.database, trained.home),
    ):
        with pytest.raises(OdenetError, match=r"format odenet-4.*odenet-2 and odenet-3"):
            remove()
    assert_whole(trained, 1)


# Clearing


def test_in_a_store_in_order_there_is_nothing_to_clear_however_old_it_is(
    trained: TrainedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    age_files(trained)
    assert find_garbage(trained.database, trained.home, LONG, now=in_two_days()).is_empty
    assert main(["gc"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_a_file_of_another_program_stays_though_it_has_a_checksum_of_its_own(trained: TrainedHome) -> None:
    old = datetime(2024, 1, 1, tzinfo=UTC)
    common = {"length": 3, "chunkSize": 261120, "uploadDate": old}
    theirs = [
        {"_id": ObjectId(), "filename": "thesis.pdf", "metadata": {"sha256": "x" * 64, "owner": "labbook"}, **common},
        {"_id": "named", "filename": "thesis.pdf", "metadata": {"sha256": "x" * 64}, **common},
        {"_id": ObjectId(), "metadata": {"sha256": "x" * 64}, **common},
    ]
    trained.database.fs.files.insert_many(theirs)
    assert find_garbage(trained.database, trained.home, LONG, now=in_two_days()).files == {}


def test_what_a_deleted_run_left_behind_goes_and_the_other_run_stays_whole(trained: TrainedHome) -> None:
    trained.database.runs.delete_one({"_id": 1})  # as Omniboard does when it is interrupted
    assert find_garbage(trained.database, trained.home, LONG).is_empty, "too young: a run may be starting"
    garbage = find_garbage(trained.database, trained.home, LONG, now=in_two_days())
    series = trained.saved["metrics"]
    assert set(garbage.metrics) == {one["_id"] for one in series if one["run_id"] == 1}
    assert "artifact://runs/1/weights.safetensors" in garbage.files.values()
    collect(garbage, trained.database)
    assert trained.database.metrics.count_documents({"run_id": 1}) == 0
    assert trained.database.fs.files.count_documents({"filename": {"$regex": "^artifact://runs/1/"}}) == 0
    files = {file["_id"] for file in trained.database.fs.files.find()}
    assert set(trained.database.fs.chunks.distinct("files_id")) == files
    assert_whole(trained, 2)
    assert find_garbage(trained.database, trained.home, LONG, now=in_two_days()).is_empty


def test_the_list_of_sources_and_packages_goes_with_the_last_run_that_had_it(trained: TrainedHome) -> None:
    age_files(trained)
    assert find_garbage(trained.database, trained.home, LONG).environments == ()
    trained.database.runs.delete_many({})
    garbage = find_garbage(trained.database, trained.home, LONG)
    assert len(garbage.environments) == 1
    collect(garbage, trained.database)
    assert trained.database.environments.count_documents({}) == 0


def test_the_list_of_sources_and_packages_stays_for_a_run_that_starts_while_it_is_being_cleared(
    trained: TrainedHome,
) -> None:
    listed = run(trained, 1).document["experiment"]
    age_files(trained)
    trained.database.runs.delete_many({})
    garbage = find_garbage(trained.database, trained.home, LONG)
    assert put_environment(trained.database, dict(listed["sources"]), listed["dependencies"]) in garbage.environments
    collect(garbage, trained.database)
    assert trained.database.environments.count_documents({}) == 1


def test_the_series_of_a_run_that_comes_back_while_it_is_being_cleared_stay(trained: TrainedHome) -> None:
    document = trained.database.runs.find_one({"_id": 1})
    trained.database.runs.delete_one({"_id": 1})
    garbage = find_garbage(trained.database, trained.home, LONG, now=in_two_days())
    assert garbage.metrics
    trained.database.runs.insert_one(document)
    before = trained.database.metrics.count_documents({"run_id": 1})
    collect(garbage, trained.database)
    assert trained.database.metrics.count_documents({"run_id": 1}) == before > 0


def test_a_file_that_a_starting_run_stores_again_while_it_is_being_cleared_stays(trained: TrainedHome) -> None:
    age_files(trained)
    name, file_id = run(trained, 1).document["experiment"]["sources"][0]
    trained.database.runs.delete_many({})
    garbage = find_garbage(trained.database, trained.home, LONG)
    assert garbage.files[file_id] == name
    put_bytes(trained.database, name, Path(name).read_bytes())
    collect(garbage, trained.database)
    assert GridFS(trained.database).get(file_id).read() == Path(name).read_bytes()
    assert trained.database.fs.files.count_documents({}) == 1


def test_a_file_stored_again_between_the_removal_of_its_entry_and_of_its_chunks_is_whole(trained: TrainedHome) -> None:
    age_files(trained)
    name, file_id = run(trained, 1).document["experiment"]["sources"][0]
    before = datetime.now(UTC) - timedelta(days=1)
    trained.database.fs.files.delete_one({"_id": file_id})
    put_bytes(trained.database, name, Path(name).read_bytes())
    remove_chunks(trained.database, file_id, before)
    assert not remove_file(trained.database, file_id, before)
    assert GridFS(trained.database).get(file_id).read() == Path(name).read_bytes()


def test_a_file_stored_lately_by_the_stores_clock_stays_whatever_this_machines_clock_says(
    trained: TrainedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_now = datetime.now(UTC) - timedelta(days=2)
    monkeypatch.setattr("pipeline.tracking.liveness._ahead", timedelta(days=-2))
    put_bytes(trained.database, "late.py", b"pass")
    (stored,) = trained.database.fs.files.find({"filename": "late.py"})
    assert abs(stored["uploadDate"].replace(tzinfo=UTC) - store_now) < timedelta(minutes=5)
    assert stored["_id"] not in find_garbage(trained.database, trained.home, LONG).files


def test_chunks_without_a_file_go_when_they_are_old(trained: TrainedHome) -> None:
    old, young = ObjectId(), ObjectId()
    for file_id, age in ((old, timedelta(days=2)), (young, timedelta(hours=2))):
        chunk_id = ObjectId.from_datetime(datetime.now(UTC) - age)
        trained.database.fs.chunks.insert_one({"_id": chunk_id, "files_id": file_id, "n": 0, "data": b"x"})
    garbage = find_garbage(trained.database, trained.home, LONG)
    assert garbage.chunks == (old,)
    collect(garbage, trained.database)
    assert trained.database.fs.chunks.count_documents({"files_id": old}) == 0
    assert trained.database.fs.chunks.count_documents({"files_id": young}) == 1


def test_what_an_unfinished_run_has_sent_waits_for_the_document_that_names_it(trained: TrainedHome) -> None:
    trained.database.runs.update_one({"_id": 1}, {"$set": {"status": "RUNNING", "artifacts": []}})
    assert find_garbage(trained.database, trained.home, LONG, now=in_two_days()).is_empty
    trained.database.runs.update_one({"_id": 1}, {"$set": {"status": "COMPLETED"}})
    names = find_garbage(trained.database, trained.home, LONG, now=in_two_days()).files.values()
    assert "artifact://runs/1/weights.safetensors" in names


def test_files_of_other_programs_stay(trained: TrainedHome) -> None:
    files = GridFS(trained.database)
    sacred = files.put(b"a source", filename="train.py")
    files.put(b"a data set", filename="/data/images.npz")  # Sacred names it by its MD5 in `resources`
    trained.database.fs.files.update_one({"_id": sacred}, {"$set": {"metadata.sha256": "0"}})
    trained.database.runs.insert_one(
        {"_id": 60, "format": "MongoObserver-0.7.0", "experiment": {"sources": [["train.py", sacred]]}}
    )
    assert find_garbage(trained.database, trained.home, LONG, now=in_two_days()).is_empty


def test_old_checkpoints_go_but_for_the_best_of_each_data_set(trained: TrainedHome) -> None:
    checkpoints = {run_id: trained.run_folder(run_id) / "checkpoint.pt" for run_id in (1, 2)}
    month_ago = (datetime.now(UTC) - timedelta(days=40)).timestamp()
    for checkpoint in checkpoints.values():
        os.utime(checkpoint, (month_ago, month_ago))
    trained.database.runs.update_one({"_id": 1}, {"$set": {"result": 0.9}})
    trained.database.runs.update_one({"_id": 2}, {"$set": {"result": 0.8}})
    find = lambda **limits: find_garbage(trained.database, trained.home, **limits).checkpoints  # noqa: E731
    assert find(kept_checkpoints=2) == ()
    assert find(kept_checkpoints=0, checkpoint_age=timedelta(days=50)) == ()
    assert find(kept_checkpoints=1) == (checkpoints[2],)
    trained.database.runs.update_one({"_id": 2}, {"$set": {"result": float("nan")}})
    assert find(kept_checkpoints=1) == (checkpoints[2],)
    trained.database.runs.update_many({}, {"$set": {"result": float("nan")}})
    assert set(find(kept_checkpoints=1)) == set(checkpoints.values()), "what is no number is never best"
    trained.database.runs.update_many({}, {"$set": {"result": 0.9}})
    trained.database.runs.update_one({"_id": 2}, {"$set": {"config.data.name": "mnist"}})
    assert find(kept_checkpoints=1) == ()
    assert main(["gc", "--keep-best", "0", "--yes"]) == 0
    assert not any(checkpoint.parent.exists() for checkpoint in checkpoints.values())
    assert_whole(trained, 1)


def test_the_checkpoint_of_a_run_that_goes_on_or_waits_for_delivery_stays(trained: TrainedHome) -> None:
    old = {"checkpoint_age": timedelta(0), "kept_checkpoints": 0, "now": in_two_days()}
    folder = trained.run_folder(1)
    (folder / "record.json").touch()
    assert find_garbage(trained.database, trained.home, **old).checkpoints == (trained.run_folder(2) / "checkpoint.pt",)
    (folder / "record.json").unlink()
    elsewhere = {"status": "RUNNING", "host.hostname": "another machine"}
    trained.database.runs.update_one({"_id": 1}, {"$set": elsewhere, "$currentDate": {"heard": True}})
    assert find_garbage(trained.database, trained.home, **old).checkpoints == (trained.run_folder(2) / "checkpoint.pt",)
    trained.database.runs.update_one({"_id": 1}, {"$set": {"status": "COMPLETED"}})
    garbage = find_garbage(trained.database, trained.home, **old)
    assert len(garbage.checkpoints) == 2
    with claimed(folder):  # a process goes on with it since it was listed
        collect(garbage, trained.database)
    assert (folder / "checkpoint.pt").exists()
    assert not list((trained.home / "runs").glob("2-*"))


def test_a_folder_whose_run_another_store_may_have_is_told_and_left(
    trained: TrainedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.database.runs.delete_one({"_id": 1})
    assert main(["gc", "--checkpoint-days", "0", "--keep-best", "0", "--yes"]) == 0
    assert "1 folders with checkpoints of runs that this store does not have" in capsys.readouterr().out
    assert (trained.run_folder(1) / "checkpoint.pt").exists()


def test_a_dry_run_shows_and_removes_nothing(trained: TrainedHome, capsys: pytest.CaptureFixture[str]) -> None:
    age_files(trained)
    trained.database.runs.delete_one({"_id": 1})
    before = trained.everything()
    assert main(["gc", "--dry-run", "--json", "--checkpoint-days", "0", "--keep-best", "0"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "artifact://runs/1/roc.png" in shown["files"]
    assert len(shown["checkpoints"]) == 1
    assert not shown["removed"]
    assert trained.everything() == before
    assert main(["gc", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"]
    assert trained.database.fs.files.count_documents({"filename": {"$regex": "^artifact://runs/1/"}}) == 0


# While a run goes on


def test_a_live_run_is_annotated_but_neither_added_to_nor_removed_nor_cleared(
    trained: TrainedHome, live_run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    assert main(["tag", "3", "watched"]) == 0
    assert main(["note", "3", "looks well"]) == 0
    assert main(["attach", "3", str(file)]) == 2
    assert "run 3 is still running" in capsys.readouterr().err
    assert main(["rm", "1", "3", "--yes"]) == 2
    assert "run 3 is still running" in capsys.readouterr().err
    trained.database.runs.delete_one({"_id": 1})
    # As if all that has happened had happened long ago, but for the live run's own heartbeat.
    garbage = find_garbage(trained.database, trained.home, timedelta(0), 0, now=in_two_days())
    assert garbage.files
    collect(garbage, trained.database)
    live_run.send(signal.SIGINT)
    assert live_run.wait() == 130, live_run.stderr
    stored = run(trained, 3)
    assert stored.status == "INTERRUPTED"
    assert stored.document["omniboard"] == {"tags": ["watched"], "notes": "looks well"}
    assert (trained.run_folder(3) / "checkpoint.pt").exists()
    assert_whole(trained, 3)
    attach(stored, file, trained.home)
    assert run(trained, 3).artifact("notes.txt") == b"mine"


def test_a_killed_runs_file_waits_until_its_record_is_delivered(
    trained: TrainedHome, live_run: Command, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    live_run.send(signal.SIGKILL)
    live_run.wait()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    trained.database.runs.update_one({"_id": 3}, {"$set": {"heartbeat": long_ago}})
    with pytest.raises(InvalidInput, match=r"run 3 \(DIED\) still waits .*odenet sync"):
        attach(run(trained, 3), file, trained.home)
    assert main(["sync"]) == 0
    assert not records(trained.home)
    attach(run(trained, 3), file, trained.home)
    assert run(trained, 3).artifacts[-1] == "notes.txt"
    assert main(["rm", "3", "--yes"]) == 0
    assert not list((trained.home / "runs").glob("3-*"))


# Export


def test_the_three_formats_hold_the_same_runs_and_metrics(trained: TrainedHome, tmp_path: Path) -> None:
    add_tags(run(trained, 1), ["paper"])
    frames = {}
    readers = {
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "json": partial(pd.read_json, precise_float=True),
    }
    for form, read in readers.items():
        assert main(["export", "--format", form, "--out", str(tmp_path / form)]) == 0
        frames[form] = read(tmp_path / form / f"runs.{form}"), read(tmp_path / form / f"metrics.{form}")
    for runs, metrics in frames.values():
        assert runs["run_id"].tolist() == [1, 2]
        assert runs["config.model.body"].tolist() == ["resnet", "odenet"]
        assert runs["config.model.channels"].tolist() == [16, 16]
        assert runs["result"].tolist() == [run(trained, 1).result, run(trained, 2).result]
        loss = metrics[(metrics["run_id"] == 2) & (metrics["metric"] == "validation.loss")]
        stored = run(trained, 2).metrics()["validation.loss"]
        assert loss["epoch"].tolist() == stored.index.tolist() == [1, 2]
        assert loss["value"].tolist() == pytest.approx(stored.tolist())
        assert pd.to_datetime(loss["time"], utc=True).is_monotonic_increasing
    runs, metrics = frames["parquet"]
    assert str(runs["config.seed"].dtype) == "Int64"
    assert str(runs["start_time"].dt.tz) == "UTC"
    assert json.loads(runs["tags"][0]) == ["paper"]
    assert len(metrics) == sum(len(series) for n in (1, 2) for series in run(trained, n).metrics().values())


def test_json_goes_to_standard_output_as_one_document(trained: TrainedHome) -> None:
    trained.database.metrics.update_one({"run_id": 2, "name": "validation.loss"}, {"$set": {"values.1": math.nan}})
    done = start_command(trained.home, "export", "config.model.body=odenet")
    assert done.wait() == 0, done.stderr
    document = done.json
    assert [row["run_id"] for row in document["runs"]] == [2]
    assert document["runs"][0]["info.data.image_shape"] == [1, 8, 8]
    losses = [point["value"] for point in document["metrics"] if point["metric"] == "validation.loss"]
    assert losses[1] is None
    assert {point["run_id"] for point in document["metrics"]} == {2}


@pytest.mark.usefixtures("trained")
def test_no_run_at_all_gives_tables_with_headings(tmp_path: Path) -> None:
    assert main(["export", "status=FAILED", "--format", "csv", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "runs.csv").read_text() == "run_id\n"
    assert (tmp_path / "out" / "metrics.csv").read_text() == "run_id,metric,epoch,value,time\n"


def test_values_of_several_types_in_one_column_become_text(trained: TrainedHome, tmp_path: Path) -> None:
    trained.database.runs.update_one({"_id": 1}, {"$set": {"config.seed": {"py/object": "os.system"}}})
    trained.database.runs.update_one({"_id": 2}, {"$set": {"config.model.channels": "many"}})
    write_export(Runs(trained.database), tmp_path / "out", "parquet")
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert runs["config.model.channels"].tolist() == ["16", "many"]
    assert runs["config.seed.py/object"][0] == "os.system"


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "csv"], "give --out DIR"),
        (["--out", "{used}"], "exists already"),
        (["--out", "{used}/file/below"], "cannot be written"),
        (["nonsense", "--out", "{free}"], "not a filter"),
    ],
)
def test_an_export_that_cannot_be_is_told_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "file").write_text("mine")
    assert main(["export", *(word.format(used=used, free=tmp_path / "free") for word in words)]) in (1, 2)
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*"))] == [Path("used"), Path("used/file")]


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_an_export_that_breaks_off_leaves_nothing(trained: TrainedHome, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    process = FORKSERVER.Process(target=_export_to_a_small_disk, args=(trained.home, out, form))
    process.start()
    wait_until(lambda: process.exitcode is not None)
    assert process.exitcode == 1
    assert list(tmp_path.iterdir()) == []


def _export_to_a_small_disk(home: Path, out: Path, form: str) -> None:
    os.environ["ODENET_HOME"] = str(home)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    sys.exit(main(["export", "--format", form, "--out", str(out)]))


@pytest.mark.usefixtures("trained")
def test_parquet_without_its_library_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # what an import meets where it is not installed
    assert main(["export", "--format", "parquet", "--out", str(tmp_path / "out")]) == 1
    assert "odenet-pipeline[parquet]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
