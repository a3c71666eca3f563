"""The store: the embedded server's life, who may enter it, and the ids it gives to runs."""

import contextlib
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect, ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError

from pipeline.tracking import embedded
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import (
    INDEXES,
    StoreAddress,
    StoreError,
    _explain,
    connect,
    next_run_id,
    store_address,
    translate_store_errors,
)
from tests.helpers.small_disk import small_disk
from tests.helpers.waiting import run, slowness, wait_until

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store of the test's own, to be stopped and killed."""
    store = EmbeddedStore(tmp_path / "home")
    yield store
    store.stop()


def password_of(store: EmbeddedStore) -> str:
    return str(json.loads((store.folder / "credentials.json").read_text())["password"])


def pid_of(store: EmbeddedStore) -> int:
    pid = store.status().pid
    assert pid is not None
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    psutil.Process(pid).wait(5 * slowness())


def servers_of(folder: Path) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(folder) in (p.info["cmdline"] or [])]


def start(home: Path) -> str:
    return EmbeddedStore(home).start().url


def take_ids(home: Path, count: int) -> list[int]:
    database = connect(EmbeddedStore(home).start())
    return [next_run_id(database) for _ in range(count)]


# The embedded server's life


def test_commands_that_start_the_store_at_once_share_one_server(store: EmbeddedStore) -> None:
    with ProcessPoolExecutor(4, mp_context=SPAWN) as processes:
        urls = list(processes.map(start, [store.folder.parent] * 4))
    assert len(set(urls)) == 1
    assert servers_of(store.folder) == [pid_of(store)]


def test_what_was_stored_is_there_after_the_server_was_killed(store: EmbeddedStore) -> None:
    connect(store.start()).runs.insert_one({"_id": 1, "status": "RUNNING"})
    before = store.status()
    kill(pid_of(store))
    assert not store.status().running
    assert connect(store.start()).runs.find_one() == {"_id": 1, "status": "RUNNING"}
    assert store.status().address == before.address


def test_an_open_connection_serves_again_after_a_stop_and_a_start(store: EmbeddedStore) -> None:
    database = connect(store.start())
    assert store.stop()
    store.start()
    database.runs.insert_one({"_id": 1})
    assert database.runs.count_documents({}) == 1


def test_stopping_says_whether_a_server_was_running(store: EmbeddedStore) -> None:
    assert not store.stop()
    store.start()
    assert store.stop()
    assert not store.stop()
    assert store.status().pid is None


def test_the_status_of_a_store_that_never_was_makes_nothing(store: EmbeddedStore) -> None:
    status = store.status()
    assert (status.running, status.address, status.pid, status.size_mb) == (False, "", None, 0)
    assert not store.folder.exists()


def test_another_program_on_the_port_of_last_time_is_avoided(store: EmbeddedStore) -> None:
    store.start()
    port = json.loads((store.folder / "server.json").read_text())["port"]
    store.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        database = connect(store.start())
    assert database.client.address != ("127.0.0.1", port)


@pytest.mark.parametrize("record", ["", "{}", '{"pid": "x", "port": []}', '{"pid": 4000000, "port": 1}'])
def test_a_stale_or_broken_record_of_a_server_is_no_obstacle(store: EmbeddedStore, record: str) -> None:
    store.start()
    store.stop()
    (store.folder / "server.json").write_text(record)
    connect(store.start())


def test_a_process_that_got_the_dead_servers_number_is_left_alone(store: EmbeddedStore) -> None:
    store.start()
    store.stop()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        (store.folder / "server.json").write_text(json.dumps({"pid": innocent.pid, "port": 20000}))
        assert not store.stop()
        connect(store.start())
        assert innocent.poll() is None
        innocent.communicate(b"\n")


def test_a_server_that_a_killed_command_left_starting_is_taken_over(store: EmbeddedStore) -> None:
    store.start()
    orphan = pid_of(store)
    record = (store.folder / "server.json").read_text()
    (store.folder / "server.json").unlink()
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        starting = process.submit(start, store.folder.parent)
        time.sleep(1)  # meets a folder in use, and keeps trying
        assert not starting.done()
        (store.folder / "server.json").write_text(record)
        wait_until(starting.done)
        starting.result()
    assert servers_of(store.folder) == [orphan]


def test_the_next_server_waits_for_the_last_one_to_let_go_of_the_folder(store: EmbeddedStore) -> None:
    connect(store.start())
    leaving = pid_of(store)
    os.kill(leaving, signal.SIGSTOP)
    (store.folder / "server.json").unlink()
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        starting = process.submit(start, store.folder.parent)
        time.sleep(1)
        os.kill(leaving, signal.SIGKILL)
        wait_until(starting.done)
        starting.result()
    assert servers_of(store.folder) == [pid_of(store)] != [leaving]


