"""What the embedded store's server reads of its documents: of each no more than the question is about.

SecantusDB decodes every document that a question without an index looks at, whole, into Python's objects, which is most
of what a list of runs costs, and holds all of them at once. Here a document is cut down, as bytes, to the fields that
the filter and the order name; what is left out is passed over by its length. What a projection
shows, or does not hide, is cut out likewise, and sent as it is.

Loaded by `pipeline.tracking.server`, so it imports nothing of the pipeline.
"""

import operator
import struct
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
from wiredtiger.intpacking import pack_int, unpack_int
from wiredtiger.packing import pack

Paths = dict[bytes, Any]
"""Field -> the paths below it, or None for all of it."""
Row = tuple[int, bytes]
"""A document's place among those inserted, and its frame: the length of its id's key, in four bytes, the key, itself.
Most are looked into and passed over, so they are not copied out of their frames."""
PartOf = Callable[[bytes], dict[str, Any] | None]
Cut = tuple[Paths, bool]
"""What a projection names, and whether it hides that."""
Found = tuple[dict[str, Any], bytes]
"""What was looked at of a document, and what is shown of it."""

PORTION = 500
"""Documents that are in memory at once while a collection is searched."""
LOOKED_AT = 1000
"""Of the first documents in the order that is asked for, before an index is."""
AFTER_EVERY_ID = b"\xff" * 8
"""A key's first byte is its type's, which is lower."""
# BSON's element types by the bytes of their values (bsonspec.org, version 1.1).
_FIXED = {6: 0, 8: 1, 9: 8, 10: 0, 1: 8, 7: 12, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
_COUNTED = {2: 4, 13: 4, 14: 4, 12: 16, 3: 0, 4: 0, 15: 0, 5: 5}
"""Type -> the bytes of a value beside those that the length in its first four bytes tells."""
_EMBEDDED, _REGEX = 3, 11
_LENGTH = struct.Struct("<i").unpack_from
_PLAIN = (int, str, ObjectId)
"""Types whose values are equal in MongoDB where they are in Python."""
_NUMBERS = (int, float)
_BOUNDS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
PlainCondition = tuple[list[str], tuple[type, ...], Callable[[Any], bool]]
"""A path, and for values of these types there what has to hold."""


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
        asked, cut = named_paths(filter or {}), _cut_of(projection)
        if asked is None or any(special.values()) or not self._is_plain(db, coll):
            whole: list[dict[str, Any]] = super().find_matching(
                db, coll, filter, skip=skip, limit=limit, sort=sort, projection=projection, let=let, **special
            )
            return whole
        self._refresh_read_snapshot()
        part_of = _matcher(filter or {}, _joined(asked, _paths(sort or ())))
        end = skip + limit if limit > 0 else None
        to_sort = sort
        if sort and list(sort) == ["_id"] and limit > 0:
            candidates = self._in_order_of_ids(db, coll, filter or {}, part_of, backwards=sort["_id"] < 0)
            to_sort = None
        else:
            candidates = self._candidates(db, coll, filter or {})
        shown_of = _shower(projection, cut, filter, has_sort=bool(sort))
        found = ((part, shown_of(frame)) for frame in candidates if (part := part_of(frame)) is not None)
        chosen = _sorted(list(found), to_sort)[skip:end] if to_sort else list(islice(found, skip, end))
        left = projection if cut is None else None
        # The command `find`, which alone asks with bounds, sends what it is given; others change or look into it.
        opened: Callable[[bytes], Any] = RawBSONDocument if "min_bound" in special and not left else bson.decode
        documents = [opened(blob) for _, blob in chosen]
        return apply_projection_batch(documents, left, filter, has_sort=bool(sort)) if left else documents

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
        if asked is None or any(special.values()) or not self._is_plain(db, coll):
            return int(super().count_matching(db, coll, filter, let=let, **special))
        self._refresh_read_snapshot()
        if not filter:
            return sum(1 for _ in self._ordered(db, coll, backwards=False))
        part_of = _matcher(filter, asked)
        return sum(part_of(frame) is not None for frame in self._candidates(db, coll, filter))

    def _is_plain(self, db: str, coll: str) -> bool:
        """Whether it is a collection of documents, read outside a transaction."""
        is_view = self._is_oplog_rs(db, coll) or self._is_system_users(db, coll) or self._is_system_version(db, coll)
        return not is_view and getattr(self._tls, "user_txn", None) is None

    def _candidates(self, db: str, coll: str, query: dict[str, Any]) -> Iterator[bytes]:
        """The documents that an index leads to; without one all, in the order in which they were inserted."""
        return (frame for _, frame in self._rows(db, coll, query))

    def _rows(self, db: str, coll: str, query: dict[str, Any]) -> Iterator[Row]:
        with self._lock:
            led_to = self._try_index_id_keys(db, coll, query)
        rows = self._scanned(db, coll) if led_to is None else self._rows_at(db, coll, dict.fromkeys(led_to))
        while True:
            with self._lock:  # which writers wait for
                portion = list(islice(rows, PORTION))
            yield from portion
            if len(portion) < PORTION:
                return

    def _in_order_of_ids(
        self, db: str, coll: str, query: dict[str, Any], part_of: PartOf, backwards: bool
    ) -> Iterator[bytes]:
        """The documents that may match, from one end of the ids: for those who want only so many of them.

        Most of what is asked for is among the first, and is found there before all that match have been.
        """
        record_ids = self._ordered(db, coll, backwards)
        if query:
            seen = set()
            for record_id in islice(record_ids, 0 if _names_ids(query) else LOOKED_AT):
                seen.add(record_id)
                yield from self._at(db, coll, [record_id])
            keys = {
                record_id: frame[4 : _start(frame)]
                for record_id, frame in self._rows(db, coll, query)
                if record_id not in seen and part_of(frame) is not None
            }
            record_ids = iter(sorted(keys, key=keys.__getitem__, reverse=backwards))
        yield from self._at(db, coll, record_ids)

    def _ordered(self, db: str, coll: str, backwards: bool) -> Iterator[int]:
        """The record ids of all documents in the order of their ids, which those of their keys is."""
        key = AFTER_EVERY_ID if backwards else b""
        while True:
            with self._lock:
                portion = list(islice(self._ordered_after(db, coll, key, backwards), PORTION))
            yield from (record_id for _, record_id in portion)
            if len(portion) < PORTION:
                return
            key = portion[-1][0]

    def _ordered_after(self, db: str, coll: str, key: bytes, backwards: bool) -> Iterator[tuple[bytes, int]]:
        cursor, head = self._cursor(storage._NAT_SEQ_TABLE), pack("SS", db, coll)
        sought = head + key if backwards else head + key + b"\0"
        for found in _keys_from(cursor, sought, head, backwards):
            yield found[len(head) :], unpack_int(cursor._get_value())[0]

    def _at(self, db: str, coll: str, record_ids: Iterable[int]) -> Iterator[bytes]:
        for record_id in record_ids:
            with self._lock:
                rows = list(self._rows_at(db, coll, [record_id]))
            yield from (frame for _, frame in rows)

    def _rows_at(self, db: str, coll: str, record_ids: Iterable[int]) -> Iterator[Row]:
        cursor, head = self._cursor_optional(storage._doc_table_for(db, coll)), pack("SS", db, coll)
        for record_id in record_ids if cursor is not None else ():
            _place(cursor, head + pack_int(record_id))
            if cursor.search() == 0:
                yield record_id, cursor._get_value()

    def _scanned(self, db: str, coll: str) -> Iterator[Row]:
        """Every document; each portion finds its place anew, as the thread's other reads move its cursor."""
        start = storage._INT64_MIN
        while True:
            number = 0
            for row in islice(self._scan_after(db, coll, start), PORTION):
                number, start = number + 1, row[0] + 1
                yield row
            if number < PORTION:
                return

    def _scan_after(self, db: str, coll: str, start: int) -> Iterator[Row]:
        """As the overridden class's `_scan_docs`, from a record's id on."""
        cursor = self._cursor_optional(storage._doc_table_for(db, coll))
        if cursor is None:
            return
        head = pack("SS", db, coll)
        for key in _keys_from(cursor, head + pack_int(start), head):
            yield unpack_int(key[len(head) :])[0], cursor._get_value()

    def _scan_index_for_id_keys(self, db: str, coll: str, name: str, kb: bytes, *, prefix: bool = False) -> list[int]:
        """As the overridden method, which unpacks the whole of every key: a record's id is its last eight bytes."""
        cursor = self._cursor(storage._IDX_ENTRIES_TABLE)
        sought = pack("SSS", db, coll, name) + storage._escape_kb(kb) + (b"" if prefix else storage._ENTRY_SEP)
        return [int.from_bytes(key[-8:], "big", signed=True) for key in _keys_from(cursor, sought, sought)]


def _place(cursor: Any, key: bytes) -> None:
    """As `set_key`, of a key that is packed already.

    WiredTiger packs and unpacks in Python, field by field: two fifths of the time that reading many documents took.
    """
    cursor._key = key  # WiredTiger reads it where it lies
    cursor._set_key(key)


def _keys_from(cursor: Any, sought: bytes, head: bytes, backwards: bool = False) -> Iterator[bytes]:
    """The packed keys that begin with `head`, from `sought` on; backwards those before it."""
    _place(cursor, sought)
    position = cursor.search_near()
    step = cursor.prev if backwards else cursor.next
    if position == storage.wt.WT_NOTFOUND or ((position >= 0 if backwards else position < 0) and step() != 0):
        return
    while (key := cursor._get_key()).startswith(head):
        yield key
        if step() != 0:
            return


def _names_ids(query: Mapping[str, Any]) -> bool:
    return "_id" in query and storage._id_point_lookup_keys(query["_id"]) is not None


def _matcher(query: dict[str, Any], looked_at: Paths) -> PartOf:
    """What is looked at of a document that matches, and None of others."""
    plain, others = _plain_conditions(query)

    def part_of(frame: bytes) -> dict[str, Any] | None:
        storage._deadline.check()
        part = bson.decode(cut_down(frame, looked_at, _start(frame)))
        left = others
        for path, kinds, holds in plain:
            value = _value_at(part, path)
            if type(value) not in kinds:  # it may match all the same: a list that has one of them, a float
                left = query
            elif not holds(value):
                return None
        return part if not left or matches(part, left) else None

    return part_of


def _plain_conditions(query: Mapping[str, Any]) -> tuple[list[PlainCondition], dict[str, Any]]:
    """The conditions that Python decides as MongoDB does for values of some types, and the rest of the filter.

    SecantusDB compares with one value after the other, for each of the hundreds of documents that are asked for by id.
    """
    plain: list[PlainCondition] = []
    others: dict[str, Any] = {}
    for name, asked in query.items():
        operators = asked if isinstance(asked, Mapping) else {"$eq": asked}
        tests = [_plain_test(one, bound) for one, bound in operators.items()]
        known = [test for test in tests if test is not None]
        if name.startswith("$") or not known or len(known) < len(tests):
            others[name] = asked
        else:
            plain += [(name.split("."), kinds, holds) for kinds, holds in known]
    return plain, others


def _plain_test(name: str, bound: Any) -> tuple[tuple[type, ...], Callable[[Any], bool]] | None:
    """The types of values that it is for, and itself."""
    if name in _BOUNDS and type(bound) in _NUMBERS and bound == bound:  # which NaN is not
        compare = _BOUNDS[name]
        return _NUMBERS, lambda value: compare(value, bound)
    values = bound if name == "$in" else [bound]
    if name in ("$in", "$eq") and isinstance(values, list) and all(type(value) in _PLAIN for value in values):
        return _PLAIN, frozenset(values).__contains__
    return None


def _shower(
    projection: Mapping[str, Any] | None, cut: Cut | None, query: Mapping[str, Any] | None, has_sort: bool
) -> Callable[[bytes], bytes]:
    """What is shown of a document: of named paths those, or all but those, else all of it."""
    if cut is None:
        return lambda frame: frame[_start(frame) :]
    paths, hides = cut

    def shown_of(frame: bytes) -> bytes:
        try:
            return cut_down(frame, paths, _start(frame), is_exact=True, hides=hides)
        except _LeadsNowhereError:
            whole = [bson.decode(frame[_start(frame) :])]
            projected: bytes = bson.encode(apply_projection_batch(whole, projection, query, has_sort=has_sort)[0])
            return projected

    return shown_of


def _sorted(found: list[Found], order: Mapping[str, Any]) -> list[Found]:
    """In this order: by Python itself where it compares all of their values as MongoDB does."""
    paths = [name.split(".") for name in order]
    keys = {id(part): tuple(_value_at(part, path) for path in paths) for part, _ in found}
    kinds = [{type(value) for value in column} for column in zip(*keys.values(), strict=True)]
    if all(kind in ({int}, {str}) for kind in kinds) and set(order.values()) in ({1}, {-1}):
        return sorted(found, key=lambda one: keys[id(one[0])], reverse=-1 in order.values())
    rows = {id(part): (part, blob) for part, blob in found}
    return [rows[id(part)] for part in sort_docs([part for part, _ in found], order)]


def _start(frame: bytes) -> int:
    """Where its document begins."""
    length: int = _LENGTH(frame)[0]
    return 4 + length


def _value_at(part: Any, path: list[str]) -> Any:
    for name in path:
        if type(part) is not dict:
            return None
        part = part.get(name)
    return part


def named_paths(query: Mapping[str, Any]) -> Paths | None:
    """The paths that a filter names; None where it is not only about fields (`$expr`, `$where`, `$text`, …)."""
    found: list[Paths] = [{b"_id": None}]
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


class _LeadsNowhereError(Exception):
    """A path goes on at a value that is no document."""


def cut_down(document: bytes, paths: Paths, start: int = 0, is_exact: bool = False, hides: bool = False) -> bytes:
    """The document, in BSON from `start` on, without the fields that no path leads to; with `hides` without the others.

    Arrays that a path leads into are kept whole, and other values at which it goes on as well.

    Raises:
        _LeadsNowhereError: there is such a value, and it shall be exactly what the paths lead to, or leave.
    """
    kept, left = [], len(paths)
    position, end = start + 4, start + _LENGTH(document, start)[0] - 1
    while position < end and left:
        kind = document[position]
        name_end = document.index(0, position + 1)
        size = _FIXED.get(kind)
        if size is not None:
            value_end = name_end + 1 + size
        elif kind == _REGEX:
            value_end = document.index(0, document.index(0, name_end + 1) + 1) + 1
        else:
            value_end = name_end + 1 + _COUNTED[kind] + _LENGTH(document, name_end + 1)[0]
        name = document[position + 1 : name_end]
        if name in paths:
            left -= 1
            below = paths[name]
            if below is not None and kind == _EMBEDDED:
                kept += [document[position : name_end + 1], cut_down(document, below, name_end + 1, is_exact, hides)]
            elif below is not None and is_exact:
                raise _LeadsNowhereError
            elif not hides:
                kept.append(document[position:value_end])
        elif hides:
            kept.append(document[position:value_end])
        position = value_end
    if hides:
        kept.append(document[position:end])
    content = b"".join(kept)
    return (len(content) + 5).to_bytes(4, "little") + content + b"\0"


def _cut_of(projection: Mapping[str, Any] | None) -> Cut | None:
    """The paths that a projection shows, or those that it hides; None where it does both, or computes."""
    values = list((projection or {}).values())
    if values and all(value in (True, 1.0) for value in values):  # which 1 equals, too
        return _joined(_paths(projection or ()), {b"_id": None}), False
    if values and all(value in (False, 0.0) for value in values):
        return _paths(projection or ()), True
    return None


def _paths(dotted: Iterable[str]) -> Paths:
    found: Paths = {}
    for path in dotted:
        found = _joined(found, _nested(path))
    return found


def _nested(path: str) -> Paths:
    first, _, rest = path.partition(".")
    return {first.encode(): _nested(rest) if rest else None}


def _joined(*several: Paths) -> Paths:
    """All of these paths; one that ends contains those that go on from it."""
    joined: Paths = {}
    for paths in several:
        for name, below in paths.items():
            known = joined.get(name, {})
            joined[name] = None if below is None or known is None else _joined(known, below)
    return joined
