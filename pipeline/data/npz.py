"""Reading images and labels from an `.npz` file; nothing in it is unpickled."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays
from pipeline.data.errors import DataError
from pipeline.data.forms import Forms, arrays_of_user
from pipeline.data.pixels import CHANNELS

_TRAIN, _TEST = ("x_train", "y_train"), ("x_test", "y_test")
_VALIDATION = ("x_val", "x_valid", "x_validation")


def read_npz(path: Path, classes: tuple[str, ...] | None = None, forms: Forms = Forms()) -> Arrays:  # noqa: B008 - frozen
    """The data set in `path`; its own `classes`, if it has them, go before those given.

    Raises:
        DataError: the file cannot be read, lacks an array, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in _keys(path, list(file))}
            named = file.get("classes")
            notes = [_left_out(key, arrays) for key in _VALIDATION if key in file]
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    if named is not None:
        classes = _class_names(path, named)
    return arrays_of_user(path, arrays, classes, forms).noting(*notes)


def describe_npz(path: Path) -> str:
    """How many images of which size `path` holds, read from its headers alone.

    Raises:
        DataError: the file cannot be read or lacks an array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            keys = _keys(path, [name.removesuffix(".npy") for name in archive.namelist()])
            numbers = [str(_shape(archive, key)[0]) for key in keys if key.startswith("x")]
            return f"{' + '.join(numbers)}, {_size(_shape(archive, 'x_train'))}"
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error


def _shape(archive: zipfile.ZipFile, key: str) -> tuple[int, ...]:
    with archive.open(f"{key}.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, _ = read_header(file)
    if len(shape) not in (3, 4):
        raise ValueError(f"{key} has shape {shape}")
    return shape


def _size(shape: tuple[int, ...]) -> str:
    """As channels × height × width."""
    if len(shape) == 3:
        shape = (*shape, 1)
    height, width, channels = shape[1:]
    if channels not in CHANNELS and height in CHANNELS:
        channels, height, width = shape[1:]
    return f"{channels} × {height} × {width}"


def _keys(path: Path, keys: list[str]) -> tuple[str, ...]:
    """The arrays to be read: with a test split, unless nothing of one is there."""
    wanted = (*_TRAIN, *_TEST) if any(key in keys for key in _TEST) else _TRAIN
    if missing := [key for key in wanted if key not in keys]:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; an .npz must have {', '.join(_TRAIN)}, and {', '.join(_TEST)} unless "
            "the test split is to be made of them"
        )
    return wanted


def _left_out(key: str, arrays: Mapping[str, Any]) -> str:
    remedy = "" if "x_test" in arrays else "; call it x_test to be tested on it"
    return f"{key} is left out, as validation images are taken of x_train{remedy}"


def _class_names(path: Path, names: NDArray[Any]) -> tuple[str, ...]:
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(
            f"{path}: classes must be a list of text, not {names.dtype} of shape {names.shape}; "
            "save it as np.array([...], dtype=str)"
        )
    return tuple(names.tolist())


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as an .npz of plain arrays ({error}); "
        "write it again with np.savez, without arrays of Python objects"
    )
