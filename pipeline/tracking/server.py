"""The embedded store's server process: `python server.py FOLDER PORT`.

Run as a file by `pipeline.tracking.embedded`, so it imports nothing of the pipeline. SecantusDB's own command
would have to listen without authentication once, to be given its first user; here the user is there before
the socket is.
"""

import contextlib
import gc
import importlib.util
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import secantus.server
from secantus.auth import SCRAM_SHA_256, derive_credentials
from secantus.server import SecantusDBServer

# Below the range that outgoing connections take theirs from, so that the port is still free after a restart
# and a client that keeps knocking on it meanwhile cannot be connected to itself.
PORTS = range(20000, 32000)

WATCH_SECONDS, WATCH_MISSES = 1.0, 3
"""How often the server looks whether its folder is still there, and how often in turn it has to be missing."""
END_SECONDS = 15.0
PANIC = "WT_PANIC"
"""What WiredTiger says of an engine that has to be opened anew."""

GARBAGE_THRESHOLD = 50_000
"""New containers between two collections; at Python's 700, reading many documents is mostly looking for garbage."""

CACHE_SIZE = "256M"
"""Of the storage engine; a document has at most 16 MB, a delivery writes one at a time."""


def main(folder: Path, port: int) -> None:
    """Serve the data in `folder` on 127.0.0.1 until SIGTERM; `server.json` says where, once it listens.

    `port` is the one of last time, which is taken again where it is free, because clients reconnect to the
    address they know; 0 when there was none.
    """
    os.umask(0o077)
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    gc.set_threshold(GARBAGE_THRESHOLD)
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)  # before threads start: they inherit the mask
    secantus.server.Storage = _lean_storage()
    server = SecantusDBServer(
        host="127.0.0.1",
        storage_path=str(folder / "data"),
        replica_set_name=None,
        require_auth=True,
        enable_test_commands=False,
        sync_on_commit=True,
        durable=True,
        cache_size=CACHE_SIZE,
    )
    _add_user(server, **json.loads((folder / "credentials.json").read_text()))
    _listen(server, port)
    _record(server, folder / "server.json")
    threading.Thread(target=_watch, args=(folder, server.storage), daemon=True).start()
    signal.sigwait(stop_signals)
    threading.Thread(target=_end_in_time, daemon=True).start()
    _stop(server)


def _lean_storage() -> type[Any]:
    """The class of the file beside this one: the folder itself is not searched for modules."""
    spec = importlib.util.spec_from_file_location("lean_storage", Path(__file__).with_name("lean_storage.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LeanStorage  # type: ignore[no-any-return]


def _watch(folder: Path, storage: Any) -> None:
    """End the process when the folder is gone, or is another server's: nobody would find this one any more."""
    misses = 0
    while misses < WATCH_MISSES:  # more than once, as the folder may be on a disk that hangs for a moment
        time.sleep(WATCH_SECONDS)
        _end_if_panicked(storage)
        try:
            is_ours = json.loads((folder / "server.json").read_text())["pid"] == os.getpid()
        except FileNotFoundError:
            is_ours = False
        except (OSError, ValueError, KeyError, TypeError):
            is_ours = True
        misses = 0 if is_ours else misses + 1
    os.kill(os.getpid(), signal.SIGTERM)


def _end_if_panicked(storage: Any) -> None:
    """End where a full disk, say, has made the storage engine give up: it would refuse everything from now on.

    What was acknowledged is on the disk, and the next command starts a server that finds it there.
    """
    try:
        storage.get_user("", "")  # which asks the engine, and not a catalogue in memory
    except Exception as error:  # the engine's own kinds have no common one
        if PANIC in str(error):
            with contextlib.suppress(OSError):  # of the log, on the same disk
                print(f"the storage engine has given up ({error}): the server ends", flush=True)
            os._exit(1)


def _end_in_time() -> None:
    """End, also where the storage cannot close what somebody has deleted: what was acknowledged is on the disk."""
    time.sleep(END_SECONDS)
    os._exit(1)


def _add_user(server: SecantusDBServer, user: str, password: str, database: str) -> None:
    """The one user, with the rights to one database; written at every start, so a new password counts."""
    record = {
        "_id": f"{database}.{user}",
        "user": user,
        "db": database,
        "credentials": derive_credentials(password).to_doc(),
        "roles": [{"role": "readWrite", "db": database}],
        "mechanisms": [SCRAM_SHA_256],
    }
    server.storage.add_user(database, user, record, replace=True)


def _listen(server: SecantusDBServer, port: int) -> None:
    known = [port] if port else []
    for candidate in [*known, *(PORTS.start + secrets.randbelow(len(PORTS)) for _ in range(50))]:
        server.port = candidate
        try:
            server.start()
            return
        except OSError:  # taken by another program
            continue
    raise OSError("no free port on 127.0.0.1")


def _record(server: SecantusDBServer, record: Path) -> None:
    """Written by the server itself, so that it can be found when the command that started it was killed."""
    written = record.with_suffix(".new")
    written.write_text(json.dumps({"pid": os.getpid(), "port": server.port}))
    written.replace(record)


def _stop(server: SecantusDBServer) -> None:
    """Stop without the two seconds that SecantusDB waits for its accepting thread, which only a client wakes."""
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    while stopping.is_alive():
        with contextlib.suppress(OSError):
            socket.create_connection((server.host, server.port), timeout=1).close()
        stopping.join(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
