"""Omniboard, the dashboard of the runs: installed on first use, served on 127.0.0.1 behind a login."""

import contextlib
import hashlib
import json
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock
from pymongo.database import Database

from pipeline.dashboard.missing_entries import add_missing_entries
from pipeline.plugins import registry
from pipeline.tasks.lookup import DEFAULT, metric_specs, result_name
from pipeline.tracking.address import StoreAddress
from pipeline.tracking.board_entry import BOARD, FIGURES, figure_key
from pipeline.tracking.readable import FOREIGN_RESULT
from pipeline.tracking.store import connect, store_address
from pipeline.util.errors import OdenetError
from pipeline.util.files import create_private, private_folder
from pipeline.util.interruption import terminable
from pipeline.util.paths import home

SOURCE = Path(__file__).resolve().parent / "omniboard"
"""The pins and the wrapper; in a checkout a link to the top folder of that name, in a wheel a folder."""
DEFAULT_PORT = 9000
START_SECONDS = 30
STOP_SECONDS = 5
USER, LOGIN = "odenet", "login.json"
GIVEN = "odenet_columns"
"""The setting of Omniboard's that names the columns which a store has been given."""
COLUMNS_OF_0_1 = {
    "dataset": "config.data.name",
    "architecture": "config.model.architecture",
    "body": "config.model.body",
    "test_accuracy": "result",
}
"""Those that version 0.1.0 gave and others have taken the place of."""


class BoardError(OdenetError):
    """Omniboard cannot be installed or started."""


class Board:
    """A running Omniboard, which ends when the `with` block or this process ends.

    Args:
        address: of the MongoDB whose runs it shows.
        port: the first port to try; if it is taken, the next free one.
    """

    def __init__(self, address: StoreAddress, port: int = DEFAULT_PORT) -> None:
        self._folder = home() / "board"
        self._address = address
        self._first_port = port
        self._process: subprocess.Popen[str] | None = None
        self.user = USER
        self.password = ""
        self.url = ""

    def start(self) -> None:
        """Start Omniboard, which is installed on first use, and wait until it serves.

        Raises:
            BoardError: Node.js or the network is missing, or Omniboard does not start.
        """
        with _usable(self._folder, "ODENET_HOME"):
            installation = install(self._folder / "npm.log")
            self.password = _password(self._folder)
        log = self._folder / "board.log"
        create_private(log, "")
        with log.open("a") as written:  # another board may be at work
            process = subprocess.Popen(
                ["node", str(SOURCE / "start.js")],
                cwd=installation,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=written,
                text=True,
                start_new_session=True,  # a Ctrl-C reaches this process alone, which then stops Omniboard
            )
        self._process = process
        try:
            self.url = f"http://127.0.0.1:{self._announced_port(process)}/sacred"
        except (OSError, ValueError) as error:
            self.stop()
            raise BoardError(f"Omniboard did not start; look into {log} for the reason.") from error

    def _announced_port(self, process: "subprocess.Popen[str]") -> int:
        if process.stdin is None or process.stdout is None:
            raise OSError("the process has no pipes")
        settings = {
            "mongoUri": self._address.url,
            "database": self._address.database,
            "user": self.user,
            "password": self.password,
            "port": self._first_port,
        }
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        if not readable:
            raise OSError(f"no answer within {START_SECONDS} s")
        return int(json.loads(process.stdout.readline())["port"])

    def wait(self) -> None:
        """Wait until Omniboard ends."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Stop Omniboard if it is running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def __enter__(self) -> "Board":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()


def serve_board(port: int | None = None, open_browser: bool = False) -> None:
    """Show the store's runs in Omniboard until Ctrl-C or SIGTERM.

    Args:
        port: the first port to try.
        open_browser: also open the address in a browser.

    Raises:
        OdenetError: the store cannot be reached, or Omniboard cannot be installed or started.
    """
    _refuse_port(port or DEFAULT_PORT)
    address = store_address()
    database = connect(address)
    prepare_dashboard(database)
    database.client.close()
    with contextlib.suppress(KeyboardInterrupt), terminable():
        installs = "" if _installation().is_dir() else " for the first time, which installs it and takes about a minute"
        print(f"Starting Omniboard{installs}.", flush=True)
        with Board(address, port or DEFAULT_PORT) as board:
            print(f"The runs in {address.redacted()} are at {board.url}")
            print(f"user {board.user}, password {board.password} (kept in {home() / 'board' / LOGIN})")
            print("Ctrl-C ends the dashboard.", flush=True)
            if open_browser:
                webbrowser.open(board.url)
            board.wait()
            raise BoardError(f"Omniboard ended by itself; look into {home() / 'board' / 'board.log'}.")


def _refuse_port(port: int) -> None:
    """One that is taken is no matter, as the next one is tried; one that this user may not have is the same for all.

    Raises:
        BoardError: it is such a one.
    """
    with contextlib.suppress(OSError), socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except PermissionError:
            raise BoardError(f"port {port} is one that only root may open: choose one from 1024 to 65535") from None


def prepare_dashboard(database: Database[dict[str, Any]]) -> None:
    """What a store needs before Omniboard shows it: columns, and of every run what they show."""
    ensure_columns(database)
    add_missing_entries(database)


def config_columns() -> dict[str, str]:
    """Omniboard's column name -> the value's path in a run.

    `omniboard/first_visit.js` says which of them a browser shows first, and in which order.
    """
    return {
        "name": "omniboard.name",
        **{name: f"{BOARD}.{name}" for name in ("kind", "model", "data")},
        **{heading: f"{BOARD}.{FIGURES}.{figure_key(heading)}" for heading in _headings_of_results()},
        "learning_rate": "config.training.lr",
        "seed": "config.seed",
        "parameters": "info.parameters.total",
    }


def _headings_of_results() -> list[str]:
    """Of every task that comes along or is loaded, and of other programs' runs; tasks may share one."""
    names = {task: result_name(task) for task in registry.names("task")}
    specs = [spec for task, name in names.items() for spec in metric_specs(task) if spec.name == name]
    return list(dict.fromkeys([*(spec.heading for spec in specs), FOREIGN_RESULT.heading]))


