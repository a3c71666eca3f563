"""How a run enters the store, or goes on there: on the disk first, and in neither where one of them refuses."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from pipeline.tracking.record import Record
from pipeline.tracking.run_folder import run_folder
from pipeline.tracking.store import MAX_RUN_ID, insist, next_run_id, retire_run_id
from pipeline.util.errors import InvalidInput, brief

log = logging.getLogger("odenet")


class _IdTaken(Exception):
    """Another run has the id."""


def enter(
    new: Mapping[str, Any],
    annotations: Mapping[str, Any],
    given_id: int | None,
    home: Path,
    database: Database[dict[str, Any]],
) -> Record:
    """The run on disk, then in the store; in neither when one of them refuses.

    Args:
        annotations: for the store alone, where people change them.
        given_id: by another observer; the next free one without it.

    Raises:
        InvalidInput: a run has it, has had it, or may have had it.
    """
    if given_id is not None:
        _take(given_id, database)
    while True:
        run_id = insist(lambda: next_run_id(database)) if given_id is None else given_id
        document = {"_id": run_id, **new}
        record = Record.create(run_folder(home, document), document, is_entering=True)
        try:
            marked = {**document, "omniboard": dict(annotations)} if annotations else document
            insist(lambda: _insert(marked, database))  # noqa: B023 - called at once
            record.entered()
            return record
        except _IdTaken:
            record.discard()
            if given_id is not None:
                refuse_id(given_id)
        except BaseException:
            _withdraw(record, database)
            raise


def _take(run_id: int, database: Database[dict[str, Any]]) -> None:
    """Take a number that another observer has given, if it is above all that there have been here."""
    free = insist(lambda: next_run_id(database))  # which is then nobody's
    if not free <= run_id < MAX_RUN_ID:
        refuse_id(run_id)
    insist(lambda: retire_run_id(database, run_id))


def refuse_id(run_id: object) -> NoReturn:
    """What may not be a run's number.

    Raises:
        InvalidInput: always.
    """
    raise InvalidInput(
        f"a run cannot be called {brief(run_id)}: the store numbers its runs, so that no number is given twice; "
        "leave Sacred's --id out"
    ) from None


def _insert(document: Mapping[str, Any], database: Database[dict[str, Any]]) -> None:
    """Enter the run, which the store may have by now: the reply to an earlier attempt may have been lost."""
    try:
        database.runs.insert_one(dict(document))
    except DuplicateKeyError:
        if database.runs.find_one({"_id": document["_id"], "uid": document["uid"]}, {"_id": True}) is None:
            raise _IdTaken from None


def _withdraw(record: Record, database: Database[dict[str, Any]]) -> None:
    """Leave nothing of a run that could not begin; where the store does not answer, `odenet sync` does so later."""
    record.is_entering = True  # as it is on disk
    try:
        database.runs.delete_one({"_id": record.run_id, "uid": record.document["uid"]})
    except PyMongoError:
        record.release()
        log.warning(
            "run %s could not begin, and the store does not say whether it has it: `odenet sync` removes it there",
            record.run_id,
        )
    else:
        with suppress(OSError):
            record.discard()


def take_up(
    document: Mapping[str, Any], changes: Mapping[str, Any], folder: Path, database: Database[dict[str, Any]]
) -> Record:
    """The record of a stored run that goes on, if nobody has removed, changed or taken it up since it was read.

    Raises:
        InvalidInput: somebody has.
    """
    run_id = document["_id"]
    try:
        record = Record.reopen(folder, {**document, **changes}, database)
    except BlockingIOError:
        raise InvalidInput(
            f"another process resumes or removes run {run_id} just now: look at it with `odenet show {run_id}`, "
            "then try again"
        ) from None
    unchanged = {key: document.get(key) for key in ("_id", "uid", "status", "heartbeat", "artifacts")}
    resumed = {"_id": run_id, "uid": document["uid"], "resumed.uid": changes["resumed"][-1]["uid"]}

    def claim() -> bool:
        change = {"$set": dict(changes), "$currentDate": {"heard": True}}
        return database.runs.update_one(unchanged, change).matched_count == 1 or bool(database.runs.find_one(resumed))

    try:
        is_ours = insist(claim)
    except BaseException:
        record.is_entering = False
        record.update({key: document.get(key) for key in changes})  # for `odenet sync`: it did not go on
        record.release()
        raise
    if not is_ours:
        record.discard()
        raise InvalidInput(
            f"run {run_id} was removed or has changed just now: look at it with `odenet show {run_id}`, then try again"
        )
    record.entered()
    return record