def test_a_server_that_hangs_is_named_and_can_be_stopped(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.embedded.PING_SECONDS", 0.5)
    monkeypatch.setattr("pipeline.tracking.embedded.STOP_SECONDS", 0.5)
    store.start()
    os.kill(pid_of(store), signal.SIGSTOP)
    with pytest.raises(StoreError, match=r"does not answer .* `odenet store stop`"):
        store.start()
    assert store.stop()
    connect(store.start())


def test_a_moved_home_keeps_its_runs(store: EmbeddedStore, tmp_path: Path) -> None:
    connect(store.start()).runs.insert_one({"_id": 7})
    store.stop()
    moved = EmbeddedStore(store.folder.parent.rename(tmp_path / "elsewhere"))
    try:
        assert connect(moved.start()).runs.find_one() == {"_id": 7}
    finally:
        moved.stop()


@pytest.mark.parametrize("spelling", ["link", "folder/../home"])
def test_a_home_spelt_otherwise_has_the_same_server(tmp_path: Path, spelling: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(home)
    store, other = EmbeddedStore(home), EmbeddedStore(tmp_path / spelling)
    try:
        assert store.start() == other.start()
        assert other.status().pid == store.status().pid
        assert other.stop()
        assert not store.status().running
    finally:
        store.stop()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=rf"^The store's folder {tmp_path}/home/store cannot be used .*\.$"):
        EmbeddedStore(tmp_path / "home").start()


@pytest.mark.parametrize("left_kb", [0, 100])
def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path, left_kb: int) -> None:
    with small_disk(tmp_path, 1024):
        (tmp_path / "filling").write_bytes(bytes((1000 - left_kb) * 1024))
        with contextlib.suppress(OSError), (tmp_path / "rest").open("wb", buffering=0) as rest:
            while left_kb == 0:
                rest.write(bytes(1024))
        with pytest.raises(StoreError, match=r"^The .* (is full|cannot be used \(No space left on device\)).*\.$"):
            EmbeddedStore(tmp_path / "home").start()
        assert servers_of(tmp_path / "home" / "store") == []


def test_a_store_that_a_full_disk_made_give_up_ends_and_its_next_server_has_all_of_it(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, 40_000):
        home = tmp_path / "home"
        try:
            database = connect(EmbeddedStore(home).start())
            number = 0
            with contextlib.suppress(PyMongoError):
                while True:
                    database.padding.insert_one({"_id": number, "content": os.urandom(100_000)})
                    number += 1
            assert number > 5
            wait_until(lambda: servers_of(home / "store") == [])
            with pytest.raises(StoreError, match=r"^The disk of .* is full"):
                EmbeddedStore(home).start()
            subprocess.run(["mount", "-o", "remount,size=400m", tmp_path], check=True)
            again = connect(EmbeddedStore(home).start())
            assert set(range(number)) <= {one["_id"] for one in again.padding.find({}, {"_id": True})}
        finally:
            EmbeddedStore(home).stop()


def test_a_store_that_cannot_start_gives_its_reason_and_its_log(store: EmbeddedStore) -> None:
    store.start()
    store.stop()
    (store.folder / "data" / "WiredTiger.turtle").write_text("damaged")
    with pytest.raises(StoreError, match=r"^The store's server did not start \(.*\); .*server\.log .*\.$"):
        store.start()
    assert servers_of(store.folder) == []


# Who may enter


def test_a_client_without_the_password_is_refused(store: EmbeddedStore) -> None:
    address = store.start()
    port = address.url.rpartition(":")[2].partition("/")[0]
    with (
        pymongo.MongoClient(f"mongodb://127.0.0.1:{port}") as client,
        pytest.raises(OperationFailure, match="authentication"),
    ):
        client.odenet.runs.find_one()


def test_the_user_has_no_other_database(database: Database[dict[str, Any]]) -> None:
    with pytest.raises(OperationFailure, match="not authorized"):
        database.client.other.runs.insert_one({})


def test_a_wrong_password_is_told_in_one_sentence_without_it(store_home: Path) -> None:
    right = EmbeddedStore(store_home).start()
    password = password_of(EmbeddedStore(store_home))
    wrong = StoreAddress(right.url.replace(password, "open-sesame"), right.database, embedded=False)
    with pytest.raises(StoreError, match=r"^The MongoDB at .* refuses the user or the password; .*\.$") as told:
        connect(wrong)
    assert "open-sesame" not in str(told.value)


