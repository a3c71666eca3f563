"""Records of runs whose process is gone."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo.database import Database

from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.record import Record
from pipeline.tracking.run_document import BETWEEN_EPOCHS, FORMAT
from pipeline.tracking.run_folder import run_folder


def document_of(run_id: Any, **changes: Any) -> dict[str, Any]:
    """The document of a run that has just begun."""
    now = datetime.now(UTC).replace(microsecond=0)
    document = {
        "_id": run_id,
        "uid": uuid.uuid4().hex,
        "store": "mongodb://elsewhere/lab",
        "format": FORMAT,
        "experiment": {"name": "classification", "sources": [], "dependencies": [], "repositories": []},
        "config": {"data": {"name": "digits"}, "model": {"architecture": "simple", "body": "odenet"}, "seed": 0},
        "status": "RUNNING",
        "start_time": now,
        "heartbeat": now,
        "host": {"hostname": "laboratory"},
        "info": {},
        "artifacts": [],
        "captured_out": "",
        "result": None,
    }
    return document | changes


def left_behind(home: Path, database: Database[dict[str, Any]], run_id: Any = 1, **changes: Any) -> Record:
    """The record of a run of two epochs and a file, whose process is gone, and which the store knows."""
    document = document_of(run_id, **changes)
    database.runs.insert_one(dict(document))
    record = Record.create(run_folder(home, document), document)
    for epoch in (1, 2):
        record.add_metrics(epoch, {"training.loss": 1 / epoch, "validation.loss": 2 / epoch})
    record.add_artifact("notes.txt", b"as it was", "text/plain")
    record.release()
    return record


def read(database: Database[dict[str, Any]], run_id: Any) -> StoredRun:
    return Runs(database).get(run_id)


def epochs_of(run: StoredRun) -> dict[str, list[int]]:
    """Metric -> the epochs that it has a point of, for all that are recorded once an epoch."""
    return {name: points["steps"] for name, points in run.points().items() if not name.startswith(BETWEEN_EPOCHS)}
