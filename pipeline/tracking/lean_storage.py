"""What the embedded store's server reads of its documents: of each no more than the question is about.

SecantusDB decodes every document that a question without an index looks at, whole, into Python's objects, which is most
of what a list of runs costs, and holds all of them at once. Here a document is cut down, as bytes, to the fields that
the filter and the order name; what is left out is passed over by its length.

Loaded by `pipeline.tracking.server`, so it imports nothing of the pipeline.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from secantus import storage
from secantus.ordering import sort_docs
from secantus.projection import apply_projection_batch
from secantus.query import matches

Paths = dict[str, Any]
"""Field -> the paths below it, or None for all of it."""

PORTION = 500
"""Documents that are in memory at once while a collection is searched."""
_EMBEDDED, _ARRAY = 3, 4
# BSON's element types by the bytes of their values (bsonspec.org, version 1.1).
_FIXED = {6: 0, 8: 1, 9: 8, 10: 0, 1: 8, 7: 12, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
_COUNTED = {2: 4, 13: 4, 14: 4, 12: 16, 3: 0, 4: 0, 15: 0, 5: 5}
"""Type -> the bytes of a value beside those that the length in its first four bytes tells."""
_REGEX = 11
_PLAIN = (int, str, ObjectId)
"""Types whose values are equal in MongoDB where they are in Python."""


class LeanStorage(storage.Storage):  # type: ignore[misc]  # it has no types
    """SecantusDB's storage, whose reads look at no more of a document than they have to."""

    def find_matching(
        self,
        db: str,
        coll: str,
        filter: dict[str, Any] | None = None,
        *,
        skip: int = 0,
        limit: int = 0,
        sort: Mapping[str, Any] | None = None,
        projection: Mapping[str, Any] | None = None,
        let: dict[str, Any] | None = None,
        **special: Any,
    ) -> list[dict[str, Any]]:
        """As the overridden method; a question with a hint, a collation or bounds is left to it."""
        asked, shown = named_paths(filter or {}), _shown_paths(projection)
        if asked is None or any(special.values()) or not self._is_plain(db, coll):
            whole: list[dict[str, Any]] = super().find_matching(
                db, coll, filter, skip=skip, limit=limit, sort=sort, projection=projection, let=let, **special
            )
            return whole
        self._refresh_read_snapshot()
        looked_at = _joined(asked, _paths(sort or ()), shown or {})
        found = self._found(db, coll, filter or {}, looked_at, keeps_bytes=shown is None)
        end = skip + limit if limit > 0 else None
        if sort:
            rows = {id(part): (part, blob) for part, blob in found}
            ordered = sort_docs([part for part, _ in rows.values()], sort)
            chosen = [rows[id(part)] for part in ordered[skip:end]]
        else:
            chosen = list(islice(found, skip, end))
        # The command `find`, which alone asks with bounds, sends what it is given; others change or look into it.
        opened: Callable[[bytes], Any] = RawBSONDocument if "min_bound" in special and not projection else bson.decode
        documents = [part if blob is None else opened(blob) for part, blob in chosen]
        return apply_projection_batch(documents, projection, filter, has_sort=bool(sort)) if projection else documents

    def count_matching(
        self,
        db: str,
        coll: str,
        filter: dict[str, Any] | None = None,
        let: dict[str, Any] | None = None,
        **special: Any,
    ) -> int:
        """As the overridden method."""
        asked = named_paths(filter or {})
        if not filter or asked is None or any(special.values()) or not self._is_plain(db, coll):
            return int(super().count_matching(db, coll, filter, let=let, **special))
        self._refresh_read_snapshot()
        return sum(1 for _ in self._found(db, coll, filter, asked, keeps_bytes=False))

    def _is_plain(self, db: str, coll: str) -> bool:
        """Whether it is a collection of documents, read outside a transaction."""
        is_view = self._is_oplog_rs(db, coll) or self._is_system_users(db, coll) or self._is_system_version(db, coll)
        return not is_view and getattr(self._tls, "user_txn", None) is None

    def _found(
        self, db: str, coll: str, query: dict[str, Any], looked_at: Paths, keeps_bytes: bool
    ) -> Iterator[tuple[dict[str, Any], bytes | None]]:
        """What is looked at of each document that matches, and with `keeps_bytes` the whole of it."""
        lists, others = _lists_of_values(query)
        for blob in self._candidates(db, coll, query):
            storage._deadline.check()
            part = bson.decode(cut_down(blob, looked_at))
            is_listed = all(type(part.get(name)) in _PLAIN and part[name] in values for name, values in lists.items())
            left = others if is_listed else query
            if not left or matches(part, left):
                yield part, blob if keeps_bytes else None

    def _candidates(self, db: str, coll: str, query: dict[str, Any]) -> Iterator[bytes]:
        """The documents that an index leads to; without one all, in the order in which they were inserted."""
        with self._lock:
            led_to = self._try_index_id_keys(db, coll, query)
        rows = self._scanned(db, coll) if led_to is None else self._at(db, coll, dict.fromkeys(led_to))
        while True:
            with self._lock:  # which writers wait for
                portion = list(islice(rows, PORTION))
            yield from portion
            if len(portion) < PORTION:
                return

    def _at(self, db: str, coll: str, record_ids: Iterable[int]) -> Iterator[bytes]:
        cursor = self._cursor_optional(storage._doc_table_for(db, coll))
        for record_id in record_ids if cursor is not None else ():
            cursor.reset()
            cursor.set_key(db, coll, record_id)
            if cursor.search() == 0:
                yield storage._unframe_doc_value(bytes(cursor.get_value()))[1]

    def _scanned(self, db: str, coll: str) -> Iterator[bytes]:
        """Every document; each portion finds its place anew, as the thread's other reads move its cursor."""
        start = storage._INT64_MIN
        while True:
            number = 0
            for record_id, blob in islice(self._scan_after(db, coll, start), PORTION):
                number, start = number + 1, record_id + 1
                yield blob
            if number < PORTION:
                return

    def _scan_after(self, db: str, coll: str, start: int) -> Iterator[tuple[int, bytes]]:
        """As the overridden class's `_scan_docs`, from a record's id on."""
        cursor = self._cursor_optional(storage._doc_table_for(db, coll))
        if cursor is None:
            return
        cursor.set_key(db, coll, start)
        position = cursor.search_near()
        if position == storage.wt.WT_NOTFOUND or (position < 0 and cursor.next() != 0):
            return
        while (key := cursor.get_key())[0] == db and key[1] == coll:
            yield int(key[2]), storage._unframe_doc_value(bytes(cursor.get_value()))[1]
            if cursor.next() != 0:
                return


