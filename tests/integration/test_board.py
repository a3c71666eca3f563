"""The dashboard: who gets in, how it starts and ends, and what a person sees in a real browser."""

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlencode

import gridfs
import psutil
import pytest
from bson import ObjectId
from matplotlib.figure import Figure
from pymongo.database import Database

from odenet.main import main
from pipeline.dashboard import board as module
from pipeline.dashboard.board import Board, BoardError, ensure_columns, install, prepare_dashboard
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.environment import put_environment
from pipeline.tracking.gridfs import put_bytes
from tests.helpers import browser
from tests.helpers.damage import STRANGE_DOCUMENTS
from tests.helpers.waiting import slowness, status_of, wait_until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(browser.missing()), reason=f"not installed: {', '.join(browser.missing())}"),
]


@pytest.fixture(scope="module")
def board(store_home: Path) -> Iterator[Board]:
    """A running dashboard of the session's store, with the Omniboard that this user has or now gets."""
    with Board(EmbeddedStore(store_home).start(), port=9100) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Omniboard is installed, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "odenet"


@pytest.fixture
def tiny_source(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pins of a package without dependencies in place of Omniboard's, so that npm is done in a second."""
    assert not cache.exists()
    source = tmp_path / "source"
    source.mkdir()
    package = {"name": "tiny", "version": "1.0.0"}
    lock = {**package, "lockfileVersion": 3, "requires": True, "packages": {"": package}}
    (source / "package.json").write_text(json.dumps(package))
    (source / "package-lock.json").write_text(json.dumps(lock))
    monkeypatch.setattr(module, "SOURCE", source)
    return source


def port_of(board: Board) -> int:
    return int(board.url.rpartition(":")[2].partition("/")[0])


def ask(
    board: Board, path: str, method: str = "GET", login: bool = True, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to one request."""
    if login:
        secret = base64.b64encode(f"{board.user}:{board.password}".encode()).decode()
        headers = {"Authorization": f"Basic {secret}", **headers}
    connection = http.client.HTTPConnection("127.0.0.1", port_of(board), timeout=20 * slowness())
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def nodes_of(home: Path) -> list[psutil.Process]:
    """The Node.js processes of a home's dashboards, which write to its log."""
    log = str(home / "board" / "board.log")
    nodes = [process for process in psutil.process_iter(["name", "open_files"]) if process.info["name"] == "node"]
    return [node for node in nodes if log in {file.path for file in node.info["open_files"] or []}]


def wait_until_gone(process: psutil.Process) -> None:
    wait_until(
        lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE,
        seconds=10,
        told=f"{process} is still there",
    )


def picture() -> bytes:
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    axes.imshow([[9, 1], [2, 8]])
    axes.set_title("Confusion matrix")
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()


def store_run(database: Database[dict[str, Any]], run_id: int, body: str, accuracy: float) -> None:
    """A finished run of three epochs, as the first version stored one."""
    now = datetime.now(UTC)
    series = {
        "training.loss": [2.0, 1.0, 0.5],
        "validation.loss": [2.1, 1.2, 0.9],
        "validation.accuracy": [0.3, 0.8125, 0.7],
        "time.epoch_seconds": [1.5, 1.25, 1.125],
    }
    if body == "odenet":
        series["solver.nfe_forward"] = [20.0, 38.0, 32.0]
    metrics = []
    for name, values in series.items():
        points = {"steps": [1, 2, 3], "values": values, "timestamps": [now] * 3}
        stored = database.metrics.insert_one({"run_id": run_id, "name": name, **points})
        metrics.append({"name": name, "id": str(stored.inserted_id)})
    file_id = gridfs.GridFS(database).put(picture(), filename=f"artifact://{run_id}/confusion_matrix.png")
    database.runs.insert_one(
        {
            "_id": run_id,
            "format": "odenet-1",
            "status": "COMPLETED",
            "command": "main",
            "experiment": {"name": "classification", "sources": [], "dependencies": [], "repositories": []},
            "host": {"hostname": "laboratory"},
            "config": {
                "data": {"name": "digits"},
                "model": {"architecture": "simple", "body": body},
                "seed": 7,
            },
            "meta": {"comment": ""},
            "start_time": now - timedelta(seconds=42),
            "heartbeat": now,
            "stop_time": now,
            "result": accuracy,
            "info": {"metrics": metrics, "parameters": {"total": 54321}},
            "artifacts": [{"name": "confusion_matrix.png", "file_id": file_id}],
            "captured_out": "epoch 1\nepoch 2\nepoch 3\n",
            "resources": [],
        }
    )


# Who gets in


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/sacred"),
        ("GET", "/odenet/first_visit.js"),
        ("GET", "/odenet/page.js"),
        ("GET", "/favicon.ico"),
        ("GET", "/api/v1/databases"),
        ("GET", "/sacred/api/v1/Runs"),
        ("DELETE", "/sacred/api/v1/Runs/1"),
        ("OPTIONS", "/sacred/api/v1/Runs/1"),
    ],
)
def test_nothing_is_told_or_done_without_the_login(
    board: Board, database: Database[dict[str, Any]], method: str, path: str
) -> None:
    database.runs.insert_one({"_id": 1})
    status, headers, body = ask(board, path, method, login=False)
    assert (status, body) == (401, b"Unauthorized")
    assert headers["www-authenticate"].startswith("Basic")
    wrong = base64.b64encode(f"{board.user}:wrong".encode()).decode()
    assert ask(board, path, method, login=False, Authorization=f"Basic {wrong}")[0] == 401
    assert database.runs.count_documents({}) == 1