def metric_columns() -> dict[str, tuple[str, str]]:
    """Omniboard's column name -> the metric, and what is shown of its values: `min`, `max` or `last`."""
    name = result_name(DEFAULT).replace("test.", "validation.", 1)
    mode = next(spec.mode for spec in metric_specs(DEFAULT) if spec.name == name)
    return {
        name.replace(".", "_"): (name, mode),
        "nfe_forward": ("solver.nfe_forward", "last"),
        "epoch_seconds": ("time.epoch_seconds", "last"),
    }


def ensure_columns(database: Database[dict[str, Any]]) -> None:
    """Give Omniboard the useful columns, each once: what a person has changed or deleted since stays so."""
    settings = database["omniboard.settings"]
    known = settings.find_one({"name": GIVEN}) or {}
    given = set(known.get("value", ()))
    of_config, of_metrics = database["omniboard.custom.columns"], database["omniboard.metric.columns"]
    if not known:
        for name, config_path in COLUMNS_OF_0_1.items():
            of_config.delete_one({"name": name, "config_path": config_path})
    for name, config_path in config_columns().items():
        if name not in given:
            of_config.update_one({"name": name}, {"$setOnInsert": {"config_path": config_path}}, upsert=True)
    for name, (metric, extrema) in metric_columns().items():
        if name not in given:
            shown = {"metric_name": metric, "extrema": extrema}
            of_metrics.update_one({"name": name}, {"$setOnInsert": shown}, upsert=True)
    given |= {*config_columns(), *metric_columns()}
    settings.update_one({"name": GIVEN}, {"$set": {"value": sorted(given)}}, upsert=True)
    settings.update_one({"name": "row_height"}, {"$setOnInsert": {"value": 50}}, upsert=True)


