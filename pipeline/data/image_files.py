"""A user's own images, read as a network takes them: PNG files, a folder of them, or an `.npz`."""

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
from PIL import Image
from torch import Tensor

from pipeline.data.images import to_pixels
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning

_KEYS = ("x", "x_test")
PICTURES = (".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".avif")
"""Endings of pictures that are no PNG."""


@dataclass(frozen=True)
class NamedImages:
    """Images with the names of where they come from.

    Attributes:
        pixels: uint8, shape (n, channels, height, width).
        resized: how many had another size.
    """

    names: tuple[str, ...]
    pixels: Tensor
    resized: int


def read_images(paths: Sequence[Path], shape: tuple[int, int, int]) -> NamedImages:
    """The images at `paths` as uint8 pixels of `shape` (channels, height, width).

    A PNG becomes grey (ITU-R 601 luma) or RGB as the network's channels ask, is laid on black where it is transparent,
    and is resized, bilinearly with antialiasing and without regard to its proportions, where its size differs.

    Args:
        paths: PNG files and folders of them, whose files come by name; or one `.npz` with `x` or `x_test`, uint8 of
            shape (n, height, width) or (n, height, width, channels), which is taken as it is.

    Raises:
        InvalidInput: a path that is not there, a file that is no such image, or a folder without any.
    """
    if len(paths) == 1 and paths[0].suffix == ".npz":
        return _read_npz(paths[0], shape)
    files = [file for path in paths for file in _png_files(path)]
    images = [_read_png(file, shape) for file in files]
    pixels = to_pixels(torch.from_numpy(np.stack([pixels for pixels, _ in images])))
    return NamedImages(tuple(map(str, files)), pixels, sum(resized for _, resized in images))


def _png_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]  # as macOS's ._a.png
    found = [file for file in files if file.suffix.lower() == ".png"]
    others = [file.name for file in files if file.suffix.lower() in PICTURES]
    told = f"{len(others)} pictures of other formats, such as {others[0]}" if others else ""
    if not found:
        has = f"; it has {told}: convert them" if others else "; name one that does, or an .npz"
        raise InvalidInput(f"the folder {path} has no PNG files{has}")
    if others:
        warnings.warn(OdenetWarning(f"{told}, are left out of {path}: convert them to PNG"), stacklevel=2)
    return found


def _read_png(path: Path, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], bool]:
    """Pixels of shape (height, width, channels), and whether they had another size."""
    channels, height, width = shape
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode.startswith("I"):  # Pillow would cut off all that is brighter than 255
                raise InvalidInput(f"{path} has 16 bits per channel; save it with 8")
            opaque = Image.new("RGBA", image.size, "black")
            opaque.alpha_composite(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{path} cannot be read as a PNG image ({error}); convert it to one") from error
    converted = opaque.convert("L" if channels == 1 else "RGB")
    resized = converted.size != (width, height)
    if resized:
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(converted, dtype=np.uint8).reshape(height, width, channels), resized


def _read_npz(path: Path, shape: tuple[int, int, int]) -> NamedImages:
    channels, height, width = shape
    images = _array(path)
    with_channels = images[..., np.newaxis] if images.ndim == 3 else images
    if images.dtype != np.uint8 or with_channels.shape[1:] != (height, width, channels) or len(images) == 0:
        raise InvalidInput(
            f"the images of {path} are {images.dtype} of shape {images.shape}, but the network takes uint8 of shape "
            f"(n, {height}, {width}, {channels}): save them so, or as PNG files, which are converted"
        )
    names = tuple(f"{path}[{index}]" for index in range(len(images)))
    return NamedImages(names, to_pixels(torch.from_numpy(with_channels)), 0)


def _array(path: Path) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in _KEYS:
                if key in file:
                    array: NDArray[Any] = file[key]
                    return array
            raise InvalidInput(f"{path} has neither x nor x_test; save the images with np.savez(file, x=images)")
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidInput(
            f"{path} cannot be read as an .npz of plain arrays ({error}); write it again with np.savez"
        ) from error
