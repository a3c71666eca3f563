"""What the tests share: one real store for the session, and a clean database in it for each test."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import pytest
import pytest_timeout
from pymongo.database import Database

from pipeline.plugins import loading, registry
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.run_log import RunLog
from pipeline.tracking.store import connect
from tests.helpers.commands import QUICK, start_command, store_pixel
from tests.helpers.homes import with_store
from tests.helpers.trained import TrainedHome
from tests.helpers.two_runs import TwoRuns
from tests.helpers.waiting import Patience, slowness

# A shell that starts the tests in the background has them ignore Ctrl-C; what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# With it, each interpreter that the tests start would compile every source again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Ray reads them when it is imported, once for all sweeps of this process; others that it starts are not to have them.
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RAY_AUTH_MODE", "token")
    patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray as ray

LOOK_SECONDS = 30.0
"""How often the time that a test may take looks at how busy the machine is."""


def pytest_report_header() -> str | None:
    """The first lines of a session say so where it will take long."""
    times = slowness()
    return f"busy machine: {times:.1f} times as slow as a quiet one; bounds are stretched" if times >= 2 else None


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """The time that a test may take is of a quiet machine, like its waits."""
    if settings.method != "signal" or threading.current_thread() is not threading.main_thread():
        return None
    pytest_timeout.pytest_timeout_set_timer(item, settings)
    give_up = signal.getsignal(signal.SIGALRM)
    assert callable(give_up)
    patience = Patience(settings.timeout)

    def look(number: int, frame: FrameType | None) -> None:
        if patience.is_over():
            give_up(number, frame)
        else:
            signal.setitimer(signal.ITIMER_REAL, min(max(patience.left, 1), LOOK_SECONDS))

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, min(settings.timeout, LOOK_SECONDS))
    return True


@pytest.fixture(scope="session", autouse=True)
def no_figures() -> Iterator[None]:
    """Runs in this process draw none either, unless `tests.helpers.training` is asked for them."""
    with mock.patch.object(RunLog, "add_figure", store_pixel):
        yield


@pytest.fixture(scope="module", autouse=True)
def plugins_of_one_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every run records what its process has loaded and registered: a file of tests has its own alone."""
    others = {
        key: part for key, part in registry._parts.items() if not (part.is_shipped or str(request.path) in part.where)
    }
    for key in others:
        del registry._parts[key]
    before = registry.plugin_files()
    with mock.patch.dict(loading._loaded), mock.patch.dict(loading._executed):
        yield
        for file in registry.plugin_files() - before:
            loading.unload(file)
    registry._parts.update(others)


@pytest.fixture(autouse=True)
def warnings_are_logged() -> None:
    """Sacred sets the level of a whole process, as an experiment of an earlier test may have asked it to."""
    logging.root.setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder with a running embedded store; `ODENET_HOME` names it until the session ends."""
    with with_store(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoRuns]:
    """Two completed runs on digits, three epochs each, in a store of their own; for tests that only read."""
    home = tmp_path_factory.mktemp("two_runs") / "home"
    commands = []
    for model in ("odenet_simple", "resnet_small"):
        words = ("run", "--json", *QUICK, model, "training.max_epochs=3")
        command = start_command(home, *words, draws_figures=True)
        assert command.wait() == 0, command.stderr
        commands.append(command)
    yield TwoRuns(home, (commands[0], commands[1]))
    EmbeddedStore(home).stop()


@pytest.fixture
def database(store_home: Path) -> Iterator[Database[dict[str, Any]]]:
    """A connection to the session's store with no document in it, as `connect()` gives it."""
    connected = connect(EmbeddedStore(store_home).start())
    for name in connected.list_collection_names():
        connected[name].delete_many({})
    yield connected
    connected.client.close()


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedHome]:
    """Two trained runs in a home of the module's own."""
    home = tmp_path_factory.mktemp("trained") / "home"
    yield TrainedHome.train(home)
    EmbeddedStore(home).stop()


@pytest.fixture
def trained(trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch) -> TrainedHome:
    """The same, put back as it was after the training, as this process's home."""
    monkeypatch.setenv("ODENET_HOME", str(trained_home.home))
    monkeypatch.delenv("ODENET_MONGO_URL", raising=False)
    trained_home.put_back()
    return trained_home
