"""What the tests share: one real store for the session, and a clean database in it for each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import connect


@pytest.fixture(scope="session")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder with a running embedded store; `ODENET_HOME` names it until the session ends."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ODENET_HOME", str(home))
        environment.delenv("ODENET_MONGO_URL", raising=False)
        store = EmbeddedStore(home)
        store.start()
        yield home
        store.stop()


@pytest.fixture
def database(store_home: Path) -> Iterator[Database[dict[str, Any]]]:
    """A connection to the session's store with no document in it, as `connect()` gives it."""
    connected = connect(EmbeddedStore(store_home).start())
    for name in connected.list_collection_names():
        connected[name].delete_many({})
    yield connected
    connected.client.close()
