"""Files that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.util.errors import OdenetError


@contextmanager
def whole_file(path: Path, what: str) -> Iterator[Path]:
    """Take the place of `path` with what is written within; what was there stays until then.

    Args:
        what: is written, as `page`, for the sentence that tells of a failure.

    Yields:
        The file to write instead, which is beside `path`.

    Raises:
        OdenetError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise OdenetError(
            f"cannot write the {what} {path} ({error.strerror}): choose a folder that exists and has room"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()
