"""Whether a run was begun in this store or in another one."""

import pymongo
import pytest

from pipeline.tracking.store import is_same_store


@pytest.mark.parametrize(
    ("url", "where", "is_same"),
    [
        ("mongodb://127.0.0.1:20001/odenet", "mongodb://***:***@127.0.0.1:20001/odenet", True),
        ("mongodb://127.0.0.1:20001/odenet", "mongodb://***:***@127.0.0.1:31000/odenet", True),  # after a restart
        ("mongodb://127.0.0.1:20001/odenet", "mongodb://***:***@127.0.0.1:20001/lab", False),
        ("mongodb://127.0.0.1:20001/odenet", "mongodb://mongo.lab/odenet", False),
        ("mongodb://localhost:27017/lab", "mongodb://***:***@localhost/lab", True),
        ("mongodb://localhost:27017/lab", "mongodb://other:27017/lab", False),
        ("mongodb://localhost:27017/lab", "mongodb://***:***@LocalHost/lab", True),
        ("mongodb://[::1]:29017/lab", "mongodb://***:***@[::1]:29017/lab", True),
        ("mongodb://[::1]:27017/lab", "mongodb://[::1]/lab", True),
        ("mongodb://[::1]:29017/lab", "mongodb://[::2]:29017/lab", False),
        ("mongodb://localhost:27017/lab", "nonsense", False),
    ],
)
def test_a_store_is_known_by_its_host_and_database_and_an_embedded_one_without_its_port(
    url: str, where: str, is_same: bool
) -> None:
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(url, connect=False)
    database = client.get_default_database()
    assert is_same_store(database, where) is is_same
    client.close()
