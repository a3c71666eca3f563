"""A user's own images, read as a network takes them: PNG and JPEG files, a folder of them, or an `.npz`."""

import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.errors import DataError
from pipeline.data.images import to_pixels
from pipeline.data.pictures import Picture, by_format, told_of_others, visible_files
from pipeline.data.pixels import convert_pixels
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning

_KEYS = ("x", "x_test")


@dataclass(frozen=True)
class NamedImages:
    """Images with the names of where they come from.

    Attributes:
        pixels: uint8, shape (n, channels, height, width).
        resized: how many had another size, or have it still where the network's preprocessing takes any.
        notes: what was done to them besides, or looks as if it were not meant, by sentences.
    """

    names: tuple[str, ...]
    pixels: Tensor
    resized: int
    notes: tuple[str, ...] = ()


def read_images(paths: Sequence[Path], shape: tuple[int, int, int], *, any_size: bool = False) -> NamedImages:
    """The images at `paths` as uint8 pixels of `shape` (channels, height, width).

    They are read as `Picture.read` reads them.

    Args:
        paths: PNG and JPEG files and folders of them, whose files come by name; or one `.npz` with `x` or `x_test`, of
            the size that the network takes, which is converted as a training's images are.
        any_size: whether the arrays of an `.npz` may have, and keep, another height and width.

    Raises:
        InvalidInput: a path that is not there, a file that is no such image, or a folder without any.
    """
    if len(paths) == 1 and paths[0].suffix == ".npz":
        return _read_npz(paths[0], shape, any_size)
    files = [file for path in paths for file in _picture_files(path)]
    channels, height, width = shape
    images = [Picture(str(file), file).read(channels, (height, width)) for file in files]
    pixels = to_pixels(torch.from_numpy(np.stack([pixels for pixels, _ in images])))
    return NamedImages(tuple(map(str, files)), pixels, sum(resized for _, resized in images))


def _picture_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found, others = by_format(visible_files(path))
    if not found:
        has = f"; it has {told_of_others(others)}: convert them" if others else "; name one that does, or an .npz"
        raise InvalidInput(f"the folder {path} has no PNG or JPEG files{has}")
    if others:
        told = f"{told_of_others(others)}, are left out of {path}: convert them to PNG"
        warnings.warn(OdenetWarning(told), stacklevel=2)
    return found


def _read_npz(path: Path, shape: tuple[int, int, int], any_size: bool) -> NamedImages:
    channels, height, width = shape
    key, given = _array(path)
    notes: list[str] = []
    try:
        images = convert_pixels(path, {key: given}, notes)[key]
    except DataError as error:
        raise InvalidInput(str(error)) from error
    with_channels = images[..., np.newaxis] if images.ndim == 3 else images
    is_of_size = with_channels.shape[1:3] == (height, width)
    if with_channels.shape[3:] != (channels,) or not (is_of_size or any_size) or with_channels.size == 0:
        raise InvalidInput(
            f"the images of {path} are of shape {given.shape}, but the network takes (n, {height}, {width}, {channels})"
            ": save them so, or as PNG files, which are resized"
        )
    names = tuple(f"{path}[{index}]" for index in range(len(images)))
    resized = 0 if is_of_size else len(names)
    return NamedImages(names, to_pixels(torch.from_numpy(with_channels)), resized, tuple(notes))


def _array(path: Path) -> tuple[str, NDArray[Any]]:
    """The name of the array, and the array."""
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in _KEYS:
                if key in file:
                    return key, file[key]
            raise InvalidInput(f"{path} has neither x nor x_test; save the images with np.savez(file, x=images)")
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidInput(
            f"{path} cannot be read as an .npz of plain arrays ({error}); write it again with np.savez"
        ) from error
