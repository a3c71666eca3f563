"""Connections that are cut: while a run enters the store, goes on, and is delivered."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database
from sacred import Experiment

from pipeline.runs.query import Runs
from pipeline.tracking.address import StoreAddress
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.entering import take_up
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.record import Record
from pipeline.tracking.run_folder import run_folder
from pipeline.tracking.store import MAX_RUN_ID, connect, next_run_id
from pipeline.tracking.sync import sync
from pipeline.util.errors import InvalidInput
from tests.faults.proxy import Asked, Fate, Proxy
from tests.faults.tiny import TinyRun, start_tiny_run
from tests.faults.verdict import judge
from tests.helpers.commands import database_of, records
from tests.helpers.records import left_behind, read
from tests.helpers.waiting import wait_until


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder of the test's own."""
    yield tmp_path / "home"
    EmbeddedStore(tmp_path / "home").stop()


@pytest.fixture
def proxy(home: Path) -> Iterator[Proxy]:
    """The way to its store."""
    address = EmbeddedStore(home).start()
    with Proxy(int(address.url.rpartition(":")[2].partition("/")[0])) as running:
        yield running


def login(home: Path) -> Any:
    return json.loads((home / "store" / "credentials.json").read_text())


def start(home: Path, proxy: Proxy, number: int = 1, epochs: int = 3) -> TinyRun:
    return start_tiny_run(home, number, seed=number, epochs=epochs, url=proxy.url(login(home)))


def ended(run: TinyRun) -> None:
    wait_until(lambda: run.process.exitcode is not None)


class FirstOf:
    """Cuts the first so many commands of this name and collection."""

    def __init__(self, words: str, fate: Fate, times: int) -> None:
        self.words, self.fate, self.left = words, fate, times

    def __call__(self, asked: Asked) -> Fate:
        if asked.words != self.words or self.left == 0:
            return Fate.PASSES
        self.left -= 1
        return self.fate


@pytest.mark.parametrize("fate", [Fate.REQUEST_CUT, Fate.REPLY_CUT])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("words", ["insert runs", "findAndModify counters", "find runs"])
def test_a_run_enters_once_whatever_is_cut_while_it_enters(
    home: Path, proxy: Proxy, words: str, times: int, fate: Fate
) -> None:
    proxy.decide = FirstOf(words, fate, times)
    run = start(home, proxy)
    ended(run)
    assert proxy.cuts == times
    said = run.said()
    assert said.ended == "COMPLETED", said
    database = database_of(home)
    assert judge(home, database, [run]).losses == []
    assert database.runs.count_documents({}) == 1


@pytest.mark.parametrize("fate", [Fate.REQUEST_CUT, Fate.REPLY_CUT])
def test_a_run_that_cannot_enter_is_refused_and_leaves_nothing_after_sync(home: Path, proxy: Proxy, fate: Fate) -> None:
    fates = {"insert runs": fate, "delete runs": Fate.REQUEST_CUT}
    proxy.decide = lambda asked: fates.get(asked.words, Fate.PASSES)
    run = start(home, proxy)
    ended(run)
    said = run.said()
    assert said.run_id is None
    assert said.refused is not None
    assert "could not take a new run" in said.refused
    assert said.traceback == ""
    database = database_of(home)
    assert database.runs.count_documents({}) == (fate is Fate.REPLY_CUT)
    assert [result.outcome for result in sync(home, database)] == ["withdrawn"]
    assert database.runs.count_documents({}) == 0
    assert list((home / "runs").iterdir()) == []


def test_a_run_that_is_killed_before_it_knows_that_it_is_entered_leaves_nothing_after_sync(
    home: Path, proxy: Proxy
) -> None:
    is_held = threading.Event()

    def hold(asked: Asked) -> Fate:
        if asked.words == "find runs" and database.runs.count_documents({}):
            return Fate.PASSES
        if asked.words == "insert runs":
            is_held.set()
            return Fate.REPLY_CUT
        return Fate.PASSES

    database = database_of(home)
    proxy.decide = hold
    run = start(home, proxy)
    wait_until(is_held.is_set)
    run.kill()
    ended(run)
    outcomes = [result.outcome for result in sync(home, database)]
    assert outcomes in (["withdrawn"], ["delivered"])
    assert judge(home, database, [run]).losses == []
    assert records(home) == []


