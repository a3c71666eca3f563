"""Images as rows of whole numbers, of the data sets that classifiers are trained on."""

from pathlib import Path

import numpy as np

from pipeline.data.catalogue import find, read
from pipeline.data.download import prepare
from pipeline.data.points import Rows
from pipeline.util.array_types import IntArray

LEVELS = 256


def read_image_rows(name: str, levels: int = LEVELS) -> Rows:
    """The images of a data set, downloaded if need be, one a row: channels, then rows of pixels.

    Args:
        levels: that the data set had before it was spread over 0 to 255.

    Raises:
        DataError: they cannot be had.
    """
    arrays = read(name, prepare(name))
    _, height, width, channels = arrays.x_test.shape
    parts = [_rows(images, levels) for images in (arrays.x_train, arrays.x_test)]
    return Rows(parts[0], parts[1], levels=levels, image_shape=(channels, height, width))


def find_images(name: str) -> Path | None:
    """Where they lie; None while they are to be downloaded."""
    return find(name)


def _rows(images: IntArray, levels: int) -> IntArray:
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    if levels == LEVELS:
        return rows
    counts: IntArray = np.rint(rows * ((levels - 1) / (LEVELS - 1))).astype(np.uint8)
    return counts
