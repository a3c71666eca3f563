"""What becomes of an error that nobody foresaw: one sentence for the person, the traceback in a file of theirs."""

import os
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from pipeline.util.errors import OdenetError, describe_os_error, in_a_line, shortened
from pipeline.util.files import private_folder
from pipeline.util.paths import home

LONGEST_REASON = 300


def describe_unforeseen(error: BaseException) -> str:
    """A sentence, whatever the error is; where its cause is not plain it names the file with the traceback."""
    if isinstance(error, OSError) and (known := describe_os_error(error)):
        return known
    reason = shortened(in_a_line(f"{type(error).__name__}: {error}".removesuffix(": ")), LONGEST_REASON)
    file = _write(error)
    if file is None:
        place = traceback.extract_tb(error.__traceback__)[-1:]
        where = f" in {Path(place[0].filename).name}, line {place[0].lineno}" if place else ""
        return f"something went wrong that should not have ({reason}){where}; no file can be written for the traceback"
    return (
        f"something went wrong that should not have ({reason}): the traceback is in {file}, please report it with that"
    )


def _write(error: BaseException) -> Path | None:
    """The file with the traceback, which only its owner can read: values in it may be anybody's."""
    now = datetime.now(UTC)
    lines = [f"{now.isoformat(timespec='seconds')}\n", f"{sys.argv}\n", *traceback.format_exception(error)]
    content = "".join(lines).encode(errors="backslashreplace")
    for folder in _folders():
        try:
            place = private_folder(folder)
            descriptor, name = tempfile.mkstemp(f"-{os.getpid()}.txt", f"{now:%Y%m%dT%H%M%S}-", place)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except (OSError, ValueError):
            continue
        return Path(name)
    return None


def _folders() -> list[Path]:
    temporary = Path(tempfile.gettempdir())
    try:
        return [home() / "errors", temporary]
    except OdenetError:
        return [temporary]
