"""What a backup may hold: all that a store would refuse, or could not go on from, is found before anything is written.

A backup may come from anybody, and its checksums are of its own making.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from bson import ObjectId, decode

from pipeline.runs.registry import is_model
from pipeline.tracking.environment import ENVIRONMENTS, environment_id
from pipeline.tracking.gridfs import has_mark, is_ours
from pipeline.tracking.store import MAX_RUN_ID

if TYPE_CHECKING:
    from pipeline.runs.backup.archive import Archive

LARGEST_DOCUMENT = 16 * 2**20 - 64 * 2**10
"""Bytes; MongoDB's bound is 16 MiB, and what is restored may grow by an entry or two."""
LARGEST_CHUNK = 8 * 2**20
SMALLEST_CHUNK = 2**10
LARGEST_CHUNK_OF_OTHERS = 15 * 2**20
MOST_CHUNKS = 10**6
LONGEST_ID = 200
LARGEST_RUN_ID = MAX_RUN_ID // 2
"""New runs go on from the largest id that was restored: half of all ids are left for them."""
LONGEST_NAME = 200
"""Bytes of a collection's; MongoDB's bound is 255, the database's name included."""

_OWN = ("runs", "metrics", "fs.files")


def check_contents(archive: "Archive") -> None:
    """Look at every document once.

    Raises:
        ValueError: with what is wrong, in words.
    """
    for name in archive.documents_of:
        if not is_collection(name):
            raise ValueError(f"no store has a collection {name[:40]!r}")
    run_ids = _check_runs(archive.documents("runs"))
    _check_metrics(archive.documents("metrics"), run_ids)
    _check_files(archive)
    for name in archive.documents_of:
        if name not in _OWN:
            for document in archive.documents(name):
                check_document(name, document)


def check_document(collection: str, document: Mapping[str, Any]) -> None:
    """Look at a document by itself, but for its length.

    Raises:
        ValueError: with what is wrong, in words.
    """
    if isinstance(document.get("_id"), list | re.Pattern) or document.get("_id") is None:
        raise ValueError(f"a document of {collection} has an id that no store takes")
    if any(key.startswith("$") for key in document):
        raise ValueError(f"a document of {collection} has a key that no store takes")
    if collection in _CHECKS:
        _CHECKS[collection](document)


def check_length(collection: str, length: int) -> None:
    """Look at how many bytes a document has.

    Raises:
        ValueError: with what is wrong, in words.
    """
    if length > LARGEST_DOCUMENT:
        raise ValueError(f"a document of {collection} is larger than a store takes")


def is_collection(name: str) -> bool:
    """Whether a backup may hold a collection of this name, which may be another program's; chunks come as files."""
    is_hidden = name.startswith((".", "system.")) or name == "fs.chunks"
    return 0 < len(name.encode()) <= LONGEST_NAME and not is_hidden and not set(name) & set("$/\\\0")


def is_run_id(value: Any) -> bool:
    """Whether a backup may hold a run with this id."""
    if isinstance(value, str):
        return 0 < len(value) <= LONGEST_ID
    return isinstance(value, ObjectId) or (_is_whole(value) and 0 < value <= LARGEST_RUN_ID)


def _check_runs(documents: Iterable[dict[str, Any]]) -> set[Any]:
    """The ids of the runs."""
    run_ids: set[Any] = set()
    uids: set[str] = set()
    for document in documents:
        check_document("runs", document)
        run_id, uid = document["_id"], document.get("uid")
        if run_id in run_ids or uid in uids:
            raise ValueError(f"run {run_id} is there twice")
        run_ids.add(run_id)
        uids |= set() if uid is None else {uid}
    return run_ids


def _check_run(document: Mapping[str, Any]) -> None:
    run_id, uid = document["_id"], document.get("uid")
    if not is_run_id(run_id):
        raise ValueError(f"no store can count on from a run with the id {str(run_id)[:40]!r}")
    if uid is not None and not (isinstance(uid, str) and 0 < len(uid) <= LONGEST_ID):
        raise ValueError(f"the uid of run {run_id} is no text")


