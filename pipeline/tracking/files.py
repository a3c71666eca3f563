"""Files in GridFS, written so that writing one again, after an interruption or by two at once, does no harm.

PyMongo's own GridFS writer fails or doubles chunks when an upload is repeated; here a file's id decides all that is
written, every write is an upsert, and the entry in fs.files, without which no reader sees the file, comes last.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

CHUNK_BYTES = 255 * 1024


def content_id(filename: str, content: bytes) -> ObjectId:
    """The id of a file that is stored once however many runs have it: from its name and content."""
    return ObjectId(hashlib.sha256(filename.encode() + b"\0" + content).digest()[:12])


def put_file(
    database: Database[dict[str, Any]], file_id: ObjectId, filename: str, content: bytes, content_type: str
) -> None:
    """Store `content` under `file_id`, unless it is there already.

    Raises:
        PyMongoError: the store cannot be reached; call again later.
    """
    if database.fs.files.find_one({"_id": file_id}, {"_id": True}):
        return
    for number, start in enumerate(range(0, len(content), CHUNK_BYTES)):
        _upsert(
            database,
            "fs.chunks",
            {"files_id": file_id, "n": number},
            {"data": content[start : start + CHUNK_BYTES]},
        )
    entry = {
        "filename": filename,
        "length": len(content),
        "chunkSize": CHUNK_BYTES,
        "uploadDate": datetime.now(UTC),
        "contentType": content_type,
        "metadata": {"sha256": hashlib.sha256(content).hexdigest()},
    }
    _upsert(database, "fs.files", {"_id": file_id}, entry)


def put_content(database: Database[dict[str, Any]], filename: str, path: Path) -> ObjectId:
    """Store the text file at `path` once for all runs that have it; its id."""
    content = path.read_bytes()
    file_id = content_id(filename, content)
    put_file(database, file_id, filename, content, "text/plain")
    return file_id


def _upsert(database: Database[dict[str, Any]], collection: str, key: dict[str, Any], values: dict[str, Any]) -> None:
    try:
        database[collection].update_one(key, {"$set": values}, upsert=True)
    except DuplicateKeyError:  # another process wrote the same bytes in between
        database[collection].update_one(key, {"$set": values})
