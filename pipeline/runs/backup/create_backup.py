"""A whole store in one file: runs, metrics, files, tags and notes, models, the dashboard's columns, all there is.

Safe while runs are going on; they are in it as they were when it was made. A run that is removed meanwhile, of which it
may not have all, does not count as being in it.
"""

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId, decode
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo.database import Database

from pipeline.runs.backup.archive import EXACT, ArchiveWriter, new_archive
from pipeline.runs.backup.contents import check_document, check_length, is_collection, is_run_id
from pipeline.runs.portions import in_portions, list_ids
from pipeline.tracking.environment import ENVIRONMENTS, is_environment_id
from pipeline.tracking.gridfs import has_mark
from pipeline.tracking.readable import is_foreign
from pipeline.tracking.run_document import files_of, object_ids
from pipeline.tracking.store import OF_THIS_STORE, translate_store_errors
from pipeline.util.errors import LONGEST_VALUE, shortened


@dataclass(frozen=True)
class Backup:
    """What was written."""

    file: Path
    runs: int
    files: int
    damaged_files: tuple[str, ...]
    """Names of the files that the store does not have whole, of which there is no content in the backup."""
    damaged_documents: tuple[str, ...]
    """What of ours is not in the backup, as no restore would take it, each with what is wrong with it."""
    left_out: tuple[str, ...]
    """Collections and documents of other programs that no backup can hold: no restore would take them."""
    megabytes: float


def back_up(database: Database[dict[str, Any]], file: Path) -> Backup:
    """Write all of the database to a new file, which is there whole or not at all.

    What the database has beside runs, files and their likes is in it as well; metrics of runs that are gone are not.

    Raises:
        InvalidInput: the file exists.
        ArchiveError: it cannot be written.
        StoreError: the store went away.
    """
    with translate_store_errors(), new_archive(file) as archive:
        chosen = _Choice()
        run_ids: list[Any] = []  # of those that are written, as one may be removed meanwhile
        file_ids: list[Any] = []
        # First: all that these runs refer to is stored by now.
        runs = in_portions(_raw(database, "runs"), "_id", list_ids(database.runs))
        archive.add_collection("runs", chosen.restorable("runs", runs, run_ids))
        series = in_portions(_raw(database, "metrics"), "run_id", run_ids, order=("run_id", "name"))
        archive.add_collection("metrics", chosen.restorable("metrics", series))
        others = _other_collections(database)
        for name in filter(is_collection, others):  # environments before the files to which they refer
            wanted = {"_id": {"$nin": list(OF_THIS_STORE)}} if name == "counters" else {}
            documents = _raw(database, name).find(wanted).sort("_id")
            archive.add_collection(name, chosen.restorable(name, documents))
        entries = in_portions(_raw(database, "fs.files"), "_id", list_ids(database.fs.files))
        archive.add_collection("fs.files", chosen.restorable("fs.files", entries, file_ids))
        entries = in_portions(database.fs.files, "_id", file_ids)
        damaged = [lost for entry in entries if (lost := _add_file(database, entry, archive)) is not None]
        there = set(filter(is_run_id, list_ids(database.runs)))
        archive.removed_runs = [number for number, run_id in enumerate(run_ids) if run_id not in there]
    left_out = (*chosen.left_out, *(f"the collection {name}" for name in others if not is_collection(name)))
    megabytes = round(file.stat().st_size / 1e6, 1)
    runs_written = len(run_ids) - len(archive.removed_runs)
    return Backup(file, runs_written, archive.files, tuple(damaged), tuple(chosen.damaged), left_out, megabytes)


class _Choice:
    """Takes for the backup what a restore takes, and notes the rest.

    Attributes:
        damaged: what of ours it did not take, each with what is wrong with it.
        left_out: what of other programs.
    """

    def __init__(self) -> None:
        self.damaged: list[str] = []
        self.left_out: list[str] = []
        self._our_runs: set[Any] = set()
        self._files_of_ours: set[Any] = set()

    def restorable(
        self, collection: str, documents: Iterable[RawBSONDocument], ids: list[Any] | None = None
    ) -> Iterator[bytes]:
        """Those that a restore takes, as BSON; notes their ids."""
        for raw in documents:
            document = decode(raw.raw, EXACT)
            try:
                check_length(collection, len(raw.raw))
                check_document(collection, document)
            except ValueError as error:
                if self._is_ours(collection, document):
                    self.damaged.append(f"{_named(collection, document)} ({error})")
                else:
                    self.left_out.append(_named(collection, document))
                continue
            if ids is not None:
                ids.append(document["_id"])
            if self._is_ours(collection, document):
                self._note_references(collection, document)
            yield bytes(raw.raw)

    def _note_references(self, collection: str, document: Mapping[str, Any]) -> None:
        if collection == "runs":
            self._our_runs.add(document["_id"])
            self._files_of_ours |= files_of(document)
        elif collection == ENVIRONMENTS:
            self._files_of_ours |= object_ids(document["sources"])

    def _is_ours(self, collection: str, document: Mapping[str, Any]) -> bool:
        """Whether it is ours, damaged as it may be."""
        match collection:
            case "runs":
                return not is_foreign(document)
            case "metrics":
                return isinstance(run_id := document.get("run_id"), Hashable) and run_id in self._our_runs
            case "fs.files":
                file_id = document["_id"]
                return isinstance(file_id, ObjectId) and (has_mark(document) or file_id in self._files_of_ours)
            case "counters":
                return bool(document["_id"] == "runs")
            case "models":
                return "history" in document
            case _:
                return collection == ENVIRONMENTS and is_environment_id(document["_id"])


def _named(collection: str, document: Mapping[str, Any]) -> str:
    name = shortened(str(document["_id"]), LONGEST_VALUE)
    kind = {"runs": "run", "metrics": "series", "fs.files": "file"}.get(collection)
    return f"the document {name} in {collection}" if kind is None else f"the {kind} {name}"


def _add_file(database: Database[dict[str, Any]], entry: Mapping[str, Any], archive: ArchiveWriter) -> str | None:
    """Add the content of a file; its name where it is not whole."""
    file_id = entry["_id"]
    chunks = database.fs.chunks.find({"files_id": file_id}).sort("n")
    content = b"".join(chunk["data"] for chunk in chunks)
    metadata = entry.get("metadata")
    checksum = metadata.get("sha256") if isinstance(metadata, Mapping) else None
    if len(content) == entry.get("length") and checksum in (None, hashlib.sha256(content).hexdigest()):
        archive.add_file(file_id, content)
    elif database.fs.files.find_one({"_id": file_id}) is not None:  # else it was removed a moment ago
        return str(entry.get("filename", file_id))
    return None


def _other_collections(database: Database[dict[str, Any]]) -> list[str]:
    own = ("runs", "metrics", "fs.files", "fs.chunks")
    return sorted(
        name for name in database.list_collection_names() if name not in own and not name.startswith("system.")
    )


def _raw(database: Database[dict[str, Any]], collection: str) -> Any:
    """The collection whose documents come as the bytes that they are."""
    return database.get_collection(collection, codec_options=DEFAULT_RAW_BSON_OPTIONS)
