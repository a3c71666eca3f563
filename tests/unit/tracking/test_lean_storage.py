"""What the embedded store's server reads of its documents, beside what it would read of them whole."""

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.dbref import DBRef
from bson.raw_bson import RawBSONDocument
from secantus import storage
from secantus.storage import Storage

from pipeline.tracking import lean_storage
from pipeline.tracking.lean_storage import LeanStorage, cut_down, named_paths

PORTION = 40
LOOKED_AT = 25
RUNS = 2 * PORTION + 20

EVERY_TYPE = {
    "double": 1.5,
    "text": "ein Täxt",
    "document": {"a": {"b": 1, "c": [1, {"d": 2}]}, "e": None},
    "array": [1, {"a": 2}, []],
    "bytes": b"\0\1",
    "other bytes": Binary(b"xyz", 2),
    "id": ObjectId(),
    "yes": True,
    "time": datetime(2026, 11, 27, tzinfo=UTC),
    "nothing": None,
    "pattern": Regex("^a\\.b$", "i"),
    "code": Code("f()"),
    "scoped": Code("f()", {"x": 1}),
    "reference": DBRef("runs", 3),
    "int": 7,
    "long": Int64(2**40),
    "decimal": Decimal128("1.5"),
    "timestamp": Timestamp(1, 2),
    "least": MinKey(),
    "most": MaxKey(),
}


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_a_field_of_any_type_is_kept_as_it_is(name: str) -> None:
    assert cut_down(bson.encode(EVERY_TYPE), {name.encode(): None}) == bson.encode({name: EVERY_TYPE[name]})


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_a_field_of_any_type_is_passed_over(name: str) -> None:
    document = {name: EVERY_TYPE[name], "last": 1}
    assert cut_down(bson.encode(document), {b"last": None}) == bson.encode({"last": 1})


def test_of_a_document_within_a_document_only_the_named_path_is_kept() -> None:
    document = bson.encode({"config": {"model": {"width": 3, "depth": 4}, "seed": 1}, "info": {"x": 1}})
    assert bson.decode(cut_down(document, {b"config": {b"model": {b"width": None}}})) == {
        "config": {"model": {"width": 3}}
    }


def test_an_array_on_the_path_is_kept_whole() -> None:
    document = bson.encode({"trials": [{"id": 1, "x": 2}, {"id": 3}]})
    assert cut_down(document, {b"trials": {b"id": None}}) == document


def test_a_filter_that_is_not_about_fields_names_none() -> None:
    assert named_paths({"$expr": {"$eq": ["$a", 1]}}) is None
    assert named_paths({"$and": [{"a": 1}, {"$where": "true"}]}) is None
    assert named_paths({"$or": [{"a.b": 1}, {"a": 2}]}) == {b"_id": None, b"a": None}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LeanStorage, Storage]]:
    """The same documents, more than a portion, in storage of ours and of SecantusDB."""
    stores = [kind(str(tmp_path_factory.mktemp("data")), cache_size="64M") for kind in (LeanStorage, Storage)]
    for store in stores:
        store.create_index("db", "runs", "status", {"status": 1})
        store.insert("db", "runs", _documents())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lean_storage, "PORTION", PORTION)
        patched.setattr(lean_storage, "LOOKED_AT", LOOKED_AT)
        yield stores[0], stores[1]
    for store in stores:
        store.close()


def _documents() -> list[dict[str, Any]]:
    """Ids of several types, in no order."""
    foreign = [{**_document(3), "_id": _id} for _id in ("a text", ObjectId("6" * 24), 7.5)]
    documents = [_document(number) for number in range(RUNS)] + foreign
    random.Random(0).shuffle(documents)  # noqa: S311
    return documents


def _document(number: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "_id": number,
        "status": ["COMPLETED", "FAILED", "RUNNING"][number % 3],
        "config": {"seed": number % 10, "model": {"body": "odenet" if number % 2 else "resnet"}},
        "points": [{"x": number}, {"x": number + 1}],
        "result": None if number % 7 == 0 else number / 1000,
        "text": "x" * 50,
        "names": ["a", "b", ["x", "y"], None][number % 4],
        "number": [1, 2.0, True, "3", Int64(3)][number % 5],
    }
    if number % 5 == 0:
        document["tags"] = ["paper", f"tag {number % 3}"]
    return document


