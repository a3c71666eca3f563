"""Reading all of a collection: the embedded store makes a whole answer, in memory, before it sends any of it."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import Any

import pymongo
from pymongo.collection import Collection

LISTING_SECONDS = 600.0
"""For what looks at every document at once, on a slow machine; other operations have to be quick."""

PORTION = 100
"""Values that are asked for at once."""

AHEAD = 2
"""Portions that are read while one is being worked on: the store makes one answer while another is on its way."""


def list_ids(collection: Collection[dict[str, Any]]) -> list[Any]:
    """The ids of all documents, in order."""
    with pymongo.timeout(LISTING_SECONDS):
        return [document["_id"] for document in collection.find({}, {"_id": True}).sort("_id")]


def in_portions(
    collection: Collection[dict[str, Any]],
    key: str,
    values: Sequence[Any],
    projection: Mapping[str, Any] | None = None,
    order: Sequence[str] = ("_id",),
    where: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """The documents whose `key` is one of `values`, in the order of portions of these, and in each by `order`.

    While one portion is being worked on, the next ones are read.

    Args:
        where: what they have to meet besides.
    """

    def read(start: int) -> list[Any]:
        wanted = {key: {"$in": values[start : start + PORTION]}, **(where or {})}
        return list(collection.find(wanted, projection).sort([(name, 1) for name in order]))

    with ThreadPoolExecutor(AHEAD) as readers:
        readings = (readers.submit(copy_context().run, read, start) for start in range(0, len(values), PORTION))
        ahead = deque(islice(readings, AHEAD))
        while ahead:
            portion = ahead.popleft().result()
            ahead.extend(islice(readings, 1))
            yield from portion
