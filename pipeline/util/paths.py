"""Paths that people name, and the folders that the environment variables `ODENET_HOME` and `ODENET_DATA` choose."""

import os
from contextlib import suppress
from pathlib import Path

from pipeline.util.errors import InvalidInput, brief


def named_path(text: str | Path, what: str) -> Path:
    """The path that a person has named, absolute, with `~` for a home folder.

    Args:
        what: names it in the error message, as `ODENET_HOME`.

    Raises:
        InvalidInput: no file can have this name, or `~` is of nobody.
    """
    try:
        path = Path(text).expanduser()
        path = path.absolute()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except FileNotFoundError:
        raise InvalidInput(f"the working directory is gone, so there is no {what} {text}: change to another") from None
    except RuntimeError:
        user = str(text).partition("/")[0]
        raise InvalidInput(
            f"{what} is {brief(str(text))}, but there is no home folder of {user}: write it out"
        ) from None
    except ValueError:  # a zero byte
        raise InvalidInput(f"{what} is {brief(str(text))}, which no file can be called: name another") from None
    except OSError as error:
        raise InvalidInput(f"{what} is {brief(str(text))}, which cannot be ({error.strerror}): name another") from None
    return path


def is_same_place(first: str, second: str) -> bool:
    """Whether both name the same file or folder, or are the same name of something else."""
    return first == second or Path(first).resolve() == Path(second).resolve()


def home() -> Path:
    """The folder of the embedded store, the checkpoints and the runs not yet in the store.

    `ODENET_HOME`, or `.odenet` in the working directory.

    Raises:
        InvalidInput: no folder can be there.
    """
    return named_path(os.environ.get("ODENET_HOME") or ".odenet", "ODENET_HOME")


def data_folder() -> Path:
    """The folder of the data sets, in torchvision's layout: `ODENET_DATA`, or `data` in `home()`.

    Raises:
        InvalidInput: no folder can be there.
    """
    named = os.environ.get("ODENET_DATA")
    return named_path(named, "ODENET_DATA") if named else home() / "data"
