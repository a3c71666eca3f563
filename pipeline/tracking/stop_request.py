"""Asking a run to stop, through the store: its process looks there whenever it delivers, on whichever machine it is."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from pipeline.tracking.run_document import RunStatus

STOP_REQUEST = "stop_request"
"""The entry of a run's document; who goes on with the run heeds none that was there before."""


def request_stop(database: Database[dict[str, Any]], document: Mapping[str, Any]) -> bool:
    """Ask the run of this document to stop; False where the store has it no more as running."""
    mine = {"_id": document["_id"], "uid": document["uid"], "status": RunStatus.RUNNING.value}
    asked = {"at": datetime.now(UTC), "host": platform.node()}
    return database.runs.update_one(mine, {"$set": {STOP_REQUEST: asked}}).matched_count == 1
