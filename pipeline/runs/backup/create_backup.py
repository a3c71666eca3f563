"""A whole store in one file: runs, metrics, files, tags and notes, models, the dashboard's columns, all there is.

Safe while runs are going on; they are in it as they were when it was made. A run that is removed meanwhile, of which it
may not have all, does not count as being in it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import decode
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo.database import Database

from pipeline.runs.backup.archive import EXACT, ArchiveWriter, new_archive
from pipeline.runs.backup.contents import check_document, check_length, is_collection, is_run_id
from pipeline.runs.portions import in_portions, list_ids
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
        run_ids: list[Any] = []  # of those that are written, as one may be removed meanwhile
        file_ids: list[Any] = []
        left_out: list[str] = []
        # First: all that these runs refer to is stored by now.
        runs = in_portions(_raw(database, "runs"), "_id", list_ids(database.runs))
        archive.add_collection("runs", _restorable("runs", runs, left_out, run_ids))
        series = in_portions(_raw(database, "metrics"), "run_id", run_ids, order=("run_id", "name"))
        archive.add_collection("metrics", _restorable("metrics", series, left_out))
        others = _other_collections(database)
        entries = in_portions(_raw(database, "fs.files"), "_id", list_ids(database.fs.files))
        archive.add_collection("fs.files", _restorable("fs.files", entries, left_out, file_ids))
        entries = in_portions(database.fs.files, "_id", file_ids)
        damaged = [name for entry in entries if (name := _add_file(database, entry, archive)) is not None]
        for name in filter(is_collection, others):
            wanted = {"_id": {"$nin": list(OF_THIS_STORE)}} if name == "counters" else {}
            documents = _raw(database, name).find(wanted).sort("_id")
            archive.add_collection(name, _restorable(name, documents, left_out))
        there = set(filter(is_run_id, list_ids(database.runs)))
        archive.removed_runs = [number for number, run_id in enumerate(run_ids) if run_id not in there]
    left_out += [f"the collection {name}" for name in others if not is_collection(name)]
    megabytes = round(file.stat().st_size / 1e6, 1)
    runs_written = len(run_ids) - len(archive.removed_runs)
    return Backup(file, runs_written, archive.files, tuple(damaged), tuple(left_out), megabytes)


def _restorable(
    collection: str, documents: Iterable[RawBSONDocument], left_out: list[str], ids: list[Any] | None = None
) -> Iterator[bytes]:
    """Those that a restore takes, as BSON; notes their ids, and the names of those that it does not take."""
    for raw in documents:
        document = decode(raw.raw, EXACT)
        try:
            check_length(collection, len(raw.raw))
            check_document(collection, document)
        except ValueError:
            left_out.append(_named(collection, document["_id"]))
            continue
        if ids is not None:
            ids.append(document["_id"])
        yield bytes(raw.raw)


def _named(collection: str, document_id: Any) -> str:
    name = shortened(str(document_id), LONGEST_VALUE)
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
