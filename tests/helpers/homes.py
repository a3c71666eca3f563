"""Homes of the tests' own, in the process of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.tracking.embedded import EmbeddedStore


@contextmanager
def with_store(home: Path) -> Iterator[Path]:
    """Within it the home's embedded store runs, and `ODENET_HOME` names the home."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ODENET_HOME", str(home))
        environment.delenv("ODENET_MONGO_URL", raising=False)
        store = EmbeddedStore(home)
        store.start()
        yield home
        store.stop()
