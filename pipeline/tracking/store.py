"""The MongoDB that holds the runs: where it is, a checked connection to it, its indexes and its run ids."""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import ASCENDING, DESCENDING, IndexModel, ReadPreference, ReturnDocument
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.uri_parser import parse_uri

from pipeline.tracking.address import StoreAddress, StoreError
from pipeline.tracking.embedded import DATABASE, EmbeddedStore
from pipeline.tracking.liveness import set_clock_difference
from pipeline.tracking.run_document import aware
from pipeline.util.errors import LONGEST_VALUE, InvalidInput, brief, shortened
from pipeline.util.paths import home

T = TypeVar("T")

MAX_RUN_ID = 2**53 - 1
"""The largest id that every reader tells from the next one: JavaScript's, which Omniboard is written in."""
ENTERING_SECONDS = 10.0
"""How long a run that begins asks a store that does not answer."""
OPERATION_SECONDS = 20.0
"""Bound of each operation, so that a store that hangs cannot hang a run."""

INDEXING_SECONDS = 600.0
"""For an index that a store does not have yet: all that it is of is read once."""

INDEXES: dict[str, list[IndexModel]] = {
    "runs": [
        IndexModel([("start_time", DESCENDING)], name="start_time"),
        IndexModel([("status", ASCENDING)], name="status"),
        IndexModel([("uid", ASCENDING)], name="uid"),
        IndexModel([("experiment.name", ASCENDING)], name="experiment_name"),
        IndexModel([("config.data.name", ASCENDING)], name="data_name"),
        IndexModel([("config.model.architecture", ASCENDING), ("config.model.body", ASCENDING)], name="model"),
        # Few runs have tags, and the dashboard asks for all that there are.
        IndexModel([("omniboard.tags", ASCENDING)], name="tags", sparse=True),
        # How a trial of a sweep finds the run that an earlier worker began.
        IndexModel(
            [("info.sweep.id", ASCENDING), ("info.sweep.trial", ASCENDING), ("info.sweep.phase", ASCENDING)],
            name="sweep_trial",
        ),
    ],
    "metrics": [IndexModel([("run_id", ASCENDING), ("name", ASCENDING)], name="run_metric", unique=True)],
    "fs.files": [
        # GridFS's own index, under its own name: it answers for the file name, too.
        IndexModel([("filename", ASCENDING), ("uploadDate", ASCENDING)]),
        IndexModel([("metadata.sha256", ASCENDING)], name="sha256"),
    ],
    # GridFS's own as well: without it every reading of a file searches all the chunks that there are.
    "fs.chunks": [IndexModel([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)],
}
"""What lists, filters and deliveries look up, by collection."""


def store_address() -> StoreAddress:
    """The MongoDB of `ODENET_MONGO_URL`, or of the URL in the file that `ODENET_MONGO_URL_FILE` names.

    Without either it is the embedded store of the home folder, started where needed. The file keeps the password
    out of the environment, which every child process and `docker inspect` see.

    Raises:
        StoreError: the URL or its file cannot be read, or the embedded store cannot be started.
    """
    url, source = os.environ.get("ODENET_MONGO_URL"), "ODENET_MONGO_URL"
    if not url and (file := os.environ.get("ODENET_MONGO_URL_FILE")):
        url, source = _url_in(Path(file)), f"the file {file}"
    if not url:
        return EmbeddedStore(home()).start()
    try:
        database = parse_uri(url)["database"]
    except (ConfigurationError, ValueError, OSError) as error:
        _refuse(error, url, source)
    return StoreAddress(url, database or DATABASE, embedded=False, source=source)


def connect(address: StoreAddress | None = None, timeout_seconds: float = 5.0) -> Database[dict[str, Any]]:
    """A connection that has been tried, to a database that has its indexes.

    Raises:
        StoreError: nobody answers in `timeout_seconds`, the login is refused, or the rights do not suffice.
    """
    address = address or store_address()
    milliseconds = int(timeout_seconds * 1000)
    try:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            address.url,
            serverSelectionTimeoutMS=milliseconds,
            # A store that is busy answers a new connection late; one that is away is known by the selection before.
            connectTimeoutMS=int(OPERATION_SECONDS * 1000),
            timeoutMS=int(OPERATION_SECONDS * 1000),
            journal=True,  # what is acknowledged outlives a server that is killed
        )
    except (ConfigurationError, ValueError, OSError) as error:
        _refuse(error, address.url, address.source)
    try:
        # Whatever the address says: a copy may lack a run that has begun, which then counts as removed.
        database = client.get_database(address.database, read_preference=ReadPreference.PRIMARY)
    except InvalidName as error:
        client.close()
        raise StoreError(
            f"{address.source} names the database {brief(address.database)}, which cannot be ({error}); correct it."
        ) from None
    try:
        with pymongo.timeout(timeout_seconds):
            set_clock_difference(clock_difference(database))
        with pymongo.timeout(INDEXING_SECONDS):
            for collection, indexes in INDEXES.items():
                database[collection].create_indexes(indexes)
    except PyMongoError as error:
        client.close()
        raise StoreError(_explain(error, address, timeout_seconds)) from error
    return database


