"""Delivering what a store missed: `odenet sync`.

A record that is damaged keeps back no other: what can be read of it is delivered, and the rest is set aside in
`<home>/damaged/`, where nothing looks for it and nothing removes it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bson.errors import BSONError
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, PyMongoError

from pipeline.tracking.address import StoreError
from pipeline.tracking.load_record import RecordError, load_record
from pipeline.tracking.record import NotInStore, Record, revision
from pipeline.tracking.run_document import RunStatus, died
from pipeline.tracking.run_folder import claimed, is_locked, run_folder, waiting_records
from pipeline.tracking.store import is_begun_here, is_of_another_store
from pipeline.util.errors import OdenetError
from pipeline.util.files import private_folder

_FOLDER = re.compile(r"(.+?)-([0-9a-f]{8})")
_OF_A_RECORD = ("record.json", "metrics.jsonl", "files")


@dataclass(frozen=True)
class DeliveryResult:
    """What became of one waiting record."""

    run_id: Any
    """None where the record does not say."""
    outcome: str
    """`delivered`, `live` (a process is at work on it and delivers it), `withdrawn` (the run never began or went on),
    `elsewhere` (another store's run), `damaged` (set aside, with what could be read delivered) or `refused` (the disk
    or the store do not let us)."""
    message: str


def sync(home: Path, database: Database[dict[str, Any]]) -> Iterator[DeliveryResult]:
    """Deliver every record that waits on this machine and whose process is gone, each under its own run.

    A run whose process was killed becomes DIED.

    Raises:
        StoreError: the store went away; what was not delivered still waits.
    """
    for folder in waiting_records(home):
        try:
            yield sync_folder(folder, database)
        except FileNotFoundError as error:
            if (folder / "record.json").exists():  # otherwise its own process delivered it in the meantime
                yield _refused(folder, error)
        except (PyMongoError, OdenetError, OSError) as error:
            if isinstance(error, PyMongoError) and (error.timeout or isinstance(error, ConnectionFailure)):
                raise StoreError(
                    f"the store went away ({type(error).__name__}); {folder} still waits: run `odenet sync` again"
                ) from error
            yield _refused(folder, error)


def sync_folder(folder: Path, database: Database[dict[str, Any]]) -> DeliveryResult:
    """Deliver one record.

    Raises:
        FileNotFoundError: it has been delivered meanwhile.
        OSError: the disk does not let us.
        OdenetError, PyMongoError: the store does not take it.
    """
    with claimed(folder) as is_free:
        if not is_free:
            run_id = _parts_of(folder)[0]
            told = f"run {run_id} is still running, or being delivered by another process"
            return DeliveryResult(run_id, "live", told)
        try:
            record = load_record(folder)
        except RecordError as error:
            return _save_what_can_be_read(folder, database, str(error))
        run_id = record.run_id
        own = run_folder(folder.parents[1], record.document)
        if own != folder and own.exists() and (is_locked(own) or (own / "record.json").exists()):
            aside = _set_aside(folder)
            told = f"{folder} is a copy of run {run_id}'s own folder {own.name}: it was moved to {aside}"
            return DeliveryResult(run_id, "damaged", told)
        known = database.runs.find_one({"_id": run_id, "uid": record.document["uid"]})
        where, is_of_another = str(record.document["store"]), is_of_another_store(record.document, database)
        if known is not None and _never_went_on(record, known):
            record.discard()
            return DeliveryResult(run_id, "withdrawn", f"run {run_id} did not go on, and is as it was")
        if not is_of_another and _never_began(record, known, database):
            database.runs.delete_one({"_id": run_id, "uid": record.document["uid"]})
            record.discard()
            return DeliveryResult(run_id, "withdrawn", f"run {run_id} never began, and nothing of it is left")
        if known is None and _run_of(folder, database)[1] is not None:
            return _save_what_can_be_read(
                folder, database, f"{folder / 'record.json'} names another run than its folder"
            )
        if known is None:
            told = f"was started in {where}: connect to that one, or delete {folder} if the run was deleted there"
            if is_begun_here(record.document, database):
                told = f"was deleted from it: delete {folder} as well, unless you want to keep what it has"
            return DeliveryResult(run_id, "elsewhere", f"run {run_id} is not in this store but {told}")
        is_older = record.add_what_is_known(database, known)
        _deliver_ended(record, database)
        words = f"run {run_id} delivered ({record.document['status']})"
        if is_older:
            words += "; the store knew more of it than this record, which added only what the store had not"
        if is_of_another:  # a copy of the run, as of a backup: the store that it was started in may lack what is here
            words += f"; it still waits for {where}: connect to that one, or delete {folder} if there is none any more"
            return DeliveryResult(run_id, "delivered", words)
        try:
            record.discard()
        except OSError as error:
            words += f"; its record {folder} cannot be removed ({error.strerror})"
        return DeliveryResult(run_id, "delivered", words)


def _deliver_ended(record: Record, database: Database[dict[str, Any]]) -> None:
    """Deliver what no process goes on with; the disk, which may be full, is not written to.

    Raises:
        OdenetError: a document of it is larger than those of stores, as earlier versions let them become.
    """
    if record.document["status"] == RunStatus.RUNNING:
        record.document |= died(record.document) | {"revision": revision(record.document) + 1}
    try:
        record.deliver(database)
    except BSONError as error:
        raise OdenetError(
            f"run {record.run_id} holds more than a store takes ({error}): what it has stays in {record.folder}"
        ) from error


def _never_went_on(record: Record, known: Mapping[str, Any]) -> bool:
    """Whether the process that was about to go on with the run ended before it had told the store so."""
    sessions = record.document.get("resumed") or []
    told = {session.get("uid") for session in known.get("resumed") or []}
    return record.is_entering and bool(sessions) and sessions[-1].get("uid") not in told


def _never_began(record: Record, known: Mapping[str, Any] | None, database: Database[dict[str, Any]]) -> bool:
    """Whether the run was about to be entered when its process ended, and has told the store nothing since."""
    if not record.is_entering or record.document.get("resumed"):
        return False
    if known is None:
        return is_begun_here(record.document, database)
    return known.get("status") == RunStatus.RUNNING and revision(known) <= revision(record.document)


def _save_what_can_be_read(folder: Path, database: Database[dict[str, Any]], reason: str) -> DeliveryResult:
    """Deliver what can be read of a damaged record, and set the rest aside."""
    run_id, known = _run_of(folder, database)
    saved = "the store has no run of this name, so nothing of it was delivered"
    problems: list[str] = []
    if known is not None:
        try:
            record = load_record(folder, problems, known)
            points = sum(len(series["steps"]) for series in record.metrics().values())
            record.add_what_is_known(database, known)
            _deliver_ended(record, database)
            saved = (
                f"{points} points and {len(record.document['artifacts'])} artifacts that can be read are in the store"
            )
        except (RecordError, NotInStore) as error:
            saved = f"nothing of it was delivered, as {error}"
    name = "a record" if run_id is None else f"the record of run {run_id}"
    aside = _set_aside(folder)
    told = "; ".join(dict.fromkeys([reason, *problems]))
    return DeliveryResult(run_id, "damaged", f"{name} was set aside in {aside}: {told}; {saved}")


def _run_of(folder: Path, database: Database[dict[str, Any]]) -> tuple[Any, dict[str, Any] | None]:
    """The id of the run whose folder it is, by its name, and the run's document in the store."""
    run_id, uid = _parts_of(folder)
    if run_id is None:
        return None, None
    found = database.runs.find_one({"_id": run_id})
    return run_id, found if found is not None and str(found.get("uid", "")).startswith(uid) else None


def _parts_of(folder: Path) -> tuple[Any, str]:
    match = _FOLDER.match(folder.name)
    if match is None:
        return None, ""
    return int(match[1]) if match[1].isdecimal() else unquote(match[1]), match[2]


def _set_aside(folder: Path) -> Path:
    """Move the record out of the way, whole; a checkpoint stays for `odenet resume`."""
    home = folder.parents[1]
    damaged, number = private_folder(home / "damaged"), 1
    while (aside := damaged / (folder.name if number == 1 else f"{folder.name}.{number}")).exists():
        number += 1
    aside.mkdir(mode=0o700)
    for name in _OF_A_RECORD:
        if (folder / name).exists():
            (folder / name).rename(aside / name)
    (folder / "record.json.part").unlink(missing_ok=True)
    if {path.name for path in folder.iterdir()} == {"lock"}:
        (folder / "lock").unlink()
        folder.rmdir()
    return aside


def _refused(folder: Path, error: Exception) -> DeliveryResult:
    run_id = _parts_of(folder)[0]
    return DeliveryResult(run_id, "refused", f"the record in {folder} still waits: {error}")
