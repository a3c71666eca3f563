"""Texts that a run stores once for all that have them, many in a few requests."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from gridfs import GridFS
from pymongo.database import Database

from pipeline.tracking.gridfs import CHUNK_BYTES, UNCLAIMED_AGE, content_id, get_texts, put_bytes, put_texts

FILES = {
    **{f"folder/{number}.py": f"x = {number}".encode() * number for number in range(120)},
    "large.py": b"#" * (2 * CHUNK_BYTES + 1),
}


def assert_whole(database: Database[dict[str, Any]], ids: dict[str, Any]) -> None:
    assert list(ids) == list(FILES)
    files = GridFS(database)
    for name, content in FILES.items():
        stored = files.get(ids[name])
        assert (stored.filename, stored.length, stored.read()) == (name, len(content), content)
    assert database.fs.files.count_documents({}) == len(FILES)
    assert database.fs.chunks.count_documents({}) == len(FILES) - 2 + 3  # none of the first, three of the last


def test_texts_are_whole_and_have_the_ids_of_their_names_and_contents(database: Database[dict[str, Any]]) -> None:
    ids = put_texts(database, FILES)
    assert ids == {name: content_id(name, content) for name, content in FILES.items()}
    assert_whole(database, ids)


def test_a_text_that_is_there_is_not_written_again(database: Database[dict[str, Any]]) -> None:
    put_bytes(database, "folder/7.py", FILES["folder/7.py"])
    before = database.fs.files.find_one({"filename": "folder/7.py"})
    assert_whole(database, put_texts(database, FILES))
    assert database.fs.files.find_one({"filename": "folder/7.py"}) == before


def test_texts_that_were_stored_long_ago_count_as_stored_now(database: Database[dict[str, Any]]) -> None:
    put_texts(database, FILES)
    database.fs.files.update_many({}, {"$set": {"uploadDate": datetime.now(UTC) - UNCLAIMED_AGE}})
    assert_whole(database, put_texts(database, FILES))
    lately = {"uploadDate": {"$gt": datetime.now(UTC) - timedelta(minutes=30)}}
    assert database.fs.files.count_documents(lately) == len(FILES)


def test_runs_that_store_the_same_texts_at_once_do_no_harm(database: Database[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(4) as threads:
        ids, *others = threads.map(lambda _: put_texts(database, FILES), range(4))
    assert all(other == ids for other in others)
    assert_whole(database, ids)


def test_texts_of_a_run_that_was_killed_while_it_stored_them_become_whole(database: Database[dict[str, Any]]) -> None:
    ids = put_texts(database, FILES)
    database.fs.files.delete_many({})
    database.fs.chunks.delete_many({"files_id": {"$in": list(ids.values())[60:]}})
    assert_whole(database, put_texts(database, FILES))


def test_texts_are_read_together_without_those_that_are_not_whole(database: Database[dict[str, Any]]) -> None:
    ids = put_texts(database, FILES)
    assert get_texts(database, list(ids.values())) == {ids[name]: content for name, content in FILES.items()}
    database.fs.files.delete_one({"_id": ids["folder/7.py"]})
    database.fs.chunks.delete_one({"files_id": ids["folder/8.py"]})
    database.fs.chunks.delete_one({"files_id": ids["large.py"], "n": 1})
    whole = FILES.keys() - {"folder/7.py", "folder/8.py", "large.py"}
    assert get_texts(database, list(ids.values())).keys() == {ids[name] for name in whole}
