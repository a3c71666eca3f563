"""Notifications of ended runs, to a real server on this machine."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.runs import notification
from pipeline.runs.notification import NotificationError, Target, notify_of_end, read_targets, send
from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.util.user_warnings import OdenetWarning
from tests.helpers.commands import QUICK, Command, database_of, start_command, start_script
from tests.helpers.waiting import wait_until

pytest.importorskip("apprise")
SECRET = "a-secret-token"  # noqa: S105


@dataclass
class Server:
    """Keeps what it is sent."""

    port: int = 0
    received: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    delay: float = 0.0

    @property
    def address(self) -> str:
        return f"json://localhost:{self.port}/{SECRET}"


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(state.delay)
            state.received.append(json.loads(content))
            self.send_response(state.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = http.server_address[1]
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield state
    http.shutdown()


@dataclass(frozen=True)
class Owner:
    """Somebody with a home, and a folder with settings."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def ask_for(self, *addresses: str, mode: int = 0o600) -> Path:
        file = self.folder / "config" / "odenet" / "notify"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("# where ends are told\n" + "\n".join(addresses) + "\n")
        file.chmod(mode)
        return file

    def odenet(self, *words: str) -> Command:
        command = start_command(self.home, *words, XDG_CONFIG_HOME=str(self.folder / "config"))
        command.wait()
        return command


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    made = Owner(tmp_path_factory.mktemp("notified"))
    made.home.mkdir()
    yield made
    EmbeddedStore(made.home).stop()


@pytest.fixture
def owner(shared: Owner) -> Owner:
    shared.ask_for()
    return shared


def test_the_end_of_a_run_is_told_with_its_result_and_the_secret_is_in_no_record(owner: Owner, server: Server) -> None:
    owner.ask_for(server.address)
    done = owner.odenet("run", "--name", "small one", *QUICK, "training.max_epochs=1")
    assert done.process.exitcode == 0, done.stderr
    [message] = server.received
    run = Runs(database_of(owner.home)).find(limit=1)[0]
    assert message["title"] == f"run {run.run_id} COMPLETED: small one"
    assert message["type"] == "success"
    assert f"accuracy: {run.result:.2%}" in message["message"]
    assert SECRET not in json.dumps(run.document, default=str) + done.stdout + done.stderr
    files = [path for path in owner.home.rglob("*") if path.is_file()]
    assert files
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_a_failure_is_told_with_its_reason(owner: Owner, server: Server) -> None:
    owner.ask_for(server.address)
    words = ("solver.method=dopri5", "solver.max_steps=1", "solver.rtol=1e-9", "training.max_epochs=1")
    assert owner.odenet("run", *QUICK, *words).process.exitcode == 1
    [message] = server.received
    assert "FAILED: simple ODE-Net on digits" in message["title"]
    assert message["type"] == "failure"
    assert "the step limit was reached" in message["message"]


def test_a_script_is_told_of_too(owner: Owner, server: Server) -> None:
    owner.ask_for(server.address)
    script = owner.folder / "script.py"
    script.write_text("import odenet\nwith odenet.track('lorenz') as run:\n    raise ValueError('no such luck')\n")
    command = start_script(owner.home, script, XDG_CONFIG_HOME=str(owner.folder / "config"))
    command.wait()
    [message] = server.received
    assert message["title"].endswith("FAILED: lorenz")
    assert "no such luck" in message["message"]


@pytest.mark.parametrize(("mode", "status"), [(0o600, 503), (0o644, 200)])
def test_what_cannot_be_sent_is_one_warning_and_the_run_is_complete(
    owner: Owner, server: Server, mode: int, status: int
) -> None:
    server.status = status
    file = owner.ask_for(server.address, mode=mode)
    done = owner.odenet("run", "--json", *QUICK, "training.max_epochs=1")
    assert done.process.exitcode == 0
    assert done.json["status"] == "COMPLETED"
    [warning] = [line for line in done.stderr.splitlines() if "warning: the end of run" in line]
    assert SECRET not in done.stderr
    assert (f"chmod 600 {file}" if mode == 0o644 else "line 2: the service cannot be reached, or refuses it") in warning
    assert bool(server.received) is (mode == 0o600)


