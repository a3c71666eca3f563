"""The store of a single machine: one SecantusDB server for each home folder, started on demand and shared."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pymongo
from filelock import FileLock
from pymongo.errors import PyMongoError

from pipeline.tracking.address import StoreAddress, StoreError
from pipeline.util.files import PRIVATE, PRIVATE_FOLDER, create_private, private_folder

DATABASE = "odenet"
SERVER = Path(__file__).with_name("server.py")
START_SECONDS = 60
STOP_SECONDS = 20
PING_SECONDS = 10
NEEDED_MB = 10


@dataclass(frozen=True)
class StoreStatus:
    """The output of `odenet store status`. `address` hides the password, and is empty while the server is down."""

    running: bool
    address: str
    pid: int | None
    folder: Path
    size_mb: float


@dataclass(frozen=True)
class _Server:
    pid: int
    port: int


class EmbeddedStore:
    """The server with its data, its log and its credentials, in the folder `store` of a home folder.

    The server keeps running after the command that started it. Commands that start or stop it at the same time wait
    for each other by a file lock, which the system releases if its holder dies.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home.resolve() / "store"  # by which one server is found, however the home is spelt
        self._log = self.folder / "server.log"
        self._credentials = self.folder / "credentials.json"
        self._record = self.folder / "server.json"

    def start(self) -> StoreAddress:
        """Start the server unless it is running, and return its address.

        Raises:
            StoreError: the folder cannot be written, the disk is full, or the server does not start.
        """
        with self._locked():
            self._ensure_credentials()
            return self._address(self._running() or self._launch())

    def stop(self) -> bool:
        """Stop the server; False if none was running."""
        if not self.folder.is_dir():
            return False
        with self._locked():
            server = self._find()
            if server is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGTERM)
                if not self._ended(STOP_SECONDS):
                    os.kill(server.pid, signal.SIGKILL)  # every acknowledged write is on disk already
                    self._ended(STOP_SECONDS)
            return True

    def status(self) -> StoreStatus:
        """The state of the server, which is not started for this."""
        server = self._find()
        sizes = [_size(path) for path in self.folder.rglob("*")] if self.folder.is_dir() else []
        return StoreStatus(
            running=server is not None,
            address=self._address(server).redacted() if server else "",
            pid=server.pid if server else None,
            folder=self.folder,
            size_mb=sum(sizes) / 1e6,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            private_folder(self.folder).chmod(PRIVATE_FOLDER)
            with FileLock(self.folder / "lock", mode=PRIVATE):
                yield
        except OSError as error:
            raise StoreError(
                f"The store's folder {self.folder} cannot be used ({error.strerror}); "
                "set that right, or name another folder in ODENET_HOME."
            ) from error

    def _ensure_credentials(self) -> None:
        if not self._credentials.exists():
            login = {"user": "odenet", "password": secrets.token_urlsafe(24), "database": DATABASE}
            create_private(self._credentials, json.dumps(login))

    def _address(self, server: _Server) -> StoreAddress:
        try:
            login = json.loads(self._credentials.read_text())
            place = f"{login['user']}:{login['password']}@127.0.0.1:{server.port}/{login['database']}"
        except (OSError, ValueError, KeyError):
            raise StoreError(
                f"The store's login {self._credentials} cannot be read; run `odenet store stop` and delete "
                "that file, and the next start makes a new one."
            ) from None
        return StoreAddress(f"mongodb://{place}", login["database"], embedded=True)

    def _recorded(self) -> _Server | None:
        """The server that was started last, whether or not it is still running."""
        try:
            record = json.loads(self._record.read_text())
            return _Server(pid=int(record["pid"]), port=int(record["port"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _find(self) -> _Server | None:
        """The server that was started last, if its process is still running and serves this folder."""
        server = self._recorded()
        if server is None:
            return None
        try:
            process = psutil.Process(server.pid)
        except (psutil.Error, ValueError):
            return None
        return server if _is_same(_served_folder(process), self.folder) else None

    def _ended(self, seconds: float) -> bool:
        """Wait until the server has ended, at most so long; a zombie has ended."""
        deadline = time.monotonic() + seconds
        while self._find() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _running(self) -> _Server | None:
        """The running server, after it has answered a ping."""
        server = self._find()
        if server is None:
            return None
        with pymongo.MongoClient[dict[str, object]](
            "127.0.0.1", server.port, serverSelectionTimeoutMS=int(PING_SECONDS * 1000)
        ) as client:
            try:
                client.admin.command("ping")
            except PyMongoError as error:
                if self._find() is None:  # it has ended meanwhile
                    return None
                raise StoreError(
                    f"The store's server (process {server.pid}) does not answer on port {server.port}; "
                    "run `odenet store stop`, then try again."
                ) from error
        return server

    def _launch(self) -> _Server:
        """Start a server, or find one that a killed command had started; return it when it listens."""
        self._require_space()
        deadline = time.monotonic() + START_SECONDS
        while True:
            if (server := self._attempt(deadline)) or (server := self._running()):
                return server
            # Another server on this folder is shutting down, or one that nobody recorded yet is starting.
            lines = self._log.read_text(errors="replace").splitlines()
            if "Device or resource busy" not in "\n".join(lines) or time.monotonic() > deadline:
                reason = lines[-1] if lines else "without a word"
                raise StoreError(f"The store's server did not start ({reason}); look into {self._log} and its folder.")
            time.sleep(0.2)

    def _require_space(self) -> None:
        """Refuse to start on a full disk: the server would start and fail at its first write."""
        free_mb = shutil.disk_usage(self.folder).free / 1e6
        if free_mb < NEEDED_MB:
            raise StoreError(
                f"The disk of {self.folder} is full ({free_mb:.1f} MB left, {NEEDED_MB} are needed); "
                "free some space, or name another folder in ODENET_HOME."
            ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _attempt(self, deadline: float) -> _Server | None:
        """Start a server; None if it ended before it listened."""
        known = self._recorded()
        self._log.unlink(missing_ok=True)
        create_private(self._log, "")
        with self._log.open("ab") as log:
            # -P keeps the script's own folder from being searched for modules.
            process = subprocess.Popen(
                [sys.executable, "-P", str(SERVER), str(self.folder), str(known.port if known else 0)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # Each thread of C's allocator keeps what it frees, and each connection has a thread.
                env={**os.environ, "MALLOC_ARENA_MAX": "2"},
                start_new_session=True,
            )
        while process.poll() is None:
            server = self._find()
            if server is not None and server.pid == process.pid:
                return server
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.02)
        return None


def stray_servers() -> Iterator[tuple[int, Path]]:
    """Process and folder of each server whose folder is gone, or has another server: nobody finds it any more."""
    for process in psutil.process_iter():
        folder = _served_folder(process)
        with contextlib.suppress(psutil.Error):
            is_others = process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE
            if folder is None or is_others or time.time() - process.create_time() < START_SECONDS:
                continue
            known = EmbeddedStore(folder.parent)._recorded()
            if known is None or known.pid != process.pid:
                yield process.pid, folder


def _served_folder(process: psutil.Process) -> Path | None:
    """The folder that this process serves, if it is a server of ours."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return None
    # By name alone: another checkout of these sources may have started it.
    return Path(words[-2]) if len(words) > 3 and Path(words[-3]).name == SERVER.name else None


def _is_same(served: Path | None, folder: Path) -> bool:
    """Whether it is the folder, or another name of it: an earlier version's server may have been given one."""
    if served is None:
        return False
    try:
        return served == folder or served.samefile(folder)
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # the server deletes its old log files
        return 0