def test_with_the_login_runs_are_read_and_deleted(board: Board, database: Database[dict[str, Any]]) -> None:
    database.runs.insert_one({"_id": 1})
    assert ask(board, "/api/v1/databases")[0] == 200
    assert [run["_id"] for run in json.loads(ask(board, "/sacred/api/v1/Runs")[2])] == [1]
    assert ask(board, "/sacred/api/v1/Runs/1", "DELETE")[0] == 204
    assert database.runs.count_documents({}) == 0


ATTACK = b"<script>fetch('/sacred/api/v1/Runs/1', {method: 'DELETE'})</script>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'>" + ATTACK + b"</svg>"


@pytest.mark.parametrize(
    ("name", "content", "content_type", "is_handed_over"),
    [
        ("report.html", ATTACK, "application/octet-stream", True),
        (
            "figure.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg'>" + ATTACK + b"</svg>",
            "application/octet-stream",
            True,
        ),
        ("page.xhtml", ATTACK, "application/octet-stream", True),
        ("script.js", b"alert(1)", "application/octet-stream", True),
        ("weights.safetensors", b"\0", "application/octet-stream", True),
        ("", ATTACK, "application/octet-stream", True),
        ("notes.txt", ATTACK, "text/plain; charset=utf-8", False),
        ("curves.png", b"no picture", "image/png", False),
    ],
)
@pytest.mark.parametrize("way", ["preview", "download"])
def test_a_stored_file_runs_nothing_and_is_shown_only_if_it_is_a_picture_or_text(
    board: Board,
    database: Database[dict[str, Any]],
    way: str,
    name: str,
    content: bytes,
    content_type: str,
    is_handed_over: bool,
) -> None:
    file_id = gridfs.GridFS(database).put(content, filename=f"artifact://1/{name or 'nameless'}")
    status, headers, body = ask(
        board, f"/sacred/api/v1/files/{way}/{file_id}/{name or ('nameless', '')[way == 'preview']}"
    )
    assert (status, body) == (200, content)
    assert headers["content-security-policy"].startswith("sandbox;")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == content_type
    assert headers.get("content-disposition", "").startswith("attachment") is (is_handed_over or way == "download")


