"""Arrays of images as uint8 pixels with their channels last, where it is certain what they mean."""

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.errors import DataError

CHANNELS = (1, 3)
WHITE = 255
DARKEST_WHITE = 128
"""Whole numbers of which none is as large are rather on a scale of their own."""
SLIGHTLY_ABOVE_ONE = 1.5
"""Up to which numbers are taken to be meant from 0 to 1, as interpolation leaves them."""


def convert_pixels(origin: Path, given: Mapping[str, NDArray[Any]], notes: list[str]) -> dict[str, NDArray[np.uint8]]:
    """Images by the names of their arrays as uint8 from 0 to 255, channels last where they have any.

    What the numbers mean is decided for all arrays together: those of a test split are no other than a training's.

    Args:
        notes: is given a sentence for what was done.

    Raises:
        DataError: numbers or shapes that can be meant in several ways; with the line that converts them.
    """
    kinds = {array.dtype for array in given.values()}
    if len(kinds) > 1:
        said = " and ".join(f"{key} is {array.dtype}" for key, array in given.items())
        raise DataError(f"{origin}: {said}: save both in one way")
    arrays = {key: _channels_last(origin, key, array) for key, array in given.items()}
    if any(arrays[key] is not array for key, array in given.items()):
        notes.append("channels, which came first, were put last")
    return _as_bytes(origin, arrays, notes)


def _channels_last(origin: Path, name: str, images: NDArray[Any]) -> NDArray[Any]:
    if 0 in images.shape or images.ndim not in (2, 4):
        return images  # which is looked at later
    if images.ndim == 2:
        raise _rows(origin, name, images)
    if images.shape[3] in CHANNELS:
        return images
    if images.shape[1] in CHANNELS:
        return np.moveaxis(images, 1, 3)
    for axis, line in ((3, f"{name} = {name}[..., :{{}}]"), (1, f"{name} = {name}[:, :{{}}]")):
        if images.shape[axis] in (2, 4):  # with transparency
            kept = images.shape[axis] - 1
            raise DataError(
                f"{origin}: {name} has shape {images.shape}, of {kept + 1} channels, and images have 1 or 3: leave out "
                f"the transparency, if it is that, as in {line.format(kept)}"
            )
    return images


def _rows(origin: Path, name: str, images: NDArray[Any]) -> DataError:
    """What is to be said of images that lie in rows."""
    number, length = images.shape
    for channels in CHANNELS:
        side = isqrt(length // channels)
        if length == channels * side**2:
            shape = f"({side}, {side})" if channels == 1 else f"({channels}, {side}, {side})"
            line = f"{name} = {name}.reshape(-1, {shape[1:-1]})"
            return DataError(
                f"{origin}: {name} has shape {images.shape}, images as rows: give them their height and width, as in "
                f"{line} if they are {side} × {side}"
            )
    return DataError(
        f"{origin}: {name} has shape ({number}, {length}), but images are (n, height, width) or "
        "(n, height, width, channels) with 1 or 3 channels: give them their height and width with reshape"
    )


def _as_bytes(origin: Path, given: Mapping[str, NDArray[Any]], notes: list[str]) -> dict[str, NDArray[np.uint8]]:
    filled = {key: array for key, array in given.items() if array.size}
    names, dtype = " and ".join(given), next(iter(given.values())).dtype
    if dtype == np.uint8 or not filled:
        brightest = max((int(array.max()) for array in filled.values()), default=WHITE)
        if 0 < brightest < DARKEST_WHITE:
            line = f"x_train = (x_train * (255 / {brightest})).round().astype('uint8'), and so with x_test"
            remedy = f"use {line}" if origin.suffix == ".npz" else "save them brighter"
            notes.append(
                f"they are dark, {brightest} at the brightest where 255 is white; if {brightest} is meant to be white, "
                f"{remedy}"
            )
        return {key: array.astype(np.uint8, copy=False) for key, array in given.items()}
    if dtype.kind == "b":
        notes.append("truth values became 0 and 255")
        return {key: array.astype(np.uint8) * np.uint8(WHITE) for key, array in given.items()}
    if dtype.kind not in "iuf":
        raise DataError(f"{origin}: {names} must be numbers, pixels from 0 to 255, not {dtype}")
    lowest = float(min(array.min() for array in filled.values()))
    highest = float(max(array.max() for array in filled.values()))
    if not np.isfinite([lowest, highest]).all():
        line = "x_train = np.nan_to_num(x_train)"
        raise DataError(f"{origin}: {names} have values that are no numbers: fill them in, as in {line}")
    if dtype.kind == "f" and lowest >= 0 and highest <= 1:
        notes.append("numbers from 0 to 1 became whole ones from 0 to 255")
        return {key: np.rint(array * WHITE).astype(np.uint8) for key, array in given.items()}
    is_whole = dtype.kind != "f" or all((array == np.rint(array)).all() for array in filled.values())
    if is_whole and lowest >= 0 and DARKEST_WHITE <= highest <= WHITE:
        notes.append(f"whole numbers from {lowest:g} to {highest:g}, stored as {dtype}, became uint8")
        return {key: array.astype(np.uint8) for key, array in given.items()}
    raise DataError(
        f"{origin}: {names} are {dtype} from {lowest:g} to {highest:g}, and pixels are uint8 from 0 to 255, or numbers "
        f"from 0 to 1: convert them, as in {_line(lowest, highest, is_whole)}"
    )


def _line(lowest: float, highest: float, is_whole: bool) -> str:
    """What would convert numbers of this range, if it is what it seems to be."""
    if lowest < 0 and lowest >= -1 and highest <= 1:
        return "x_train = ((x_train + 1) * 127.5).round().astype('uint8') for numbers from -1 to 1"
    if lowest >= 0 and highest <= SLIGHTLY_ABOVE_ONE and not is_whole:
        return "x_train = (x_train.clip(0, 1) * 255).round().astype('uint8') for numbers from 0 to 1"
    if lowest >= 0 and DARKEST_WHITE <= highest <= WHITE and not is_whole:
        return "x_train = x_train.round().astype('uint8')"
    if lowest >= 0:
        return f"x_train = (x_train * (255 / {highest:g})).round().astype('uint8') where {highest:g} is white"
    images = "x_train.astype(float)" if is_whole else "x_train"  # whole numbers of few bits would wrap around
    stretched = f"x_train = (({images} - {lowest:g}) * (255 / {highest - lowest:g})).round().astype('uint8')"
    return f"{stretched} where {lowest:g} is black and {highest:g} white"
