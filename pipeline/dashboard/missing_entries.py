"""Runs of earlier versions and of other programs: they get the entries that the dashboard lists."""

from typing import Any

import pymongo
from pymongo.database import Database

from pipeline.runs.portions import LISTING_SECONDS, in_portions
from pipeline.tracking.board_entry import BOARD, board_entry
from pipeline.tracking.readable import readable, unreadable
from pipeline.tracking.run_document import RunStatus

_BULK = ("captured_out", "fail_trace", "experiment.sources", "experiment.dependencies")


def add_missing_entries(database: Database[dict[str, Any]]) -> None:
    """Give the runs that have ended without an entry theirs; this version's runs have one from their start."""
    missing = {BOARD: None, "status": {"$ne": RunStatus.RUNNING.value}}
    with pymongo.timeout(LISTING_SECONDS):
        ids = [document["_id"] for document in database.runs.find(missing, {"_id": True})]
    for document in in_portions(database.runs, "_id", ids, dict.fromkeys(_BULK, False)):
        if unreadable(document) is None:
            entry = board_entry(readable(document)[0])
            database.runs.update_one({"_id": document["_id"], BOARD: None}, {"$set": {BOARD: entry}})
