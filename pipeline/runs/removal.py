"""Removing runs from the store, so that nothing of another run goes with them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymongo
from pymongo.database import Database

from pipeline.runs.portions import LISTING_SECONDS, in_portions, list_ids
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.registry import names_of
from pipeline.tracking.environment import ENVIRONMENT_BEFORE, ENVIRONMENTS, environments_of
from pipeline.tracking.gridfs import UNCLAIMED_AGE, remove_file
from pipeline.tracking.liveness import by_the_stores_clock
from pipeline.tracking.run_document import (
    PLUGINS_BEFORE,
    READABLE,
    READABLE_WORDS,
    RunStatus,
    files_of,
    object_ids,
    source_files,
)
from pipeline.tracking.run_folder import claimed, run_folder
from pipeline.tracking.store import REMOVED, is_of_another_store, retire_run_id, translate_store_errors
from pipeline.util.errors import InvalidInput, OdenetError

SACRED_FORMAT = "MongoObserver"
"""How the format of runs that Sacred's own observer wrote begins; it lists its files as ours does."""


def removable_runs(run_ids: Sequence[int], home: Path, database: Database[dict[str, Any]]) -> list[StoredRun]:
    """The runs with these ids, none of which anything speaks against removing.

    Args:
        home: where the runs of this machine keep their folders.

    Raises:
        RunNotFound: there is none with one of the ids.
        InvalidInput: one is still running, or a promoted model is made of it.
    """
    runs = [Runs(database).get(run_id) for run_id in dict.fromkeys(run_ids)]
    for run in runs:
        if run.is_foreign:
            raise InvalidInput(
                f"run {run.run_id} was recorded by another program: remove it with that, or in Omniboard"
            )
        _refuse_live(run, home)
        _refuse_promoted(run)
    return runs


def remove_run(run: StoredRun, home: Path) -> None:
    """Remove a run: its document, then its metrics, the files that no other run uses, and its folder here.

    The folder of a run that was started in another store, of which this one has a copy, is that store's and stays.

    The document goes first, so that a removal that is broken off leaves no half a run, but what `odenet gc` finds.
    Source files that a run about to start could refer to are left to `odenet gc` as well.

    Raises:
        InvalidInput: the run is going on, or a promoted model is made of it.
        OdenetError: it changed meanwhile, or the store holds runs of a format that this version does not know.
        StoreError: the store went away.
    """
    database, folder = run.database, run_folder(home, run.document)
    refuse_unknown_formats(database)
    with claimed(folder) as is_free:
        if not is_free:
            raise _still_running(run)
        _refuse_promoted(run)  # perhaps since a person was asked
        with translate_store_errors():
            retire_run_id(database, run.run_id)
            unchanged = {key: run.document[key] for key in ("_id", "uid", "status", "heartbeat")}
            if database.runs.delete_one(unchanged).deleted_count == 0:
                raise OdenetError(
                    f"run {run.run_id} has changed just now: look at it with `odenet show`, then try again"
                )
            database[REMOVED].replace_one({"_id": run.run_id}, {"uid": run.document["uid"]}, upsert=True)
            database.metrics.delete_many({"run_id": run.run_id})
            _remove_files(run)
        if not is_of_another_store(run.document, database):
            shutil.rmtree(folder, ignore_errors=True)


def claimed_files(database: Database[dict[str, Any]]) -> set[Any]:
    """Ids of the files that runs refer to, whoever wrote the run.

    Raises:
        OdenetError: there are runs of a format that this version does not know.
    """
    refuse_unknown_formats(database)
    files: set[Any] = set()
    used = set()
    of_experiment = [f"experiment.{key}" for key in ("environment", "sources", "plugins")]
    of_sessions = [f"resumed.{key}" for key in (ENVIRONMENT_BEFORE, PLUGINS_BEFORE)]
    wanted = dict.fromkeys(["artifacts", *of_sessions, *of_experiment], True)
    for document in in_portions(database.runs, "_id", list_ids(database.runs), wanted):
        files |= files_of(document)
        used |= environments_of(document)
    for environment in database[ENVIRONMENTS].find({}, {"sources": True}):
        if environment["_id"] in used:
            files |= object_ids(environment["sources"])
    return files


def refuse_unknown_formats(database: Database[dict[str, Any]]) -> None:
    """What a run of another format refers to is not known, so nothing can be said to be without use."""
    with translate_store_errors(), pymongo.timeout(LISTING_SECONDS):
        others = list(database.runs.find({"format": {"$nin": [*READABLE, None]}}, {"format": True}))
    for name in (other["format"] for other in others):
        if not str(name).startswith(SACRED_FORMAT):
            raise OdenetError(
                f"the store holds runs of the format {name}, which this version (format {READABLE_WORDS}) cannot read: "
                "remove runs and files with the version that wrote them"
            )


def _remove_files(run: StoredRun) -> None:
    now = by_the_stores_clock()
    claimed_by_others = claimed_files(run.database)
    own = {"filename": {"$regex": f"^artifact://runs/{run.run_id}/"}}  # replaced artifacts as well
    artifacts = {file["_id"] for file in run.database.fs.files.find(own, {"_id": True})}
    for file_id in artifacts - claimed_by_others:
        remove_file(run.database, file_id, stored_before=now)
    for file_id in source_files(run.document) - claimed_by_others:
        remove_file(run.database, file_id, stored_before=now - UNCLAIMED_AGE)


def _refuse_live(run: StoredRun, home: Path) -> None:
    with claimed(run_folder(home, run.document)) as is_free:
        if run.status is RunStatus.RUNNING or not is_free:
            raise _still_running(run)


def _refuse_promoted(run: StoredRun) -> None:
    if names := names_of(run.run_id, run.database):
        raise InvalidInput(
            f"run {run.run_id} is the model {names[0]}: give the name up first, "
            f"with `odenet promote --remove {names[0]}`"
        )


def _still_running(run: StoredRun) -> InvalidInput:
    return InvalidInput(
        f"run {run.run_id} is still running on {run.document['host']['hostname']}: stop it first "
        "(one that was killed counts as running for a minute)"
    )