def named_paths(query: Mapping[str, Any]) -> Paths | None:
    """The paths that a filter names; None where it is not only about fields (`$expr`, `$where`, `$text`, …)."""
    found: list[Paths] = [{"_id": None}]
    for key, value in query.items():
        if not key.startswith("$"):
            found.append(_paths([key]))
            continue
        if key not in ("$and", "$or", "$nor") or not isinstance(value, list):
            return None
        for one in value:
            named = named_paths(one) if isinstance(one, Mapping) else None
            if named is None:
                return None
            found.append(named)
    return _joined(*found)


def _lists_of_values(query: Mapping[str, Any]) -> tuple[dict[str, frozenset[Any]], dict[str, Any]]:
    """The fields that shall have one of some plain values, as sets, and the rest of the filter.

    SecantusDB compares with one value after the other, for each of the hundreds of documents that are asked for by id.
    """
    lists = {
        name: frozenset(asked["$in"])
        for name, asked in query.items()
        if isinstance(asked, Mapping)
        and asked.keys() == {"$in"}
        and isinstance(asked["$in"], list)
        and all(type(value) in _PLAIN for value in asked["$in"])
        and not name.startswith("$")
        and "." not in name
    }
    return lists, {name: asked for name, asked in query.items() if name not in lists}


def cut_down(document: bytes, paths: Paths) -> bytes:
    """The document, in BSON, without the fields that no path leads to; arrays that one leads into are kept whole."""
    kept, left = [], len(paths)
    position, end = 4, len(document) - 1
    while position < end and left:
        name_end = document.index(0, position + 1)
        value_end = _end_of_value(document, document[position], name_end + 1)
        name = document[position + 1 : name_end].decode()
        if name in paths:
            left -= 1
            below = paths[name]
            if below is None or document[position] != _EMBEDDED:
                kept.append(document[position:value_end])
            else:
                kept += [document[position : name_end + 1], cut_down(document[name_end + 1 : value_end], below)]
        position = value_end
    content = b"".join(kept)
    return (len(content) + 5).to_bytes(4, "little") + content + b"\0"


def _end_of_value(document: bytes, kind: int, start: int) -> int:
    if (size := _FIXED.get(kind)) is not None:
        return start + size
    if kind == _REGEX:
        return document.index(0, document.index(0, start) + 1) + 1
    return start + int.from_bytes(document[start : start + 4], "little") + _COUNTED[kind]


def _shown_paths(projection: Mapping[str, Any] | None) -> Paths | None:
    """The paths that a projection shows; None where it takes some away, or computes."""
    if not projection or not all(value is True or value in (1, 1.0) for value in projection.values()):
        return None
    return _paths(projection)


def _paths(dotted: Iterable[str]) -> Paths:
    found: Paths = {}
    for path in dotted:
        found = _joined(found, _nested(path))
    return found


def _nested(path: str) -> Paths:
    first, _, rest = path.partition(".")
    return {first: _nested(rest) if rest else None}


def _joined(*several: Paths) -> Paths:
    """All of these paths; one that ends contains those that go on from it."""
    joined: Paths = {}
    for paths in several:
        for name, below in paths.items():
            known = joined.get(name, {})
            joined[name] = None if below is None or known is None else _joined(known, below)
    return joined