def test_the_script_of_an_artifact_deletes_no_run_in_a_real_browser(
    board: Board, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    store_run(database, 1, "odenet", 0.5)
    with browser.logged_in_page(board, tmp_path) as page:
        for name in ("report.html", "figure.svg", "notes.txt"):
            file_id = gridfs.GridFS(database).put(ATTACK, filename=f"artifact://1/{name}")
            page.get(f"{board.url}/api/v1/files/preview/{file_id}/{name}")
            time.sleep(1)  # as long as a script would take
    assert database.runs.count_documents({}) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"populate": '{"path": "chunk", "match": [{"$or": [{"$where": "process.exit()"}]}]}'},
        {"populate": r'{"path": "chunk", "match": [{"$or": [{"$\u0077here": "process.exit()"}]}]}'},
        {"populate[path]": "chunk", "populate[match][$nor][0][$where]": "process.exit()"},
        {"query": '{"$where": "sleep(1e9)"}'},
        {"query": '{"$expr": {"$function": {"body": "function(){while(1){}}", "args": [], "lang": "js"}}}'},
        {"query": '{"$expr": {"$gt": [{"$accumulator": {}}, 0]}}'},
    ],
)
def test_a_query_that_would_run_code_is_refused(board: Board, query: dict[str, str]) -> None:
    assert ask(board, f"/sacred/api/v1/fs.files?{urlencode(query)}")[0] == 400
    assert ask(board, f"/sacred/api/v1/fs.files?{urlencode({'populate': 'chunk'})}")[0] == 200


def test_strange_documents_keep_the_list_from_no_other_run(board: Board, database: Database[dict[str, Any]]) -> None:
    store_run(database, 1, "odenet", 0.5)
    database.runs.insert_many(
        [{"_id": number, **document} for number, document in enumerate(STRANGE_DOCUMENTS.values(), start=100)]
    )
    database.runs.insert_many([{"_id": "my-run-1"}, {"_id": 2**63 - 1}, {"_id": 2.5}])
    status, _, body = ask(board, "/sacred/api/v1/Runs")
    assert status == 200
    assert 1 in [run.get("_id") for run in json.loads(body)]


def test_the_list_of_a_store_with_many_runs_comes_soon_with_the_best_and_the_last_of_its_metrics(
    board: Board, database: Database[dict[str, Any]]
) -> None:
    ensure_columns(database)
    names = [*(metric for metric, _ in module.metric_columns().values()), *(f"other.{i}" for i in range(7))]
    runs, metrics = [], []
    for run_id in range(1, 301):
        series = [
            {"_id": ObjectId(), "run_id": run_id, "name": name, "steps": [1, 2, 3], "values": [1, run_id, 2]}
            for name in names
        ]
        metrics += series
        listed = [{"name": one["name"], "id": str(one["_id"])} for one in series]
        runs.append({"_id": run_id, "status": "COMPLETED", "info": {"metrics": listed}})
    database.runs.insert_many(runs)
    database.metrics.insert_many(metrics)
    asked = "select=_id,status,validation_accuracy,nfe_forward&sort_by=_id&order_by=-1&limit=50"
    before = time.monotonic()
    answered = json.loads(ask(board, f"/sacred/api/v1/Runs?{asked}")[2])
    assert time.monotonic() - before < 8 * slowness()  # it takes twice that where Omniboard asks in its own way
    assert [run["_id"] for run in answered] == list(range(300, 250, -1))
    assert [(run["validation_accuracy"], run["nfe_forward"]) for run in answered[:2]] == [(300, 2), (299, 2)]


def listed(board: Board, **asked: Any) -> Any:
    """What the dashboard's list of runs is answered."""
    words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in asked.items()}
    return json.loads(ask(board, f"/sacred/api/v1/Runs?{urlencode(words)}")[2])


@pytest.fixture
def sixty(database: Database[dict[str, Any]]) -> None:
    """Sixty runs, and two that say that they go on."""
    now = datetime.now(UTC)
    runs = [
        {
            "_id": number,
            "status": "COMPLETED" if number % 3 else "FAILED",
            "start_time": now,
            "heartbeat": now + timedelta(seconds=100 - number),
            "config": {"seed": number % 10, "lr": 1 / number},
            **({"omniboard": {"tags": ["paper", f"part {number % 2}"]}} if number % 20 == 0 else {}),
        }
        for number in range(1, 61)
    ]
    lives = {"status": "RUNNING", "start_time": now, "config": {"seed": 50, "lr": 0.0}}
    runs.append({"_id": 61, "heartbeat": now - timedelta(minutes=5), **lives})
    runs.append({"_id": 62, "heartbeat": now, **lives})
    database.runs.insert_many(runs)


