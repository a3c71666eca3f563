"""Files in GridFS, written so that writing one again, after an interruption or by two at once, does no harm.

PyMongo's own GridFS writer fails or doubles chunks when an upload is repeated; here a file's id decides all that is
written, every write is an upsert, and the entry in fs.files, without which no reader sees the file, comes last.

A file is stored before a run's document refers to it, so a file without a run may be one whose run is just starting.
Who removes files goes by their upload date, which storing a file again renews: see `remove_file`. The dates are by the
store's clock, as those of machines differ.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import InsertOne, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from pipeline.tracking.liveness import by_the_stores_clock
from pipeline.tracking.run_document import aware

CHUNK_BYTES = 255 * 1024
Update = tuple[dict[str, Any], dict[str, Any]]
"""Which document, and what is set there."""
UNCLAIMED_AGE = timedelta(days=1)
"""A file that no run refers to is left alone for so long after it was last stored."""


def content_id(filename: str, content: bytes) -> ObjectId:
    """The id of a file that is stored once however many runs have it: from its name and content."""
    return ObjectId(hashlib.sha256(filename.encode() + b"\0" + content).digest()[:12])


def is_ours(entry: Mapping[str, Any]) -> bool:
    """Whether a file's entry in fs.files is as we write them; other programs may keep a sha256 of their own, too."""
    is_named = isinstance(entry.get("filename"), str) and isinstance(entry.get("length"), int)
    return has_mark(entry) and isinstance(entry["_id"], ObjectId) and is_named


def has_mark(entry: Mapping[str, Any]) -> bool:
    """Whether its metadata are what ours have, and nothing else."""
    metadata = entry.get("metadata")
    return isinstance(metadata, Mapping) and list(metadata) == ["sha256"]


def put_file(
    database: Database[dict[str, Any]], file_id: ObjectId, filename: str, content: bytes, content_type: str
) -> None:
    """Store `content` under `file_id`, unless it is there already.

    Raises:
        PyMongoError: the store cannot be reached; call again later.
    """
    put_entry(database, file_id, _entry_of(filename, content, content_type), content)


def put_entry(database: Database[dict[str, Any]], file_id: Any, entry: Mapping[str, Any], content: bytes) -> None:
    """Store `content` under `file_id` with what `entry` says of it, unless it is there already.

    Args:
        entry: as in fs.files; the upload date is that of now, whatever it says.

    Raises:
        PyMongoError: the store cannot be reached; call again later.
    """
    if _renewed(database, file_id):
        return
    now = by_the_stores_clock()
    for key, values in _chunks_of(file_id, entry, content, now):
        _upsert(database, "fs.chunks", key, values)
    _upsert(database, "fs.files", {"_id": file_id}, {"$set": {**entry, "uploadDate": now}})


def put_bytes(database: Database[dict[str, Any]], filename: str, content: bytes) -> ObjectId:
    """Store text once for all runs that have it under this name; its id."""
    return put_texts(database, {filename: content})[filename]


def put_texts(database: Database[dict[str, Any]], files: Mapping[str, bytes]) -> dict[str, ObjectId]:
    """Store texts, name -> content, once for all runs that have them under these names; their ids.

    A run has hundreds of sources: what is new is stored in three requests, and nothing new in one.

    Raises:
        PyMongoError: the store cannot be reached; call again later.
    """
    ids = {filename: content_id(filename, content) for filename, content in files.items()}
    now, chunks, entries = by_the_stores_clock(), [], []
    there = database.fs.files.find({"_id": {"$in": list(ids.values())}}, {"uploadDate": True})
    stored = {entry["_id"]: aware(entry["uploadDate"]) for entry in there}
    recent = {file_id for file_id, date in stored.items() if date > now - UNCLAIMED_AGE / 2}
    missing = {filename: content for filename, content in files.items() if ids[filename] not in recent}
    for filename, content in missing.items():
        file_id, entry = ids[filename], _entry_of(filename, content, "text/plain")
        write = _replacement if file_id in stored else _insertion  # which is less work for a server
        chunks += [write(key, values["$set"]) for key, values in _chunks_of(file_id, entry, content, now)]
        entries.append(write({"_id": file_id}, {**entry, "uploadDate": now}))
    try:
        for collection, updates in ((database.fs.chunks, chunks), (database.fs.files, entries)):
            if updates:
                collection.bulk_write(updates)
    except BulkWriteError:  # another process wrote the same bytes, or some before it was killed; singly no harm is done
        for filename, content in missing.items():
            put_file(database, ids[filename], filename, content, "text/plain")
    return ids


