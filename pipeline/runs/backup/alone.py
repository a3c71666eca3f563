"""One restore at a time, from whichever machine: two at once would give a run two ids, or mix what they put in."""

import platform
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from filelock import FileLock, Timeout
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from pipeline.tracking.run_document import aware
from pipeline.tracking.store import RESTORING, clock_difference
from pipeline.util.errors import InvalidInput
from pipeline.util.files import PRIVATE, private_folder
from pipeline.util.paths import home

HEARTBEAT_SECONDS = 10.0
PATIENCE = timedelta(minutes=1)
"""A restore on another machine that was not heard of for so long has been killed."""


@contextmanager
def alone(database: Database[dict[str, Any]]) -> Iterator[None]:
    """Within it no other restore puts anything into this store, nor this home's into another.

    Raises:
        InvalidInput: another one is at work.
    """
    at_work = InvalidInput("another restore is at work here: wait for its end, then look at `odenet runs`")
    try:
        with FileLock(private_folder(home()) / "restore.lock", timeout=0, mode=PRIVATE):
            token = uuid.uuid4().hex
            if not _taken(database, token):
                raise at_work
            over = threading.Event()
            threading.Thread(target=_beat, args=(database, token, over), daemon=True).start()
            try:
                yield
            finally:
                over.set()
                with suppress(PyMongoError):  # then it is given up once it has not been heard of
                    database.counters.delete_one({"_id": RESTORING, "by": token})
    except Timeout:
        raise at_work from None


def _taken(database: Database[dict[str, Any]], token: str) -> bool:
    """Enter this restore as the one that is at work; False where another one is."""
    now = datetime.now(UTC) + clock_difference(database)
    process = psutil.Process()
    place = {"host": platform.node(), "pid": process.pid, "began": process.create_time()}
    ours = {"_id": RESTORING, "by": token, "heard": now, **place}
    try:
        database.counters.insert_one(ours)
    except DuplicateKeyError:
        found = database.counters.find_one({"_id": RESTORING})
        if found is not None and not _is_over(found, ours):
            return False
        same = {"_id": RESTORING, "by": found["by"]} if found else {"_id": RESTORING}
        return database.counters.replace_one(same, ours).matched_count == 1
    return True


def _is_over(found: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether that restore was killed: its process is gone, or on another machine it is not heard of."""
    if found["host"] != ours["host"]:
        return bool(ours["heard"] - aware(found["heard"]) > PATIENCE)
    try:
        return bool(psutil.Process(found["pid"]).create_time() != found["began"])
    except psutil.Error:
        return True


def _beat(database: Database[dict[str, Any]], token: str, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_SECONDS):
        with suppress(PyMongoError):
            database.counters.update_one({"_id": RESTORING, "by": token}, {"$currentDate": {"heard": True}})