def is_same_store(database: Database[dict[str, Any]], where: str) -> bool:
    """Whether a run that was begun in the store `where`, an address without its login, was begun in this one.

    An embedded store may have another port by now, and its records lie beside it.
    """
    hosts, _, name = where.partition("://")[2].rpartition("@")[2].partition("/")
    known = {host if ":" in host.rpartition("]")[2] else f"{host}:27017" for host in hosts.lower().split(",")}
    described = database.client.topology_description.server_descriptions()
    nodes = {f"[{host}]:{port}" if ":" in host else f"{host}:{port}".lower() for host, port in described}
    is_here = hosts.startswith("127.0.0.1:") and any(node.startswith("127.0.0.1:") for node in nodes)
    return name == database.name and bool(is_here or known & nodes)


IDENTITY, RESTORING = "store", "restore"
OF_THIS_STORE = (IDENTITY, RESTORING)
"""Documents of `counters` that a copy of a store has not: what tells it from others, and who restores into it now."""


def store_uid(database: Database[dict[str, Any]]) -> str:
    """What tells this store from every other one, wherever it is reached; made when it is first asked for."""
    new = {"$setOnInsert": {"uid": uuid.uuid4().hex}}
    while True:
        try:
            found = database.counters.find_one_and_update(
                {"_id": IDENTITY}, new, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # two first runs at once: the other one made it
            continue
        if found is not None:  # as the embedded store has it for the second one
            return str(found["uid"])


def is_of_another_store(document: Mapping[str, Any], database: Database[dict[str, Any]]) -> bool:
    """Whether a run was begun in another store, of which this one has a copy; earlier versions did not note it."""
    return "store_uid" in document and document["store_uid"] != store_uid(database)


def is_begun_here(document: Mapping[str, Any], database: Database[dict[str, Any]]) -> bool:
    """Whether a run was begun in this store, under whatever address that was reached then."""
    if "store_uid" in document:
        return bool(document["store_uid"] == store_uid(database))
    return is_same_store(database, str(document["store"]))


def clock_difference(database: Database[dict[str, Any]]) -> timedelta:
    """How far the store's clock is ahead of this machine's; nothing where the store does not tell its time."""
    before = datetime.now(UTC)
    theirs = database.command("hello").get("localTime")
    after = datetime.now(UTC)
    return aware(theirs) - (before + (after - before) / 2) if isinstance(theirs, datetime) else timedelta()


def insist(operation: Callable[[], T]) -> T:
    """What `operation` returns, tried again while the store does not answer: it may be done more than once.

    Raises:
        PyMongoError: the store refuses it, or does not answer for `ENTERING_SECONDS`.
    """
    deadline = time.monotonic() + ENTERING_SECONDS
    while True:
        try:
            return operation()
        except PyMongoError as error:
            if not (error.timeout or isinstance(error, ConnectionFailure)) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


REMOVED = "removed"
"""The collection of the runs that were removed, by id and uid: an id is given back to that run alone."""


def next_run_id(database: Database[dict[str, Any]]) -> int:
    """A run id that nobody has had, not even a run that was deleted since.

    Raises:
        StoreError: the store cannot count on.
    """
    if database.counters.find_one({"_id": "runs"}) is None:  # a new store, or one of Sacred's own observer
        counted = {"_id": {"$type": "number", "$lt": MAX_RUN_ID}}  # beyond it nobody has counted
        newest = database.runs.find_one(counted, {"_id": True}, sort=[("_id", DESCENDING)])
        retire_run_id(database, int(newest["_id"]) if newest else 0)
    while True:
        counter = database.counters.find_one_and_update(
            {"_id": "runs"}, {"$inc": {"last": 1}}, return_document=ReturnDocument.AFTER
        )
        if counter is None:
            raise StoreError("The counter of run ids was deleted while a run asked it; start the run again.")
        if not 0 < counter["last"] <= MAX_RUN_ID:
            raise StoreError(
                f"The counter of run ids stands at {counter['last']}, from where no store can count on; set `last` of "
                "the document `runs` in the collection `counters` to the largest id that a run has."
            )
        run_id = int(counter["last"])
        if database.runs.find_one({"_id": run_id}, {"_id": True}) is None:  # Sacred's observers do not ask the counter
            return run_id


def retire_run_id(database: Database[dict[str, Any]], run_id: int) -> None:
    """See to it that no new run gets this id, nor one below it."""
    while True:
        try:
            database.counters.update_one({"_id": "runs"}, {"$max": {"last": run_id}}, upsert=True)
            return
        except DuplicateKeyError:  # two first runs at once: the other one made the counter
            continue


@contextmanager
def translate_store_errors() -> Iterator[None]:
    """A question to the store, whose trouble is told in one sentence.

    Raises:
        StoreError: it went away.
        InvalidInput: what was asked for cannot be stored.
    """
    try:
        yield
    except DuplicateKeyError as error:
        raise StoreError("another process wrote the same into the store at this moment: try again") from error
    except OperationFailure as error:
        if error.timeout:
            raise StoreError(f"the store went away ({type(error).__name__}): try again") from error
        said = shortened(str((error.details or {}).get("errmsg", error)), 300)
        raise StoreError(f"the store refuses this ({said}): look at the rights of its user, and at its disk") from error
    except PyMongoError as error:
        raise StoreError(f"the store went away ({type(error).__name__}): try again") from error
    except (BSONError, OverflowError, UnicodeEncodeError) as error:
        raise InvalidInput(f"nothing that is stored can equal this: {error}") from error


def _url_in(file: Path) -> str:
    try:
        url = file.read_text().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise StoreError(
            f"The file {file} of ODENET_MONGO_URL_FILE cannot be read ({reason}); "
            "set that right, or name a file that holds the address of a MongoDB."
        ) from None
    return url or _refuse_url(f"the file {file}")


def _refuse_url(source: str) -> NoReturn:
    raise StoreError(
        f"{source[0].upper()}{source[1:]} is not the address of a MongoDB; write "
        "mongodb://user:password@host:port/database, with special characters in the password percent-encoded."
    ) from None


def _refuse(error: Exception, url: str, source: str) -> NoReturn:
    """What is wrong with an address; a message that could quote its password is kept back."""
    said, name = " ".join(str(error).split()), f"{source[0].upper()}{source[1:]}"
    if isinstance(error, OSError):
        raise StoreError(f"{name} names a file for TLS that cannot be used ({said}); correct its path.") from None
    if "Port must be" in said:
        raise StoreError(f"{name} is not the address of a MongoDB; its port must be from 1 to 65535.") from None
    if isinstance(error, InvalidURI | ValueError):
        _refuse_url(source)
    if url.startswith("mongodb+srv://"):
        host = url.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]
        raise StoreError(
            f"{name} names the server {shortened(host, LONGEST_VALUE)}, which DNS does not lead to (mongodb+srv); "
            "correct the name, look at the network, or write mongodb:// with the hosts."
        ) from None
    password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    if password and password in said:
        _refuse_url(source)
    raise StoreError(f"{name} asks for what cannot be ({shortened(said, 300)}); correct its options.") from None


def _explain(error: PyMongoError, address: StoreAddress, timeout_seconds: float) -> str:
    where = address.redacted()
    if isinstance(error, OperationFailure) and error.code == 18:
        remedy = (
            "run `odenet store stop` and try again"
            if address.embedded
            else f"correct them in {address.source} (and its authSource)"
        )
        return f"The MongoDB at {where} refuses the user or the password; {remedy}."
    if isinstance(error, OperationFailure) and error.code == 13:
        return f"The user may not write to {where}; give it the role readWrite on {address.database}."
    if isinstance(error, OperationFailure) and not error.timeout:
        remedy = "; run `odenet store stop` and try again" if address.embedded else ""
        return f"The MongoDB at {where} could not be prepared for runs: {error.details}{remedy}."
    if isinstance(error, ConfigurationError):  # a package for a way to log in is missing, say
        said = shortened(" ".join(str(error).split()), 300)
        return f"The MongoDB at {where} cannot be used as {address.source} says ({said}); correct its options."
    remedy = "run `odenet store start`" if address.embedded else f"start it, or correct {address.source}"
    return f"No MongoDB answers at {where} within {timeout_seconds:g} s; {remedy}."