def test_an_id_that_another_observer_gave_is_taken_or_refused_and_no_other_run_suffers(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = database_of(home)
    record = left_behind(home, database, 5)
    before = list(database.runs.find())
    monkeypatch.setenv("ODENET_HOME", str(home))
    monkeypatch.delenv("ODENET_MONGO_URL", raising=False)
    experiment = Experiment("chosen", save_git_info=False)
    experiment.observers = [StoreObserver(home)]
    experiment.main(lambda: None)
    for taken in (5, 3, MAX_RUN_ID, -1):
        with pytest.raises(InvalidInput, match=f"a run cannot be called {taken}: the store numbers its runs"):
            experiment.run(options={"--id": taken, "--capture": "no"})
    assert list(database.runs.find()) == before
    assert records(home) == [record.folder]
    experiment.run(options={"--id": 90, "--capture": "no"})
    assert read(database, 90).status == "COMPLETED"
    database.runs.delete_one({"_id": 90})
    assert next_run_id(database) == 91


# Going on


@pytest.fixture
def interrupted(home: Path) -> tuple[Database[dict[str, Any]], dict[str, Any]]:
    """A run that was broken off and is whole in the store, and its document."""
    database = database_of(home)
    record = left_behind(home, database, 1, status="INTERRUPTED")
    record.deliver(database)
    record.discard()
    document = database.runs.find_one({"_id": 1})
    assert document is not None
    return database, document


def changes(session: str = "first") -> dict[str, Any]:
    return {"status": "RUNNING", "stop_time": None, "resumed": [{"uid": session}]}


def through(home: Path, proxy: Proxy) -> Database[dict[str, Any]]:
    return connect(StoreAddress(proxy.url(login(home)), login(home)["database"], embedded=False))


@pytest.mark.parametrize("fate", [Fate.REQUEST_CUT, Fate.REPLY_CUT])
def test_a_run_goes_on_once_whatever_is_cut_while_it_is_taken_up(
    home: Path, proxy: Proxy, interrupted: tuple[Database[dict[str, Any]], dict[str, Any]], fate: Fate
) -> None:
    database, document = interrupted
    proxy.decide = FirstOf("update runs", fate, 2)
    record = take_up(document, changes(), run_folder(home, document), through(home, proxy))
    assert proxy.cuts == 2
    assert read(database, 1).status == "RUNNING"
    record.update({"status": "COMPLETED"})
    record.deliver(database)
    assert read(database, 1).metrics()["training.loss"].to_dict() == {1: 1.0, 2: 0.5}


def test_a_run_that_could_not_be_taken_up_is_as_it_was_after_sync(
    home: Path,
    proxy: Proxy,
    interrupted: tuple[Database[dict[str, Any]], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database, document = interrupted
    monkeypatch.setattr("pipeline.tracking.store.ENTERING_SECONDS", 1.0)
    proxy.decide = lambda asked: Fate.REPLY_CUT if asked.words == "update runs" else Fate.PASSES
    with pytest.raises(Exception, match=r"closed|reset"):
        take_up(document, changes(), run_folder(home, document), through(home, proxy))
    assert [result.outcome for result in sync(home, database)] == ["delivered"]
    after = read(database, 1)
    assert (after.document["status"], after.document["resumed"]) == ("INTERRUPTED", [])
    assert after.artifact("notes.txt") == b"as it was"
    assert len(after.metrics()["training.loss"]) == 2


@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_process_that_is_killed_before_the_store_knows_that_a_run_goes_on_leaves_it_as_it_was(
    home: Path, interrupted: tuple[Database[dict[str, Any]], dict[str, Any]], is_claimed: bool
) -> None:
    database, document = interrupted
    database.runs.update_one({"_id": 1}, {"$set": {"status": "COMPLETED", "result": 0.9}})
    document |= {"status": "COMPLETED", "result": 0.9}
    goes_on = {**changes(), "result": None}
    record = Record.reopen(run_folder(home, document), {**document, **goes_on}, database)
    if is_claimed:
        database.runs.update_one({"_id": 1}, {"$set": goes_on})
    record.release()  # as it is when its process is killed
    assert [result.outcome for result in sync(home, database)] == ["delivered" if is_claimed else "withdrawn"]
    after = read(database, 1)
    assert (after.status, after.result) == (("DIED", None) if is_claimed else ("COMPLETED", 0.9))
    assert after.artifact("notes.txt") == b"as it was"
    assert len(after.metrics()["training.loss"]) == 2
    assert records(home) == []


def test_a_run_that_got_a_file_since_it_was_read_is_not_taken_up_without_it(
    home: Path, interrupted: tuple[Database[dict[str, Any]], dict[str, Any]]
) -> None:
    database, document = interrupted
    database.runs.update_one({"_id": 1}, {"$push": {"artifacts": {"name": "late.csv", "file_id": ObjectId()}}})
    with pytest.raises(Exception, match="run 1 was removed or has changed just now"):
        take_up(document, changes(), run_folder(home, document), database)
    assert [entry["name"] for entry in read(database, 1).document["artifacts"]][-1] == "late.csv"


def test_of_two_who_go_on_with_a_run_the_second_is_told(
    home: Path, interrupted: tuple[Database[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    database, document = interrupted
    first = take_up(document, changes(), run_folder(home, document), database)
    with pytest.raises(Exception, match="another process resumes or removes run 1 just now"):
        take_up(document, changes("second"), run_folder(home, document), database)
    with pytest.raises(Exception, match="run 1 was removed or has changed just now"):  # on another machine
        take_up(document, changes("third"), run_folder(tmp_path / "elsewhere", document), database)
    assert not list((tmp_path / "elsewhere").rglob("*.json"))
    first.release()
    assert Runs(database).get(1).document["resumed"][0]["uid"] == "first"
