"""The folder of a run on this machine: where it is, and the lock by which is known who is at work in it."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from pipeline.util.files import PRIVATE

LOOK_SECONDS = 0.05
"""Who is at work holds a lock for longer than that; who looks at it does not."""


def run_folder(home: Path, document: Mapping[str, Any]) -> Path:
    """Where a run keeps its record and its checkpoint on this machine."""
    return home / "runs" / quote(f"{document['_id']}-{document['uid'][:8]}", safe="")


def waiting_records(home: Path) -> list[Path]:
    """Folders of the records on this machine that a store does not have in full, live runs' included."""
    return sorted(path.parent for path in (home / "runs").glob("*/record.json"))


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether no process is at work on the record; if so, this one holds its lock within, where there is a folder."""
    if not folder.is_dir():
        yield True
        return
    try:
        lock = lock_folder(folder, LOOK_SECONDS)
    except BlockingIOError:
        yield False
        return
    except FileNotFoundError:  # the folder went this moment
        yield True
        return
    with lock:
        yield True


def is_locked(folder: Path) -> bool | None:
    """Whether a process is at work on the run of this folder; None where there is none, and so no telling."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False if folder.is_dir() else None
    except OSError:
        return None
    return False


def lock_folder(folder: Path, patience_seconds: float = 0.0) -> IO[str]:
    """The folder's lock, held until the file is closed.

    Args:
        patience_seconds: how long to wait for a process that lets go of it.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be written.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        lock = os.fdopen(descriptor, "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # who only looks whether it is held lets go at once
            continue
        except BaseException:
            lock.close()
            raise
        if is_lock_of(lock, folder):
            return lock
        lock.close()  # who held it has removed it, and it keeps nobody out any more


def is_lock_of(lock: IO[str], folder: Path) -> bool:
    """Whether it is the folder's lock still."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat())
    except OSError:
        return False