QUERIES: list[dict[str, Any]] = [
    {},
    {"_id": 3},
    {"_id": {"$in": [90, 7, 7, 12_345]}},
    {"_id": {"$in": [1, 2, 3, 4]}, "status": "FAILED"},
    {"_id": {"$type": "number"}, "status": "FAILED"},
    {"config.seed": 3},
    {"config.seed": {"$eq": 3}, "names": {"$eq": "a"}},
    {"config.seed": True},
    {"config.seed": {"$in": [3, 4]}, "config.model.body": "odenet"},
    {"config.seed.none": 3},
    {"number": 3},
    {"names": "a"},
    {"config.seed": 99},
    {"config.seed": {"$gte": 8}, "result": {"$lt": 0.05}},
    {"number": {"$gt": 1, "$lte": 3}},
    {"number": {"$gte": 1}},
    {"points.x": {"$gt": 110}},
    {"result": {"$gte": float("nan")}},
    {"text": {"$gte": 1}},
    {"config": {"$eq": {"seed": 3, "model": {"body": "odenet"}}}},
    {"status": {"$in": ["FAILED"], "$ne": "COMPLETED"}},
    {"status": {}},
    {"config": {"seed": 3, "model": {"body": "odenet"}}},
    {"status": "FAILED"},
    {"status": {"$ne": "COMPLETED"}, "config.model.body": "odenet"},
    {"status": {"$in": ["RUNNING", "FAILED"]}},
    {"points.x": 40},
    {"names": {"$in": ["a", "x"]}},
    {"names": {"$in": ["a", None]}, "status": "FAILED"},
    {"number": {"$in": [1, 2, 3]}},
    {"number": {"$in": [1.0, 3]}, "_id": {"$in": list(range(20))}},
    {"number": {"$in": []}},
    {"points.0.x": 40},
    {"tags": "paper"},
    {"tags": None},
    {"tags": {"$exists": True}},
    {"result": None},
    {"text": {"$regex": "^x+$"}},
    {"text": re.compile("y")},
    {"$or": [{"config.seed": 1}, {"result": {"$gt": 0.09}}]},
    {"$nor": [{"status": "FAILED"}, {"config.seed": {"$lt": 9}}]},
    {"$expr": {"$eq": ["$config.seed", 4]}},
]
PROJECTIONS = [
    None,
    {"_id": True},
    {"config.model.body": 1, "status": 1},
    {"points.x": 1, "config.model": True},
    {"text.none": 1, "config.none": 1},
    {"config.seed": 1, "_id": 0},
    {"points.x": False, "text.none": 0, "_id": 0},
    {"config.model": 0, "points": 0},
]
WINDOWS: list[dict[str, Any]] = [
    {},
    {"limit": 7},
    {"skip": 5, "limit": 7},
    {"sort": {"_id": -1}, "limit": 20},
    {"sort": {"_id": 1}, "skip": 70, "limit": 40},
    {"sort": {"_id": -1}, "limit": 500},
    {"sort": {"result": -1, "_id": 1}, "skip": 3},
    {"sort": {"config.seed": -1}},
    {"sort": {"status": 1, "config.seed": 1}},
    {"sort": {"status": 1, "config.seed": -1}},
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_question_has_the_answer_that_whole_documents_give(
    both: tuple[LeanStorage, Storage], query: dict[str, Any]
) -> None:
    ours, theirs = both
    assert ours.count_matching("db", "runs", query) == theirs.count_matching("db", "runs", query)
    for projection in PROJECTIONS:
        for window in WINDOWS:
            asked = {"projection": projection, **window}
            assert ours.find_matching("db", "runs", query, **asked) == theirs.find_matching(
                "db", "runs", query, **asked
            ), asked


def test_documents_and_parts_of_them_are_sent_as_the_bytes_that_they_are(both: tuple[LeanStorage, Storage]) -> None:
    for projection in (None, {"config.model": True, "status": True}, {"config.model": False, "text": False}):
        asked = {"sort": {"_id": 1}, "limit": 3, "projection": projection}
        found = both[0].find_matching(
            "db", "runs", {"status": "FAILED"}, **asked, min_bound=None
        )  # as the command does
        assert [type(one) for one in found] == [RawBSONDocument] * 3
        whole = both[1].find_matching("db", "runs", {"status": "FAILED"}, **asked)
        assert [bson.encode(one) for one in found] == [bson.encode(one) for one in whole]


def test_a_collection_that_is_not_there_has_no_documents(both: tuple[LeanStorage, Storage]) -> None:
    assert both[0].find_matching("db", "none", {"a": 1}) == []
    assert both[0].count_matching("db", "none", {"a": 1}) == 0


def test_what_is_written_between_two_portions_is_not_lost(both: tuple[LeanStorage, Storage]) -> None:
    found = (bson.decode(storage._unframe_doc_value(frame)[1]) for frame in both[0]._candidates("db", "runs", {}))
    first = [next(found)["_id"] for _ in range(PORTION)]
    both[0].insert("db", "runs", [{"_id": 5000, "status": "FAILED"}])
    rest = [document["_id"] for document in found]
    both[0].delete_matching("db", "runs", {"_id": 5000})
    assert set(range(RUNS)) <= {*first, *rest}