SHOWN = "_id,status,config,duration"
BY_ID = {"select": SHOWN, "sort_by": "_id", "order_by": -1, "limit": 20}


@pytest.mark.usefixtures("sixty")
def test_a_page_of_the_list_has_the_runs_that_it_says(board: Board) -> None:
    assert [run["_id"] for run in listed(board, **BY_ID)] == list(range(62, 42, -1))
    assert [run["_id"] for run in listed(board, **BY_ID, skip=15)] == list(range(47, 27, -1))
    assert [run["_id"] for run in listed(board, **BY_ID | {"sort_by": "config.lr", "limit": 3})] == [1, 2, 3]
    assert [run["_id"] for run in listed(board, **BY_ID | {"sort_by": "duration", "limit": 3})] == [1, 2, 3]


@pytest.mark.usefixtures("sixty")
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"$and": [{"config.seed": 3}]}, [53, 43, 33, 23, 13, 3]),
        ({"$and": [{"config.seed": {"$in": [3, 4]}}, {"config.lr": {"$gt": 0.05}}]}, [14, 13, 4, 3]),
        ({"$and": [{"status": "FAILED"}, {"config.seed": 3}]}, [33, 3]),
        ({"$and": [{"status": {"$in": ["FAILED", "RUNNING"]}}, {"config.seed": 3}]}, [33, 3]),
        ({"$or": [{"status": "RUNNING"}]}, [62]),
        ({"status": "PROBABLY_DEAD"}, [61]),
        ({"status": {"$ne": "COMPLETED"}, "_id": {"$gt": 56}}, [62, 61, 60, 57]),
        ({"status": {"$regex": "^PROB"}}, [61]),
        ({"omniboard.tags": "paper"}, [60, 40, 20]),
        ({"config.seed": 99}, []),
    ],
    ids=str,
)
def test_a_filter_of_the_list_finds_the_runs_and_their_number(
    board: Board, query: dict[str, Any], ids: list[int]
) -> None:
    assert [run["_id"] for run in listed(board, **BY_ID, query=query)] == ids
    counted = ask(board, f"/sacred/api/v1/Runs/count?{urlencode({'query': json.dumps(query)})}")[2]
    assert json.loads(counted) == {"count": len(ids)}


@pytest.mark.usefixtures("sixty")
def test_the_values_that_a_filter_suggests_are_those_of_all_runs(board: Board) -> None:
    assert sorted(listed(board, distinct="config.seed")) == [*range(10), 50]
    assert sorted(listed(board, distinct="omniboard.tags")) == ["paper", "part 0"]
    assert listed(board, distinct="config.none") == []


def test_a_run_shows_the_sources_and_packages_that_many_share(board: Board, database: Database[dict[str, Any]]) -> None:
    file_id = put_bytes(database, "net.py", b"width = 3")
    environment = put_environment(database, {"net.py": file_id}, ["torch==2.15.0"])
    for run_id in (1, 2):
        experiment = {"name": "classification", "environment": environment}
        database.runs.insert_one({"_id": run_id, "status": "COMPLETED", "experiment": experiment})
    of_one = json.loads(ask(board, "/sacred/api/v1/Runs/1")[2])["experiment"]
    assert of_one["sources"] == [["net.py", str(file_id)]]
    assert of_one["dependencies"] == ["torch==2.15.0"]
    assert [file["filename"] for file in json.loads(ask(board, "/sacred/api/v1/files/source/1")[2])] == ["net.py"]
    query = urlencode({"query": json.dumps({"$or": [{"_id": 1}, {"_id": 2}]})})
    compared = json.loads(ask(board, f"/sacred/api/v1/SourceFiles?{query}")[2])
    assert sorted((run["_id"], run["files"][0]["filename"]) for run in compared) == [(1, "net.py"), (2, "net.py")]