def install(log: Path) -> Path:
    """The folder of the pinned Omniboard, which is installed on first use, once for all home folders of a user.

    Args:
        log: the file for what npm prints.

    Raises:
        BoardError: npm or Node.js is missing, the packages cannot be downloaded, or the cache folder is not writable.
    """
    _require("node")
    pins, folder = _pins(), _installation()
    if folder.exists():
        return folder
    _require("npm")
    with _usable(folder.parent, "XDG_CACHE_HOME"), FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():  # another process may have installed it meanwhile
            # Should we be killed, npm goes on, in a folder that nobody takes for an installation.
            with tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True
            ) as scratch:
                installed = Path(scratch) / "installed"
                _run_npm(pins, installed, log)
                installed.rename(folder)
    return folder


def outdated_dashboard() -> list[str]:
    """What of the dashboard is older than it should be, a sentence each."""
    sentences = []
    wanted = json.loads((SOURCE / "package.json").read_text())
    locked = json.loads((SOURCE / "package-lock.json").read_text()).get("packages", {})
    other = any(locked.get("", {}).get(key, {}) != wanted.get(key, {}) for key in ("dependencies", "devDependencies"))
    lifted = {name: version for name, version in wanted.get("overrides", {}).items() if isinstance(version, str)}
    if other or any(locked.get(f"node_modules/{name}", {}).get("version") != lifted[name] for name in lifted):
        sentences.append(
            f"{SOURCE / 'package-lock.json'} was made for another package.json: renew it with "
            "`npm install --package-lock-only` there"
        )
    installed = _installation()
    older = sorted(path for path in installed.parent.glob("omniboard-*") if path.is_dir() and path != installed)
    if older and not installed.exists():
        sentences.append(f"{older[-1]} is of an older lock: `odenet board` installs the present one")
    elif older:
        sentences.append(
            f"{', '.join(map(str, older))} are of older locks: delete them unless another checkout uses them"
        )
    return sentences


def _pins() -> list[Path]:
    return [SOURCE / "package.json", SOURCE / "package-lock.json"]


def _installation() -> Path:
    """Where the pinned Omniboard is, or will be."""
    version = hashlib.sha256(b"".join(pin.read_bytes() for pin in _pins())).hexdigest()[:16]
    return platformdirs.user_cache_path("odenet") / f"omniboard-{version}"


def _run_npm(pins: Sequence[Path], folder: Path, log: Path) -> None:
    folder.mkdir()
    for pin in pins:
        shutil.copy(pin, folder)
    create_private(log, "")
    with log.open("w") as written:
        done = subprocess.run(
            ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            check=False,
        )
    if done.returncode != 0:
        raise BoardError(
            f"npm could not install Omniboard, which needs the network once; look into {log} for the reason."
        )
    # The sources of Omniboard's page come with everything that built it: nine tenths of the installation.
    shutil.rmtree(folder / "node_modules/omniboard/web/node_modules", ignore_errors=True)


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise BoardError(f"The dashboard needs {program}, which is not here; install Node.js 20 or later.")


@contextlib.contextmanager
def _usable(folder: Path, variable: str) -> Iterator[None]:
    """Create the folder, and turn failures to write there into one sentence that names the environment variable."""
    try:
        private_folder(folder)
        yield
    except OSError as error:
        raise BoardError(
            f"The dashboard's folder {folder} cannot be used ({error.strerror}); "
            f"set that right, or name another folder in {variable}."
        ) from error


def _password(folder: Path) -> str:
    """The password of the dashboard's login, which is created on first use."""
    file = folder / LOGIN
    if not file.exists():
        create_private(file, json.dumps({"user": USER, "password": secrets.token_urlsafe(18)}))
    try:
        return str(json.loads(file.read_text())["password"])
    except (ValueError, KeyError, TypeError):
        raise BoardError(
            f"The dashboard's login {file} cannot be read; delete it, and the next start makes a new one."
        ) from None