def _check_metrics(documents: Iterable[dict[str, Any]], run_ids: set[Any]) -> None:
    known: set[tuple[Any, str]] = set()
    ids: set[Any] = set()
    for document in documents:
        check_document("metrics", document)
        run_id, name = document["run_id"], document["name"]
        if run_id not in run_ids:
            raise ValueError(f"the series {name[:40]} is of no run")
        key = run_id, name
        if key in known or document["_id"] in ids:
            raise ValueError(f"a series of run {run_id} is there twice")
        known.add(key)
        ids.add(document["_id"])


def _check_series(document: Mapping[str, Any]) -> None:
    if not (is_run_id(document.get("run_id")) and isinstance(document.get("name"), str)):
        raise ValueError(f"the series {str(document['_id'])[:40]} is of no run, or has no name")
    if not isinstance(document["_id"], Hashable):
        raise ValueError(f"the series {document['name'][:40]} has an id that no store takes")


def _check_files(archive: "Archive") -> None:
    for file_id, raw in archive.file_entries().items():
        entry = decode(raw)
        check_document("fs.files", entry)
        content_length = archive.length_of(file_id)
        if content_length is not None and content_length != entry.get("length"):
            raise ValueError(f"the file {str(file_id)[:40]} is not as long as it says")


def _check_entry(entry: Mapping[str, Any]) -> None:
    file_id, metadata, name = entry["_id"], entry.get("metadata"), entry.get("filename")
    if not isinstance(file_id, Hashable):
        raise ValueError("a stored file has an id that no store takes")
    if not isinstance(metadata, Mapping | None) or not isinstance(name, str if has_mark(entry) else str | None):
        raise ValueError(f"the entry of the file {str(file_id)[:40]} is none that a store has")
    size = entry.get("chunkSize")
    if not (_is_whole(size) and _is_chunk(size, is_ours(entry), entry.get("length"))):
        raise ValueError(f"the file {str(file_id)[:40]} has chunks of {size!r} bytes")


def _is_chunk(size: int, has_our_mark: bool, length: Any) -> bool:
    """Whether a file may be stored in chunks of so many bytes; other programs have theirs as they like."""
    if has_our_mark:
        return SMALLEST_CHUNK <= size <= LARGEST_CHUNK
    return 0 < size <= LARGEST_CHUNK_OF_OTHERS and _is_whole(length) and length <= MOST_CHUNKS * size


def _check_model(document: Mapping[str, Any]) -> None:
    if not is_model(document):
        raise ValueError(f"the model {str(document['_id'])[:40]} has no history")


def _check_environment(document: Mapping[str, Any]) -> None:
    sources, packages = document.get("sources"), document.get("dependencies")
    named = f"the environment {str(document['_id'])[:40]}"
    if not (isinstance(sources, list) and all(map(_is_source, sources))):
        raise ValueError(f"{named} has no list of sources")
    if not (isinstance(packages, list) and all(isinstance(one, str) for one in packages)):
        raise ValueError(f"{named} has no list of packages")
    if environment_id(sources, packages) != document["_id"]:
        raise ValueError(f"{named} is not what its id says")


def _check_counter(document: Mapping[str, Any]) -> None:
    last = document.get("last")
    if document["_id"] == "runs" and not (_is_whole(last) and 0 <= last <= LARGEST_RUN_ID):
        raise ValueError(f"no store can count on from {last!r}")


def _is_source(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and isinstance(value[0], str) and isinstance(value[1], ObjectId)


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "runs": _check_run,
    "metrics": _check_series,
    "fs.files": _check_entry,
    "models": _check_model,
    "counters": _check_counter,
    ENVIRONMENTS: _check_environment,
}
"""Collection -> what its documents have to be besides."""