def test_no_source_file_goes_with_a_run_that_the_dashboard_deletes(
    board: Board, database: Database[dict[str, Any]]
) -> None:
    file_id = put_bytes(database, "net.py", b"width = 3")
    environment = put_environment(database, {"net.py": file_id}, [])
    database.runs.insert_one({"_id": 1, "experiment": {"sources": [["net.py", file_id]]}})
    database.runs.insert_one({"_id": 2, "experiment": {"environment": environment}})
    assert json.loads(ask(board, "/sacred/api/v1/SourceFilesCount/1")[2]) == []  # those that it would delete as well


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": "rebound.example"}, {"Host": "127.0.0.1"}, {"Origin": "http://other.example"}, {"Origin": "null"}),
        *({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"} for site in ("cross-site", "same-site")),
    ],
)
def test_pages_of_other_sites_are_kept_out_though_the_browser_sends_the_login(
    board: Board, headers: dict[str, str]
) -> None:
    status, _, body = ask(board, "/sacred/api/v1/Runs", **headers)
    if "Host" in headers:
        address = f"http://127.0.0.1:{port_of(board)}/sacred"
        told = f"This dashboard answers under its own address alone, port included: {address}\n"
        assert (status, body.decode()) == (421, told)
    else:
        assert (status, body) == (403, b"The request comes from the page of another site.\n")