def get_texts(database: Database[dict[str, Any]], ids: Sequence[ObjectId]) -> dict[ObjectId, bytes]:
    """The contents of files by their ids, without those that are missing or not whole.

    Two requests for a run's hundreds of sources, as each by itself would take that many.

    Raises:
        PyMongoError: the store cannot be reached.
    """
    entries = database.fs.files.find({"_id": {"$in": list(ids)}}, {"length": True})
    lengths = {entry["_id"]: entry["length"] for entry in entries}
    parts: dict[ObjectId, dict[int, bytes]] = {file_id: {} for file_id in lengths}
    for chunk in database.fs.chunks.find(
        {"files_id": {"$in": list(lengths)}}, {"files_id": True, "n": True, "data": True}
    ):
        parts[chunk["files_id"]][chunk["n"]] = chunk["data"]
    contents = {file_id: b"".join(data for _, data in sorted(found.items())) for file_id, found in parts.items()}
    return {file_id: content for file_id, content in contents.items() if len(content) == lengths[file_id]}


def _insertion(key: dict[str, Any], values: dict[str, Any]) -> InsertOne[dict[str, Any]]:
    return InsertOne({**key, **values})


def _replacement(key: dict[str, Any], values: dict[str, Any]) -> UpdateOne:
    return UpdateOne(key, {"$set": values}, upsert=True)


def remove_file(database: Database[dict[str, Any]], file_id: Any, stored_before: datetime) -> bool:
    """Remove a file unless it was stored, perhaps once more, at `stored_before` or later; whether it is gone.

    Safe against a `put_file` of the same file at the same time: what that one has written or renewed stays.

    Raises:
        PyMongoError: the store cannot be reached; call again, or leave the chunks to `odenet gc`.
    """
    entry = {"_id": file_id, "uploadDate": {"$lt": stored_before}}
    is_gone = database.fs.files.delete_one(entry).deleted_count == 1
    if is_gone:
        remove_chunks(database, file_id, stored_before)
    return is_gone


def remove_chunks(database: Database[dict[str, Any]], file_id: Any, stored_before: datetime) -> None:
    """Remove the chunks of a file that has no entry, but for those written at `stored_before` or later."""
    database.fs.chunks.delete_many({"files_id": file_id, "uploadDate": {"$not": {"$gte": stored_before}}})


def _renewed(database: Database[dict[str, Any]], file_id: Any) -> bool:
    """Whether the file is there; it then counts as stored now, so that nobody removes it as one that nobody wants."""
    now = by_the_stores_clock()
    if database.fs.files.find_one({"_id": file_id, "uploadDate": {"$gt": now - UNCLAIMED_AGE / 2}}, {"_id": True}):
        return True  # new enough: a write for each of a run's sources would take its start half a second
    return database.fs.files.update_one({"_id": file_id}, {"$set": {"uploadDate": now}}).matched_count == 1


def _entry_of(filename: str, content: bytes, content_type: str) -> dict[str, Any]:
    """What fs.files says of a file beside its id and date."""
    return {
        "filename": filename,
        "length": len(content),
        "chunkSize": CHUNK_BYTES,
        "contentType": content_type,
        "metadata": {"sha256": hashlib.sha256(content).hexdigest()},
    }


def _chunks_of(file_id: Any, entry: Mapping[str, Any], content: bytes, now: datetime) -> Iterator[Update]:
    for number, start in enumerate(range(0, len(content), entry["chunkSize"])):
        data = content[start : start + entry["chunkSize"]]
        yield {"files_id": file_id, "n": number}, {"$set": {"data": data, "uploadDate": now}}


def _upsert(database: Database[dict[str, Any]], collection: str, key: dict[str, Any], values: dict[str, Any]) -> None:
    try:
        database[collection].update_one(key, values, upsert=True)
    except DuplicateKeyError:  # another process wrote the same bytes in between
        database[collection].update_one(key, values)
