"""Delivering what a store missed: `odenet sync`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database
from pymongo.errors import ConnectionFailure, PyMongoError

from pipeline.tracking.address import StoreError
from pipeline.tracking.record import Record, RecordError, claimed, waiting_records
from pipeline.tracking.run_document import RunStatus, died


@dataclass(frozen=True)
class DeliveryResult:
    """What became of one waiting record."""

    run_id: int
    outcome: str
    """`delivered`, `live` (its process still runs and delivers by itself), `elsewhere` (another store's run) or
    `refused` (the record is damaged, or not what the store takes)."""
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
        except (PyMongoError, RecordError, OSError) as error:
            if isinstance(error, PyMongoError) and (error.timeout or isinstance(error, ConnectionFailure)):
                raise StoreError(
                    f"the store went away ({type(error).__name__}); {folder} still waits: run `odenet sync` again"
                ) from error
            if (folder / "record.json").exists():  # otherwise its own process delivered it in the meantime
                run_id = int(folder.name.partition("-")[0])
                yield DeliveryResult(run_id, "refused", f"run {run_id} still waits in {folder}: {error}")


def sync_folder(folder: Path, database: Database[dict[str, Any]]) -> DeliveryResult:
    with claimed(folder) as is_free:
        record = Record.load(folder)
        run_id, uid = record.run_id, record.document["uid"]
        if not is_free:
            return DeliveryResult(run_id, "live", f"run {run_id} is still running and delivers by itself")
        if database.runs.find_one({"_id": run_id, "uid": uid}, {"_id": True}) is None:
            where = record.document["store"]
            return DeliveryResult(
                run_id,
                "elsewhere",
                f"run {run_id} is not in this store but was started in {where}: connect to that one, "
                f"or delete {folder} if the run was deleted there",
            )
        if record.document["status"] == RunStatus.RUNNING:
            record.update(died(record.document))
        record.deliver(database)
        record.discard()
        return DeliveryResult(run_id, "delivered", f"run {run_id} delivered ({record.document['status']})")
