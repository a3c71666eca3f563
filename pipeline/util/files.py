"""Writing files so that neither a crash nor a full disk leaves half of one behind."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.util.errors import OdenetError


@contextmanager
def whole_file(path: Path, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a new file that replaces `path` in one step, when the block ends and its content is on the disk.

    If the block raises, `path` stays as it was. A kill may leave `path` with `.part` appended beside it, which the next
    call overwrites.

    Args:
        private: only the owner may read the file, and processes may write the same one at the same time.

    Raises:
        OSError: the file cannot be written.
    """
    if private:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # with the mode 0600
        file, part = os.fdopen(descriptor, "wb"), Path(name)
    else:
        part = path.with_name(f"{path.name}.part")
        file = part.open("wb")
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
    """Write a file that the user asked for, whole or not at all.

    Args:
        what: names the file in the error message, such as `page`.

    Raises:
        OdenetError: the file cannot be written.
    """
    if path.name in ("", ".."):
        raise OdenetError(f"cannot write the {what} {path} (it is a folder): name a file in it")
    try:
        write_whole(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OdenetError(
            f"cannot write the {what} {path} ({error.strerror}): choose a folder that exists and has room"
        ) from error


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, and return when the content is on the disk.

    Raises:
        OSError: the file cannot be written; it may have got a part of the content.
    """
    with path.open("ab") as file:
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


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