def test_a_link_from_elsewhere_opens_a_page_and_asks_for_nothing_else(board: Board) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(board, "/sacred", **link)[0] == 200
    assert ask(board, "/sacred/api/v1/Runs", **link)[0] == 403
    assert ask(board, "/sacred/api/v1/Runs", **{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"})[0] == 200


def test_a_run_without_a_heartbeat_is_filtered_by_the_status_that_it_is_shown_with(
    board: Board, database: Database[dict[str, Any]]
) -> None:
    for number, start in ((1, datetime(2024, 1, 1, tzinfo=UTC)), (2, datetime.now(UTC))):
        database.runs.insert_one({"_id": number, "status": "RUNNING", "start_time": start, "heartbeat": None})
    for status, expected in (("PROBABLY_DEAD", [1]), ("RUNNING", [2])):
        query = {"query": json.dumps({"status": status}), "select": "_id,status"}
        found = json.loads(ask(board, f"/sacred/api/v1/Runs?{urlencode(query)}")[2])
        assert [run["_id"] for run in found] == expected


@pytest.mark.skipif(os.getuid() != 0, reason="port 80 needs root")
def test_at_port_80_a_browser_names_no_port_and_is_let_in(store_home: Path) -> None:
    with Board(EmbeddedStore(store_home).start(), port=80) as running:
        if port_of(running) != 80:
            pytest.skip("port 80 is taken")
        assert ask(running, "/sacred", Host="127.0.0.1", Origin="http://127.0.0.1")[0] == 200
        assert ask(running, "/sacred", Host="localhost:80")[0] == 200
        assert ask(running, "/sacred", Host="rebound.example")[0] == 421


@pytest.mark.parametrize("port", ["0", "65536", "70000", "-1", "9" * 400, "nine"])
def test_a_port_that_cannot_be_is_refused_before_anything_starts(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", "--port", port]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"odenet: .*port.*\n", told)
    assert len(told) < 300


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="not installed: setpriv")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up a right")
def test_a_port_that_this_user_may_not_open_is_told_with_those_that_it_may(store_home: Path) -> None:
    limited = ["setpriv", "--bounding-set", "-net_bind_service", sys.executable, "-m", "odenet.main", "board"]
    environment = {**os.environ, "ODENET_HOME": str(store_home)}
    done = subprocess.run([*limited, "--port", "80"], env=environment, capture_output=True, text=True, check=False)
    told = "odenet: port 80 is one that only root may open: choose one from 1024 to 65535\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


def test_the_own_page_is_let_in_under_both_names_of_this_machine(board: Board) -> None:
    for name in ("127.0.0.1", "localhost"):
        place = f"{name}:{port_of(board)}"
        assert ask(board, "/sacred", Host=place, Origin=f"http://{place}")[0] == 200


def test_no_other_site_may_read_or_frame_the_answers(board: Board) -> None:
    headers = ask(board, "/sacred/api/v1/Runs")[1]
    assert not [name for name in headers if name.startswith("access-control-")]
    assert headers["x-frame-options"] == "SAMEORIGIN"


def test_the_dashboard_listens_on_this_machine_alone(board: Board, store_home: Path) -> None:
    (node,) = nodes_of(store_home)
    listening = [c.laddr for c in node.net_connections() if c.status == "LISTEN"]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", port_of(board))]


def test_no_process_shows_a_password(board: Board, store_home: Path) -> None:
    stored = json.loads((store_home / "store" / "credentials.json").read_text())["password"]
    (node,) = nodes_of(store_home)
    shown = str(node.environ()) + (store_home / "board" / "board.log").read_text()
    for process in psutil.process_iter(["cmdline"]):
        shown += " ".join(process.info["cmdline"] or [])
    assert board.password not in shown
    assert stored not in shown
    assert (store_home / "board" / "login.json").stat().st_mode & 0o077 == 0


# How it starts and ends


def test_the_login_stays_and_a_taken_port_is_stepped_over(board: Board, store_home: Path) -> None:
    with Board(EmbeddedStore(store_home).start(), port=port_of(board)) as second:
        assert second.password == board.password
        assert port_of(second) > port_of(board)
        assert ask(second, "/api/v1/databases")[0] == 200
        node = max(nodes_of(store_home), key=lambda process: process.create_time())
    wait_until_gone(node)


@pytest.mark.usefixtures("board")  # which has installed Omniboard
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_dashboard_ends_with_the_command_that_serves_it(store_home: Path, ending: signal.Signals) -> None:
    before = {node.pid for node in nodes_of(store_home)}
    code = "from pipeline.dashboard.board import serve_board; serve_board(port=9150)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        told = "".join(iter(command.stdout.readline, "Ctrl-C ends the dashboard.\n"))
        (node,) = (node for node in nodes_of(store_home) if node.pid not in before)
        command.send_signal(ending)
        assert status_of(command) == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
    assert re.search(r"are at http://127\.0\.0\.1:\d+/sacred\nuser odenet, password \S+ \(kept in", told)
    wait_until_gone(node)


def test_the_dashboard_serves_again_after_the_store_was_restarted(
    board: Board, database: Database[dict[str, Any]], store_home: Path
) -> None:
    store = EmbeddedStore(store_home)
    database.runs.insert_one({"_id": 1})
    assert ask(board, "/sacred/api/v1/Runs")[0] == 200
    store.stop()
    store.start()
    wait_until(lambda: ask(board, "/sacred/api/v1/Runs")[0] == 200, seconds=30)
    assert len(json.loads(ask(board, "/sacred/api/v1/Runs")[2])) == 1


def test_an_artifact_that_is_gone_does_not_end_the_dashboard(board: Board, database: Database[dict[str, Any]]) -> None:
    store_run(database, 1, "odenet", 0.97)
    gone = database.runs.find_one({"_id": 1}, {"artifacts": True})
    assert gone is not None
    file_id = gone["artifacts"][0]["file_id"]
    gridfs.GridFS(database).delete(file_id)
    connection = http.client.HTTPConnection("127.0.0.1", port_of(board), timeout=1)
    secret = base64.b64encode(f"{board.user}:{board.password}".encode()).decode()
    connection.request(
        "GET", f"/sacred/api/v1/files/download/{file_id}/x.png", headers={"Authorization": f"Basic {secret}"}
    )
    with pytest.raises((TimeoutError, http.client.HTTPException)):
        connection.getresponse()
    assert ask(board, "/sacred/api/v1/Runs")[0] == 200


def test_a_dashboard_that_cannot_start_names_its_log(
    board: Board, store_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert board.url
    for name in ("package.json", "package-lock.json"):
        shutil.copy(module.SOURCE / name, tmp_path)
    (tmp_path / "start.js").write_text("throw new Error('broken')")
    monkeypatch.setattr(module, "SOURCE", tmp_path)
    with pytest.raises(BoardError, match=r"^Omniboard did not start; look into .*board\.log .*\.$"):
        Board(EmbeddedStore(store_home).start(), port=9180).start()


# The installation


def test_an_installation_is_made_once_and_another_beside_it_when_the_pins_change(
    tiny_source: Path, tmp_path: Path
) -> None:
    log = tmp_path / "npm.log"
    first = install(log)
    assert (first / "package-lock.json").exists()
    log.unlink()
    assert install(log) == first
    assert not log.exists()
    pins = tiny_source / "package-lock.json"
    pins.write_text(pins.read_text() + "\n")
    assert install(log) != first
    assert log.exists()


@pytest.mark.usefixtures("tiny_source")
def test_dashboards_that_start_at_once_in_different_homes_share_one_installation(cache: Path, tmp_path: Path) -> None:
    together = Barrier(4)

    def install_for(home: int) -> Path:
        together.wait()
        return install(tmp_path / f"{home}.log")

    with ThreadPoolExecutor(4) as threads:
        folders = set(threads.map(install_for, range(4)))
    assert len(list(tmp_path.glob("*.log"))) == 1
    assert {path for path in cache.iterdir() if path.is_dir()} == folders


def test_an_installation_whose_command_was_killed_is_not_taken_for_a_whole_one(
    tiny_source: Path, cache: Path, tmp_path: Path
) -> None:
    npm = tmp_path / "bin" / "npm"  # goes on when its command is gone
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\ntouch half\nkill -9 $PPID\nsleep 1\ntouch late\n")
    npm.chmod(0o755)
    code = (
        f"import pathlib, {module.__name__} as board; board.SOURCE = pathlib.Path({str(tiny_source)!r}); "
        f"board.install(pathlib.Path({str(tmp_path / 'killed.log')!r}))"
    )
    environment = {**os.environ, "PATH": f"{npm.parent}:{os.environ['PATH']}"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -signal.SIGKILL

    folder = install(tmp_path / "npm.log")
    deadline = time.monotonic() + 10
    while not list(cache.glob(".*/installed/late")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {path.name for path in folder.iterdir()} <= {"package.json", "package-lock.json", "node_modules"}


def test_a_failed_installation_is_told_and_not_taken_for_a_whole_one(
    tiny_source: Path, cache: Path, tmp_path: Path
) -> None:
    (tiny_source / "package.json").write_text('{"name": "tiny", "dependencies": {"absent": "1.0.0"}}')
    for _ in range(2):
        with pytest.raises(BoardError, match=r"^npm could not install Omniboard, .*npm\.log .*\.$"):
            install(tmp_path / "npm.log")
    assert not [path for path in cache.iterdir() if path.is_dir()]


@pytest.mark.usefixtures("tiny_source")
def test_a_cache_folder_that_cannot_be_written_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BoardError, match=r"^The dashboard's folder .*file/odenet cannot be used .*XDG_CACHE_HOME\.$"):
        install(tmp_path / "npm.log")


@pytest.mark.usefixtures("tiny_source")
def test_a_machine_without_node_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BoardError, match=r"needs node, .* install Node\.js"):
        install(tmp_path / "npm.log")


# What a person sees


def test_columns_of_the_persons_own_are_left_alone(database: Database[dict[str, Any]]) -> None:
    of_config, of_metrics = database["omniboard.custom.columns"], database["omniboard.metric.columns"]
    of_metrics.insert_one({"name": "mine", "metric_name": "x", "extrema": "min"})
    of_config.insert_one({"name": "seed", "config_path": "config.my_seed"})
    ensure_columns(database)
    of_config.delete_one({"name": "parameters"})
    of_metrics.update_one({"name": "nfe_forward"}, {"$set": {"extrema": "max"}})
    ensure_columns(database)
    paths = {column["name"]: column["config_path"] for column in of_config.find()}
    expected = {**module.config_columns(), "seed": "config.my_seed"}
    del expected["parameters"]
    assert paths == expected
    assert {column["name"] for column in of_metrics.find()} == {"mine", *module.metric_columns()}
    assert of_metrics.find_one({"name": "nfe_forward"}, {"_id": 0}) == {
        "name": "nfe_forward",
        "metric_name": "solver.nfe_forward",
        "extrema": "max",
    }


def test_the_useful_columns_are_given_once(database: Database[dict[str, Any]]) -> None:
    ensure_columns(database)
    first = list(database["omniboard.custom.columns"].find())
    ensure_columns(database)
    assert list(database["omniboard.custom.columns"].find()) == first
    assert {column["name"] for column in first} == set(module.config_columns())
    figures = {"accuracy", "NLL", "RMSE", "result"}
    assert {column["name"] for column in first if column["config_path"].startswith("board.figures.")} == figures


def test_columns_of_version_0_1_make_room_where_nobody_has_changed_them(database: Database[dict[str, Any]]) -> None:
    of_config = database["omniboard.custom.columns"]
    changed = {"dataset": "config.data", "architecture": "config.model.architecture", "test_accuracy": "result"}
    of_config.insert_many([{"name": name, "config_path": path} for name, path in changed.items()])
    ensure_columns(database)
    assert {column["name"] for column in of_config.find()} == {"dataset", *module.config_columns()}


def test_runs_of_earlier_versions_and_of_other_programs_get_what_the_list_shows_once_they_have_ended(
    database: Database[dict[str, Any]],
) -> None:
    store_run(database, 1, "odenet", 0.97251)
    sacreds = {"format": "MongoObserver-0.7.0", "experiment": {"name": "hello"}, "config": {}, "result": 3}
    database.runs.insert_many(
        [{"_id": 2, **sacreds, "status": "COMPLETED"}, {"_id": 3, **sacreds, "status": "RUNNING"}]
    )
    strange = [{"_id": number, **document} for number, document in enumerate(STRANGE_DOCUMENTS.values(), start=100)]
    database.runs.insert_many(strange)
    prepare_dashboard(database)
    entries = {run["_id"]: run.get("board") for run in database.runs.find({}, {"board": True})}
    assert entries[1] == {
        "kind": "training",
        "model": "simple ODE-Net",
        "data": "digits",
        "figures": {"accuracy": 0.9725},
    }
    assert entries[2] == {"kind": "foreign", "model": "hello", "data": None, "figures": {"result": 3}}
    assert entries[3] is None
    assert {key: value for key, value in database.runs.find_one({"_id": 2}).items() if key != "board"} == {  # type: ignore[union-attr]
        "_id": 2,
        **sacreds,
        "status": "COMPLETED",
    }


def test_a_person_sees_the_runs_with_columns_a_plot_and_the_confusion_matrix(
    board: Board, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    store_run(database, 1, "odenet", 0.9725)
    store_run(database, 2, "resnet", 0.9625)
    prepare_dashboard(database)
    with browser.logged_in_page(board, tmp_path) as page:
        shown = browser.row_of(page, 1)
        assert shown.pop("Duration").startswith("42")
        assert shown == {
            "Id": "1",
            "Kind": "training",
            "Status": "COMPLETED",
            "Model": "simple ODE-Net",
            "Data": "digits",
            "Accuracy": "0.9725",
            "Seed": "7",
            "Tags": "Add Tags...",
        }
        browser.show_columns(page, "Parameters", "Validation Accuracy", "Nfe Forward", "Epoch Seconds")
        shown = browser.row_of(page, 1)
        expected = {
            "Parameters": "54321",
            "Validation Accuracy": "0.8125",
            "Nfe Forward": "32",
            "Epoch Seconds": "1.125",
        }
        assert {title: shown[title] for title in expected} == expected
        assert browser.row_of(page, 2)["Nfe Forward"] == ""
        assert browser.row_of(page, 2)["Model"] == "simple ResNet"

        browser.open_run(page, 1)
        browser.wait_for(page, "//*[name()='svg']//*[text()='validation.loss']")
        legend = page.find_elements("xpath", "//*[name()='text'][contains(@class,'legendtext')]")
        assert [entry.text for entry in legend] == ["training.loss", "validation.loss"]
        line = browser.wait_for(page, "//*[name()='g'][contains(@class,'scatterlayer')]//*[name()='path']")
        assert line.size["width"] > 100

        browser.wait_for(page, "//a[text()='Artifacts']").click()
        browser.wait_for(page, "//h5[contains(.,'confusion_matrix.png')]").click()
        image = browser.wait_for(page, "//img[contains(@src,'confusion_matrix.png')]")
        assert page.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image) == 400
