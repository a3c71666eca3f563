"""A backup put into a store, which may have runs already: nothing that is there is changed.

A run that is there, by its uid, is skipped. One whose id another run has gets a new id, and what points to it follows.
Runs go in one after the other, each behind its files and metrics, so a restore that was broken off has left whole runs
behind and is gone on with by doing it again.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import decode
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from pipeline.runs.backup.alone import alone
from pipeline.runs.backup.archive import Archive, open_archive
from pipeline.runs.backup.contents import is_run_id
from pipeline.runs.portions import in_portions, list_ids
from pipeline.tracking.environment import ENVIRONMENTS, environments_of, put_environment
from pipeline.tracking.gridfs import is_ours, put_entry
from pipeline.tracking.run_document import RUN_REFERENCES, RunStatus, died, files_of, object_ids
from pipeline.tracking.store import REMOVED, next_run_id, retire_run_id, translate_store_errors
from pipeline.util.errors import OdenetError

REFERENCES: Mapping[str, Sequence[str]] = {
    "runs": RUN_REFERENCES,
    "models": ("history.run_id",),
}
"""Collection -> where its documents have ids of runs; through lists as well."""


@dataclass(frozen=True)
class RestoredRun:
    """What became of a run of the backup."""

    backup_id: Any
    run_id: Any
    """Its id in this store."""
    is_new: bool
    """False where the store had it already."""
    was_running: bool
    """When the backup was made; here it has died."""


@dataclass(frozen=True)
class Restored:
    """What became of the backup."""

    runs: tuple[RestoredRun, ...]
    kept: tuple[str, ...]
    """`collection/name` of what the store had under the same name, and keeps as it was."""


def restore(database: Database[dict[str, Any]], file: Path) -> Restored:
    """Put into the database what the backup has and the database has not.

    Raises:
        InvalidInput: the file is no backup that this version knows, or another restore is at work.
        ArchiveError: it is damaged; nothing was restored.
        OdenetError: the store went away, or a run of the backup has come into it meanwhile; do it again.
    """
    with open_archive(file) as archive, translate_store_errors(), alone(database):
        return _Restore(archive, database).carry_out()


class _Restore:
    def __init__(self, archive: Archive, database: Database[dict[str, Any]]) -> None:
        self._archive = archive
        self._database = database
        self._entries = archive.file_entries()
        self._stored_files: set[Any] = set()
        self._environments = {one["_id"]: one for one in archive.documents(ENVIRONMENTS)}
        there = list(in_portions(database.runs, "_id", list_ids(database.runs), dict.fromkeys(_TELLING, True)))
        self._there = {_identity(document): document["_id"] for document in there}
        self._taken = {document["_id"] for document in there if is_run_id(document["_id"])}
        removed = database[REMOVED].find({"uid": {"$exists": True}})  # of that name another program may have one, too
        self._removed = {document["_id"]: document["uid"] for document in removed if is_run_id(document["_id"])}
        self._run_ids: dict[Any, Any] = {}
        """Id in the backup -> id here."""

    def carry_out(self) -> Restored:
        new = self._choose_ids()
        runs = []
        for document, series in self._archive.runs():
            backup_id = document["_id"]
            if backup_id in new:
                self._restore_run(document, series)
            was_running = backup_id in new and document.get("status") == RunStatus.RUNNING
            runs.append(RestoredRun(backup_id, self._run_ids[backup_id], backup_id in new, was_running))
        self._restore_files_of_others()
        kept = [
            f"{name}/{document.get('name', document['_id'])}"
            for name in self._archive.documents_of
            if name not in ("runs", "metrics", "fs.files", "counters", ENVIRONMENTS, REMOVED)
            for document in self._archive.documents(name)
            if not self._add(name, document)
        ]
        pointed_to = [run_id for run_id in self._run_ids.values() if isinstance(run_id, int) and is_run_id(run_id)]
        retire_run_id(self._database, max(pointed_to, default=0))  # a backup may lack the counter of its store
        for counter in self._archive.documents("counters"):
            if counter["_id"] == "runs":
                retire_run_id(self._database, counter["last"])
        return Restored(tuple(runs), tuple(kept))

    def _choose_ids(self) -> set[Any]:
        """Give every run of the backup its id here: its own where that is free; those that are not here yet."""
        new, ids_of_others = [], set()
        for document in self._archive.documents("runs"):
            there = self._there.get(_identity(document))
            if there is None:
                new.append(document["_id"])
                if self._removed.get(document["_id"], document.get("uid")) != document.get("uid"):
                    ids_of_others.add(document["_id"])  # what points to the run that was removed here is not this one's
            else:
                self._run_ids[document["_id"]] = there
        self._taken |= ids_of_others
        free = [run_id for run_id in new if run_id not in self._taken]
        retire_run_id(self._database, max((run_id for run_id in free if isinstance(run_id, int)), default=0))
        self._taken.update(free)
        self._run_ids.update(zip(free, free, strict=True))
        for run_id in new:
            self._id_here(run_id)
        return set(new)

    def _id_here(self, backup_id: Any) -> Any:
        """The id here of a run of the backup, also of one that was removed before and is only pointed to."""
        if backup_id not in self._run_ids:
            is_taken = backup_id in self._taken
            self._run_ids[backup_id] = next_run_id(self._database) if is_taken else backup_id
            self._taken.add(self._run_ids[backup_id])
        return self._run_ids[backup_id]

    def _restore_run(self, document: Mapping[str, Any], series: Sequence[Mapping[str, Any]]) -> None:
        """The document comes last: a run that is there is whole."""
        run_id = self._run_ids[document["_id"]]
        there = self._database.runs.find_one({"_id": run_id}, dict.fromkeys(_TELLING, True))
        if there is None and isinstance(document.get("uid"), str):
            there = self._database.runs.find_one({"uid": document["uid"]}, {"uid": True})
        if there is not None:
            what = "has been put in by another restore" if _identity(there) == _identity(document) else "has begun"
            raise OdenetError(f"run {there['_id']} {what} just now: restore once more, and the rest follows")
        environments = [self._environments[one] for one in environments_of(document) if one in self._environments]
        for file_id in (files_of(document) | object_ids(environments)) - self._stored_files:
            self._restore_file(file_id, f"artifact://runs/{document['_id']}/", f"artifact://runs/{run_id}/")
        for environment in environments:
            put_environment(self._database, dict(environment["sources"]), environment["dependencies"])
        self._restore_metrics(run_id, series)
        is_running = document.get("status") == RunStatus.RUNNING
        ended = died(document) if is_running else {}
        self._database.runs.insert_one({**self._pointing_here("runs", document), "_id": run_id, **ended})

    def _restore_files_of_others(self) -> None:
        """What other programs keep as files, to which no run refers; one that is here stays as it is."""
        for file_id, raw in self._entries.items():
            if not is_ours(decode(raw)) and self._database.fs.files.find_one({"_id": file_id}, {"_id": True}) is None:
                self._restore_file(file_id)

    def _restore_file(self, file_id: Any, folder_then: str | None = None, folder_now: str = "") -> None:
        content = self._archive.content(file_id)
        if content is None or file_id not in self._entries:
            return
        entry = {key: value for key, value in decode(self._entries[file_id]).items() if key != "_id"}
        if folder_then is not None and str(entry.get("filename")).startswith(folder_then):
            entry["filename"] = folder_now + entry["filename"].removeprefix(folder_then)
        put_entry(self._database, file_id, entry, content)
        self._stored_files.add(file_id)

    def _restore_metrics(self, run_id: Any, series: Sequence[Mapping[str, Any]]) -> None:
        metrics = self._database.metrics
        # Nobody has this id: what is there was left by a restore or a removal that was broken off.
        metrics.delete_many({"run_id": run_id})
        for one in metrics.find({"_id": {"$in": [one["_id"] for one in series]}}, {"run_id": True}):
            if one["run_id"] not in self._taken:
                metrics.delete_one({"_id": one["_id"]})
        if series:
            metrics.insert_many([{**one, "run_id": run_id} for one in series])

    def _add(self, collection: str, document: Mapping[str, Any]) -> bool:
        """Add a document of another collection; whether the store has it now, or had the same."""
        key = "name" if collection.startswith("omniboard.") and "name" in document else "_id"
        added = self._pointing_here(collection, document)
        there = self._database[collection].find_one({key: added[key]})
        if there is None:
            with suppress(DuplicateKeyError):
                self._database[collection].insert_one(added)
                return True
        return there is not None and {**there, "_id": 0} == {**added, "_id": 0}

    def _pointing_here(self, collection: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with the ids that the runs it points to have here."""
        changed: Any = document
        for path in REFERENCES.get(collection, ()):
            changed = self._replace(changed, path.split("."))
        return dict(changed)

    def _replace(self, value: Any, path: Sequence[str]) -> Any:
        match value:
            case list():
                return [self._replace(entry, path) for entry in value]
            case dict() if path and path[0] in value:
                return {**value, path[0]: self._replace(value[path[0]], path[1:])}
            case int() if not path:
                return self._id_here(value)
            case _:
                return value


_TELLING = ("uid", "start_time", "experiment.name", "host.hostname", "config")


def _identity(document: Mapping[str, Any]) -> Any:
    """The uid; of Sacred's own runs, which have none, what tells one from others: of those that wait, the id too."""
    if isinstance(document.get("uid"), str):
        return document["uid"]
    experiment, host = document.get("experiment") or {}, document.get("host") or {}
    of_sections = [
        section.get(key) if isinstance(section, Mapping) else None
        for section, key in ((experiment, "name"), (host, "hostname"))
    ]
    start = document.get("start_time")
    waiting = (document.get("_id"),) if start is None else ()
    return tuple(map(str, (start, *of_sections, document.get("config"), *waiting)))
