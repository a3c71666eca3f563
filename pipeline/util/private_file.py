"""Files that hold a secret."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def create_private(path: Path, content: str) -> None:
    """Make a file that only its owner may read, whole; one that is there already stays as it is.

    Of several processes that make it at once the first wins: who needs the content reads it from the file.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # with the mode 0600
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        with suppress(FileExistsError):
            path.hardlink_to(part)  # a renamed file would replace what is there
    finally:
        part.unlink()
