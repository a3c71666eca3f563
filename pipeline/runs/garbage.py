"""What runs have left behind and nobody needs: found, shown, removed; safe while runs are going on.

Whatever could be garbage is listed before whatever could need it, nothing younger than `UNCLAIMED_AGE` is taken, and a
file that somebody stores again in the meantime stays (`pipeline.tracking.gridfs`).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bson import ObjectId
from pymongo.database import Database

from pipeline.runs.portions import in_portions, list_ids
from pipeline.runs.removal import claimed_files
from pipeline.tracking.environment import ENVIRONMENT_BEFORE, ENVIRONMENTS
from pipeline.tracking.gridfs import UNCLAIMED_AGE, is_ours, remove_chunks, remove_file
from pipeline.tracking.liveness import by_the_stores_clock, effective_status
from pipeline.tracking.readable import readable
from pipeline.tracking.run_document import READABLE, RunStatus, result_spec
from pipeline.tracking.run_folder import claimed, run_folder
from pipeline.tracking.store import MAX_RUN_ID, translate_store_errors

CHECKPOINT_AGE = timedelta(days=30)
KEPT_CHECKPOINTS = 5

_ARTIFACTS = "artifact://runs/"
_LIVENESS = ("status", "heartbeat", "heard", "host.hostname")
_RESULT = ("experiment.metrics", "experiment.result")
_FIRST_ID, _LAST_ID = ObjectId(b"\x00" * 12), ObjectId(b"\xff" * 12)


@dataclass(frozen=True)
class Garbage:
    """What can go."""

    metrics: tuple[ObjectId, ...]
    """Series whose run is gone."""
    environments: tuple[str, ...]
    """Lists of sources and packages that no run refers to."""
    files: Mapping[Any, str]
    """Id -> name of the files that no run refers to."""
    chunks: tuple[Any, ...]
    """Ids of files whose beginning was stored, but not their end."""
    checkpoints: tuple[Path, ...]
    """Of runs that have ended, too old and not good enough to be gone on with."""
    unknown_folders: tuple[Path, ...]
    """Folders with a checkpoint whose run this store does not have; they stay, for it may be another store's."""
    megabytes: float
    """Of files and checkpoints."""
    stored_before: datetime
    """What was stored since is left alone."""

    @property
    def is_empty(self) -> bool:
        return not (self.metrics or self.environments or self.files or self.chunks or self.checkpoints)


def find_garbage(
    database: Database[dict[str, Any]],
    home: Path,
    checkpoint_age: timedelta = CHECKPOINT_AGE,
    kept_checkpoints: int = KEPT_CHECKPOINTS,
    now: datetime | None = None,
) -> Garbage:
    """Everything in the store and in `home` that can go; nothing is removed.

    Args:
        checkpoint_age: a checkpoint written since is kept.
        kept_checkpoints: so many runs of each data set keep theirs, those with the best results.

    Raises:
        OdenetError: the store holds runs of a format that this version does not know.
        StoreError: the store went away.
    """
    now = now or datetime.now(UTC)
    before = by_the_stores_clock(now) - UNCLAIMED_AGE
    with translate_store_errors():
        chunks = _chunks_without_file(database, before)
        files = _files_without_run(database, before)
        metrics = _metrics_without_run(database, before)
        environments = _environments_without_run(database, before)
        folders = sorted(path.parent for path in (home / "runs").glob("*/checkpoint.pt"))
        runs = _runs_of(folders, home, database)
    ended = {folder: runs[folder] for folder in folders if folder in runs and _has_ended(folder, runs[folder])}
    spared = _best(ended, kept_checkpoints)
    oldest = now.timestamp() - checkpoint_age.total_seconds()
    checkpoints = tuple(
        folder / "checkpoint.pt"
        for folder in ended
        if folder not in spared and (folder / "checkpoint.pt").stat().st_mtime < oldest
    )
    size = sum(file["length"] for file in files) + sum(checkpoint.stat().st_size for checkpoint in checkpoints)
    return Garbage(
        metrics=metrics,
        environments=environments,
        files={file["_id"]: file["filename"] for file in files},
        chunks=chunks,
        checkpoints=checkpoints,
        unknown_folders=tuple(folder for folder in folders if folder not in runs),
        megabytes=size / 1e6,
        stored_before=before,
    )


def collect(garbage: Garbage, database: Database[dict[str, Any]]) -> None:
    """Remove what was found, but for what has come into use since.

    Raises:
        StoreError: the store went away; what is left is found again.
    """
    with translate_store_errors():
        # Asked once more: a run may be restored just now, whose series come before it.
        database.metrics.delete_many({"_id": {"$in": list(_without_run(database, garbage.metrics))}})
        unused = {"_id": {"$in": list(garbage.environments)}, "stored": {"$lt": garbage.stored_before}}
        database[ENVIRONMENTS].delete_many(unused)
        for file_id in garbage.files:
            remove_file(database, file_id, garbage.stored_before)
        for file_id in garbage.chunks:
            remove_chunks(database, file_id, garbage.stored_before)
    for checkpoint in garbage.checkpoints:
        _remove_checkpoint(checkpoint)


