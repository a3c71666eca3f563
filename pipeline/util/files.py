"""Writing files so that neither a crash nor a full disk leaves half of one behind.

Whatever the umask, what is written here is for its owner alone, but for the results that a person asked for.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.util.errors import OdenetError
from pipeline.util.paths import home

PRIVATE, PRIVATE_FOLDER = 0o600, 0o700


@contextmanager
def whole_file(path: Path, concurrent: bool = False) -> Iterator[IO[bytes]]:
    """Open a new file, its owner's alone, that replaces `path` in one step when the block ends and it is on the disk.

    If the block raises, `path` stays as it was. A kill may leave `path` with `.part` appended beside it, which the next
    call overwrites.

    Args:
        concurrent: processes may write the same one at the same time, or somebody else has files beside it; what a kill
            leaves is then a hidden file that begins with `.part-`.

    Raises:
        OSError: the file cannot be written.
    """
    if concurrent:
        descriptor, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)  # with the mode 0600
        file, part = os.fdopen(descriptor, "wb"), Path(name)
    else:
        part = path.with_name(f"{path.name}.part")
        file = os.fdopen(_open_private(part, os.O_TRUNC), "wb")
    try:
        with file:
            yield file
            _sync(file)
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Replace `path` in one step, once the content is on the disk; see `whole_file`.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(path) as file:
        file.write(content)


def write_result(path: Path, content: str | bytes, what: str) -> None:
    """Write a file that the user asked for, whole or not at all, readable by whom the umask says, unless in our home.

    Args:
        what: names the file in the error message, such as `page`.

    Raises:
        OdenetError: the file cannot be written.
    """
    if path.name in ("", ".."):
        raise OdenetError(f"cannot write the {what} {path} (it is a folder): name a file in it")
    encoded = content.encode() if isinstance(content, str) else content
    try:
        path = path.resolve()  # a link stays one
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe, or what shows a stream
            path.write_bytes(encoded)
            return
        with whole_file(path, concurrent=True) as file:
            file.write(encoded)
        if not path.absolute().is_relative_to(home()):
            path.chmod(0o666 & ~_umask())
    except OSError as error:
        raise OdenetError(
            f"cannot write the {what} {path} ({error.strerror}): choose a folder that exists and has room"
        ) from error


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, and return when the content is on the disk.

    Raises:
        OSError: the file cannot be written; it may have got a part of the content.
    """
    with os.fdopen(_open_private(path, os.O_APPEND), "ab") as file:
        file.write(content)
        _sync(file)


def create_private(path: Path, content: str) -> None:
    """Create a file that only its owner may read, unless it exists.

    If several processes create the file at the same time, the first one wins: read the file to know its content.

    Raises:
        OSError: the file cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # with the mode 0600
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        with suppress(FileExistsError):
            path.hardlink_to(part)  # renaming would replace a file that exists
    finally:
        part.unlink()


def private_folder(path: Path) -> Path:
    """The folder, made where it is missing, as are those above it: for their owner alone, whatever the umask.

    Raises:
        OSError: it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(PRIVATE_FOLDER)
    path.mkdir(exist_ok=True)  # raises where a file is in its place
    return path


def tighten(folder: Path) -> None:
    """Take from all but the owner what other programs have let them do with what is in the folder."""
    for path in open_to_others(folder):
        with suppress(OSError):
            path.chmod(path.stat().st_mode & 0o700)


def open_to_others(folder: Path) -> Iterator[Path]:
    """The folder and whatever is in it that somebody else than its owner may read, write or enter; links aside."""
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            if not path.is_symlink() and path.stat().st_mode & 0o077:
                yield path


def _open_private(path: Path, flags: int) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, PRIVATE)
    with suppress(OSError):  # it may be a file that was there, and another's
        os.fchmod(descriptor, PRIVATE)
    return descriptor


def _umask() -> int:
    """That of the process, which can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