def test_a_lost_login_is_made_anew_by_the_next_server(store: EmbeddedStore) -> None:
    connect(store.start()).runs.insert_one({"_id": 1})
    (store.folder / "credentials.json").unlink()
    with pytest.raises(StoreError, match=r"refuses the user or the password; run `odenet store stop`"):
        connect(store.start())
    store.stop()
    assert connect(store.start()).runs.find_one() == {"_id": 1}


def test_the_password_is_shown_to_nobody(store: EmbeddedStore) -> None:
    address = store.start()
    password = password_of(store)
    with pytest.raises(OperationFailure):
        pymongo.MongoClient(address.url).other.runs.insert_one({})
    assert password in address.url
    assert password not in repr(address) + address.redacted() + repr(store.status())
    assert password not in " ".join(psutil.Process(pid_of(store)).cmdline())
    assert password not in str(psutil.Process(pid_of(store)).environ())
    assert password not in (store.folder / "server.log").read_text()
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder / "credentials.json").stat().st_mode) == 0o600


def test_the_server_listens_on_this_machine_alone(store: EmbeddedStore) -> None:
    store.start()
    listening = [c for c in psutil.Process(pid_of(store)).net_connections() if c.status == "LISTEN"]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]


def test_a_configuration_file_lying_about_does_not_open_the_store(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secantusd.toml").write_text('[server]\nhost = "0.0.0.0"\nauth = false\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    connect(store.start())
    listening = [c for c in psutil.Process(pid_of(store)).net_connections() if c.status == "LISTEN"]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]


# Addresses and connections


def test_a_url_in_the_environment_comes_before_the_embedded_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_MONGO_URL", "mongodb://ada:p%40ss@db.example:27018/lab?authSource=admin")
    address = store_address()
    assert (address.database, address.embedded) == ("lab", False)
    assert address.redacted() == "mongodb://***:***@db.example:27018/lab"
    monkeypatch.setenv("ODENET_MONGO_URL", "mongodb://db.example")
    assert store_address().redacted() == "mongodb://db.example/odenet"