def _chunks_without_file(database: Database[dict[str, Any]], before: datetime) -> tuple[Any, ...]:
    """What lies between the files that there are, in the order of their ids: an index finds it, and nothing is read."""
    files = [file_id for file_id in list_ids(database.fs.files) if type(file_id) is ObjectId]
    begun: dict[Any, None] = {}
    for lower, upper in pairwise([_FIRST_ID, *files, _LAST_ID]):
        between = {"files_id": {"$gt": lower, "$lt": upper}, "_id": {"$lt": ObjectId.from_datetime(before)}}
        begun |= {chunk["files_id"]: None for chunk in database.fs.chunks.find(between, {"files_id": True})}
    return tuple(begun)


def _files_without_run(database: Database[dict[str, Any]], before: datetime) -> list[dict[str, Any]]:
    """Files that we have stored: another program may refer to its own in ways of its own."""
    old = {"metadata.sha256": {"$exists": True}, "uploadDate": {"$lt": before}}
    files = list(filter(is_ours, database.fs.files.find(old, {"filename": True, "length": True, "metadata": True})))
    # What an unfinished run has sent may be in a document that still waits on a disk, for `odenet sync`.
    unfinished = tuple(
        f"{_ARTIFACTS}{run['_id']}/" for run in database.runs.find({"status": RunStatus.RUNNING.value}, {"_id": True})
    )
    claimed_by_runs = claimed_files(database)
    return [
        file for file in files if file["_id"] not in claimed_by_runs and not file["filename"].startswith(unfinished)
    ]


def _environments_without_run(database: Database[dict[str, Any]], before: datetime) -> tuple[str, ...]:
    """Listed before the runs are, of which one that just starts may have renewed its own."""
    old = [one["_id"] for one in database[ENVIRONMENTS].find({"stored": {"$lt": before}}, {"_id": True})]
    places = ("experiment.environment", f"resumed.{ENVIRONMENT_BEFORE}")

    def is_used(environment: str) -> bool:
        return any(database.runs.find_one({place: environment}, {"_id": True}) is not None for place in places)

    return tuple(one for one in old if not is_used(one))


def _metrics_without_run(database: Database[dict[str, Any]], before: datetime) -> tuple[ObjectId, ...]:
    """The series whose numbers lie between those of the runs that there are: an index finds them, however many."""
    numbers = sorted({run_id for run_id in list_ids(database.runs) if type(run_id) is int})
    series: list[dict[str, Any]] = []
    for lower, upper in pairwise([0, *(number for number in numbers if number > 0), MAX_RUN_ID]):
        if upper - lower > 1:
            between = {"run_id": {"$gt": lower, "$lt": upper}, "_id": {"$lt": ObjectId.from_datetime(before)}}
            series += database.metrics.find(between, {"run_id": True})
    return _without_run(database, [one["_id"] for one in series])


def _without_run(database: Database[dict[str, Any]], series_ids: Sequence[ObjectId]) -> tuple[ObjectId, ...]:
    """Those of the series whose run is not there: one that is being restored may have come, and its series are old."""
    series = list(database.metrics.find({"_id": {"$in": list(series_ids)}}, {"run_id": True}))
    of_runs = {"_id": {"$in": [one["run_id"] for one in series]}}
    come = {run["_id"] for run in database.runs.find(of_runs, {"_id": True})}
    return tuple(one["_id"] for one in series if one["run_id"] not in come)


def _runs_of(folders: Sequence[Path], home: Path, database: Database[dict[str, Any]]) -> dict[Path, dict[str, Any]]:
    """Folder of a run on this machine -> its document, where the store has it."""
    names = [unquote(folder.name).rpartition("-")[0] for folder in folders]
    ids = [int(name) if name.isdecimal() else name for name in names]
    wanted = dict.fromkeys(["format", "uid", *_LIVENESS, "result", "config.data.name", *_RESULT], True)
    documents = [
        readable(document)[0]
        for document in in_portions(database.runs, "_id", ids, wanted)
        if document.get("format") in READABLE and isinstance(document.get("uid"), str)
    ]
    return {run_folder(home, document): document for document in documents}


def _has_ended(folder: Path, document: Mapping[str, Any]) -> bool:
    return effective_status(document) is not RunStatus.RUNNING and not (folder / "record.json").exists()


def _best(ended: Mapping[Path, Mapping[str, Any]], number: int) -> set[Path]:
    """Folders of the `number` runs with the best results on each data set; a run without a result is never best.

    Of results of which nobody knows whether lower or higher ones are better, all.
    """
    results: dict[tuple[Any, str], list[tuple[float, Path]]] = {}
    spared = set()
    for folder, document in ended.items():
        result = document.get("result")
        if isinstance(result, int | float) and isfinite(result):
            data = document["config"].get("data")
            spec, data = result_spec(document), str(data.get("name") if isinstance(data, Mapping) else data)
            if spec.better not in ("lower", "higher"):  # as a run of an earlier version may say
                spared.add(folder)
                continue
            good = -result if spec.better == "lower" else result
            results.setdefault((data, spec.name), []).append((good, folder))
    return spared | {folder for of_data in results.values() for _, folder in sorted(of_data)[::-1][:number]}


def _remove_checkpoint(checkpoint: Path) -> None:
    """Unless a process has gone on with the run since it was listed."""
    folder = checkpoint.parent
    if not folder.is_dir():
        return
    with claimed(folder) as is_free:
        if not is_free or (folder / "record.json").exists():
            return
        checkpoint.unlink(missing_ok=True)
        if {path.name for path in folder.iterdir()} == {"lock"}:
            shutil.rmtree(folder)
