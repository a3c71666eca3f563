"""A home for what is measured, so that nothing of it goes into anybody's store."""

from collections.abc import MutableMapping
from pathlib import Path


def use_own_home(environment: MutableMapping[str, str], home: Path | str) -> None:
    """Let runs with this environment have their home here, and its store, whatever store the user has."""
    environment["ODENET_HOME"] = str(home)
    for name in ("ODENET_MONGO_URL", "ODENET_MONGO_URL_FILE"):
        environment.pop(name, None)
