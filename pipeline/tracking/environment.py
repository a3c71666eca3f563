"""What runs ran with: their source files and the installed packages, the same for all runs of a checkout.

Some 40 KB, of which a run's document has the id alone (`experiment.environment`), so that what reads many documents,
as a list of runs does, does not read it each time. Runs of formats before 3 have `experiment.sources` and
`experiment.dependencies` in their documents.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import bson
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from pipeline.tracking.liveness import by_the_stores_clock

ENVIRONMENTS = "environments"
"""The collection of documents `{"_id", "sources": [[name, file id], …], "dependencies": ["torch==2.11.0", …],
"stored"}`; the id follows from the content, and `stored` is when a run last began with it."""


ENVIRONMENT_BEFORE = "environment_before"
"""The entry of a session in a run's `resumed` with the id of the environment that the run had until then."""


def put_environment(database: Database[dict[str, Any]], sources: Mapping[str, Any], dependencies: Sequence[str]) -> str:
    """Store an environment, whose source files are stored already, once for all runs that have it; its id.

    Args:
        sources: name -> id of the file.

    Raises:
        PyMongoError: the store cannot be reached; call again later.
    """
    listed = [[name, file_id] for name, file_id in sources.items()]
    key = {"_id": environment_id(listed, dependencies)}
    change = {"$set": {"sources": listed, "dependencies": list(dependencies), "stored": by_the_stores_clock()}}
    try:
        database[ENVIRONMENTS].update_one(key, change, upsert=True)
    except DuplicateKeyError:  # another process stored the same in between
        database[ENVIRONMENTS].update_one(key, change)
    return key["_id"]


def environment_id(sources: Sequence[Sequence[Any]], dependencies: Sequence[str]) -> str:
    """The id of what has these sources, by name and id of their files, and these packages."""
    content = {"sources": list(sources), "dependencies": list(dependencies)}
    return hashlib.sha256(bson.encode(content)).hexdigest()


def is_environment_id(value: Any) -> bool:
    """Whether it is as the ids of environments are; other programs may keep environments of their own."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def with_environment(database: Database[dict[str, Any]], document: Mapping[str, Any]) -> dict[str, Any]:
    """A run's document with its sources and packages in its `experiment`, as those of earlier formats have them."""
    if (named := environment_of(document)) is None:
        return dict(document)
    found = database[ENVIRONMENTS].find_one({"_id": named}) or {}
    parts = {key: found[key] for key in ("sources", "dependencies") if key in found}
    return {**document, "experiment": {**document["experiment"], **parts}}


def environments_of(document: Mapping[str, Any]) -> set[Any]:
    """The ids of all environments that a run has had, those before it was resumed as well."""
    sessions = document.get("resumed")
    earlier = [session for session in sessions if isinstance(session, Mapping)] if isinstance(sessions, list) else []
    found = {environment_of(document), *(session.get(ENVIRONMENT_BEFORE) for session in earlier)}
    return found - {None}


def environment_of(document: Mapping[str, Any]) -> Any:
    """The id of a run's environment; None of a run that has none."""
    experiment = document.get("experiment")
    return experiment.get("environment") if isinstance(experiment, Mapping) else None