@pytest.mark.parametrize(
    "url",
    [
        "secret",
        "mongodb://ada:sec@ret@host/lab",
        "mongodb://ada:sec/ret@host/lab",
        "mongodb://ada:sec?ret@host/lab",
        "mongodb://ada:secret@host:999999/lab",
        "mongodb://ada:secret@host/lab?w=secret&tls=secret",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_being_quoted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_MONGO_URL", url)
    with pytest.raises(StoreError, match=r"^ODENET_MONGO_URL is not the address of a MongoDB; .*\.$") as told:
        connect()
    assert "sec" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_port_where_nobody_answers_is_told_in_time() -> None:
    with socket.socket() as held:  # bound, not listening
        held.bind(("127.0.0.1", 0))
        password = secrets.token_hex(8)
        url = f"mongodb://ada:{password}@127.0.0.1:{held.getsockname()[1]}/lab"
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"^No MongoDB answers at mongodb://\*\*\*:\*\*\*@.*\.$") as told:
            connect(StoreAddress(url, "lab", embedded=False), timeout_seconds=0.5)
        assert time.monotonic() - began < 2 * slowness()
        assert password not in str(told.value)


def test_a_server_that_accepts_and_stays_silent_is_told_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/lab"
        began = time.monotonic()
        with pytest.raises(StoreError, match="No MongoDB answers"):
            connect(StoreAddress(url, "lab", embedded=False), timeout_seconds=0.5)
        assert time.monotonic() - began < 3 * slowness()


def test_an_index_that_a_large_store_lacks_may_take_longer_than_a_store_to_answer(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(store.start()).runs.drop_index("tags")
    create = Collection.create_indexes

    def create_slowly(collection: Collection[dict[str, Any]], *arguments: Any, **options: Any) -> list[str]:
        time.sleep(2.5 if collection.name == "runs" else 0)
        return create(collection, *arguments, **options)

    monkeypatch.setattr(Collection, "create_indexes", create_slowly)
    assert "tags" in connect(store.start(), timeout_seconds=2).runs.index_information()


def test_no_copy_that_may_lag_behind_is_asked_whatever_the_address_says(store: EmbeddedStore) -> None:
    address = store.start()
    elsewhere = replace(address, url=f"{address.url}?readPreference=secondaryPreferred")
    assert connect(elsewhere).read_preference == pymongo.ReadPreference.PRIMARY


def test_a_connected_database_has_its_indexes(database: Database[dict[str, Any]]) -> None:
    for collection, indexes in INDEXES.items():
        wanted = {index.document["name"] for index in indexes}
        assert wanted <= set(database[collection].index_information())


def test_a_run_has_one_document_for_each_metric(database: Database[dict[str, Any]]) -> None:
    database.metrics.insert_one({"run_id": 1, "name": "training.loss"})
    with pytest.raises(pymongo.errors.DuplicateKeyError):
        database.metrics.insert_one({"run_id": 1, "name": "training.loss"})


# Run ids


@pytest.mark.usefixtures("database")
def test_processes_that_ask_at_once_get_different_ids(store_home: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=SPAWN) as processes:
        taken = [i for ids in processes.map(take_ids, [store_home] * 4, [25] * 4) for i in ids]
    assert sorted(taken) == list(range(1, 101))


def test_the_id_of_a_deleted_run_is_not_given_again(database: Database[dict[str, Any]]) -> None:
    run_id = next_run_id(database)
    database.runs.insert_one({"_id": run_id})
    database.runs.delete_one({"_id": run_id})
    assert next_run_id(database) == run_id + 1


def test_ids_start_above_the_runs_that_another_program_stored(database: Database[dict[str, Any]]) -> None:
    database.runs.insert_many([{"_id": 41}, {"_id": "named"}])
    assert next_run_id(database) == 42


def test_an_id_that_another_program_took_since_is_stepped_over(database: Database[dict[str, Any]]) -> None:
    first = next_run_id(database)
    database.runs.insert_many([{"_id": first + 1}, {"_id": first + 2}])
    assert next_run_id(database) == first + 3


def test_a_server_that_another_checkout_started_is_shared(tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkout" / "pipeline"
    shutil.copytree(Path(embedded.__file__).parents[1], elsewhere, ignore=shutil.ignore_patterns("__pycache__"))
    home = tmp_path / "home"
    start = "import sys; from pathlib import Path; from pipeline.tracking.embedded import EmbeddedStore as Store;"
    done = run(
        [sys.executable, "-P", "-c", f"{start} Store(Path(sys.argv[1])).start()", str(home)],
        env=os.environ | {"PYTHONPATH": str(elsewhere.parent)},
    )
    assert done.returncode == 0, done.stderr
    store = EmbeddedStore(home)
    started = store.status()
    try:
        store.start()
        assert started.running
        assert store.status().pid == started.pid
    finally:
        store.stop()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "mongodb+srv://ada:secret@nowhere.invalid/lab",
            "names the server nowhere.invalid, which DNS does not lead to",
        ),
        ("mongodb://h/?tls=true&tlsCAFile=/nowhere.pem", "names a file for TLS that cannot be used"),
        ("mongodb://h/?tls=true&tlsCertificateKeyFile=/nowhere.pem", "names a file for TLS that cannot be used"),
        ("mongodb://ada:secret@h:70000/lab", "is not the address of a MongoDB; its port must be from 1 to 65535"),
        ("mongodb://h/%00", "names the database '\\x00', which cannot be"),
        ("mongodb://h/?tlsInsecure=true&tlsAllowInvalidCertificates=true", "is not the address of a MongoDB"),
    ],
)
def test_an_address_is_refused_for_what_is_wrong_with_it(
    url: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_MONGO_URL", url)
    with pytest.raises(StoreError) as told:
        connect()
    assert str(told.value).startswith(f"ODENET_MONGO_URL {sentence}")
    assert "secret" not in str(told.value)


def test_a_way_to_log_in_whose_package_is_missing_is_told_as_that() -> None:
    error = ConfigurationError("MONGODB-AWS authentication requires: pymongo-auth-aws")
    said = _explain(error, StoreAddress("mongodb://h/?authMechanism=MONGODB-AWS", "lab", embedded=False), 1)
    assert "as ODENET_MONGO_URL says (MONGODB-AWS authentication requires: pymongo-auth-aws); correct" in said


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DuplicateKeyError("E11000"), "another process wrote the same into the store at this moment: try again"),
        (OperationFailure("x", 13, {"errmsg": "not authorized"}), "the store refuses this (not authorized): look"),
        (AutoReconnect("x"), "the store went away (AutoReconnect): try again"),
    ],
)
def test_what_the_store_says_is_told_with_its_cause(error: Exception, sentence: str) -> None:
    with pytest.raises(StoreError) as told, translate_store_errors():
        raise error
    assert str(told.value).startswith(sentence)