def test_a_service_that_does_not_answer_holds_the_end_no_longer_than_its_limit(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification, "PATIENCE_SECONDS", 0.5)
    server.delay = 3.0
    began = time.monotonic()
    target = Target(1, server.address)
    assert send([target], "title", "body") == {target: "no answer in 0 s"}
    assert time.monotonic() - began < 2.5
    wait_until(lambda: bool(server.received))


@pytest.mark.parametrize(
    ("info", "experiment"),
    [
        ({"sweep": {"id": 3, "trial": 1, "phase": "search"}}, "classification"),
        ({"study": {"name": "x", "scale": "quick"}}, "classification"),
        ({}, "reevaluation"),
    ],
)
def test_parts_of_a_sweep_or_a_study_are_not_told_of(
    owner: Owner, server: Server, monkeypatch: pytest.MonkeyPatch, info: dict[str, Any], experiment: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(owner.folder / "config"))
    owner.ask_for(server.address)
    notify_of_end({"_id": 4, "info": info, "experiment": {"name": experiment}}, None)
    assert server.received == []


def test_a_sweep_is_told_of(owner: Owner, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(owner.folder / "config"))
    owner.ask_for(server.address)
    document = {
        **Runs(database_of(owner.home)).find(limit=1)[0].document,
        "_id": 15,
        "experiment": {"name": "sweep", "task": "classification"},
        "config": {"space": {"file": "digits.yaml"}},
        "info": {"sweep": {}},
        "status": "FAILED",
        "omniboard": {},
    }
    notify_of_end(document, "every one of its 3 trials failed")
    [message] = server.received
    assert message["title"] == "sweep 15 FAILED: sweep on digits"
    assert "every one of its 3 trials failed" in message["message"]


def test_the_command_tries_all_addresses_and_names_the_lines_that_failed(owner: Owner, server: Server) -> None:
    missing = owner.odenet("notify")
    assert missing.process.exitcode == 1
    assert "nobody is told when a run ends: write addresses" in missing.stderr
    owner.ask_for(server.address, f"nonsense://{SECRET}")
    tried = owner.odenet("notify", "--json")
    assert tried.process.exitcode == 1
    assert tried.json["sent"] == [2]
    assert "line 3: it is no address that Apprise knows" in tried.stderr
    assert SECRET not in tried.stdout + tried.stderr
    assert server.received[0]["title"] == "odenet: a try"
    owner.ask_for(server.address)
    assert "sent to 1 place of" in owner.odenet("notify").stdout


def test_a_file_that_others_may_read_is_refused_and_a_missing_one_asks_for_nothing(owner: Owner) -> None:
    file = owner.ask_for("json://localhost", mode=0o640)
    found = owner.odenet("doctor", "--json").json
    assert [one["verdict"] for one in found if one["name"] == "notifications"] == ["problem"]
    with pytest.raises(NotificationError, match="others may read or change it \\(mode 640\\): chmod 600"):
        read_targets(file)
    file.chmod(0o600)
    assert [target.line for target in read_targets(file)] == [2]
    assert "localhost" not in repr(read_targets(file))
    file.unlink()
    assert read_targets(file) == []


def test_without_apprise_the_extra_is_named(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(owner.folder / "config"))
    monkeypatch.setitem(sys.modules, "apprise", None)
    owner.ask_for("json://localhost:1")
    notify_of_end(Runs(database_of(owner.home)).find(limit=1)[0].document, None)
    [warning] = [str(one.message) for one in recwarn if issubclass(one.category, OdenetWarning)]
    assert "pip install 'odenet-pipeline[notify]'" in warning
