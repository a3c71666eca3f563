"""Everything that training needs to go on, in one file that is whole at any instant."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from pipeline.util.errors import OdenetError
from pipeline.util.files import private_folder, write_whole


class CheckpointError(OdenetError):
    """A checkpoint that cannot be written or read."""


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Replace the checkpoint at `path` in one step: a kill at any instant leaves the old or the new one whole.

    Raises:
        CheckpointError: the disk refuses, which is said with its reason; the old checkpoint stays.
    """
    serialised = io.BytesIO()  # torch writes to a file by itself too, but hides the disk's reason where that fails
    torch.save(state, serialised)
    try:
        private_folder(path.parent)
        write_whole(path, serialised.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be written ({error.strerror}): make room or move ODENET_HOME"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote: tensors and plain values, nothing else is ever unpickled.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch's format, whose checksums torch writes but does not read
            damaged = archive.testzip()
        if damaged:
            raise zipfile.BadZipFile(damaged)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}: start the run again") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({type(error).__name__}): start the run again"
        ) from error
    return state
