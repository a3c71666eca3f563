"""MNIST, Fashion-MNIST and QMNIST: IDX files in torchvision's layout."""

import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays, checked_arrays, describe_shapes
from pipeline.data.errors import DataError
from pipeline.data.layout import Archive, TorchvisionLayout

IMAGE_DIMENSIONS, LABEL_DIMENSIONS = 3, 2
REMEDY = "remove its data set's folder and prepare it again"
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
QMNIST_FILES = (
    *("qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int"),
    *("qmnist-test-images-idx3-ubyte", "qmnist-test-labels-idx2-int"),
)
_ELEMENT_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class MnistLayout(TorchvisionLayout):
    """The layout of torchvision's `MNIST` and its likes.

    The raw files are read here, not through torchvision's class: that prefers a pickled copy in `processed`, and
    checks sizes by assertions alone.
    """

    def archives(self) -> list[Archive]:
        mirrors, resources = self.torchvision_class.mirrors, self.torchvision_class.resources
        return [Archive(tuple(mirror + name for mirror in mirrors), name, md5) for name, md5 in resources]

    def files(self) -> list[str]:
        """Training images, training labels, test images, test labels."""
        return [f"{self.unpack_into}/{name}" for name in self._names()]

    def read(self, root: Path) -> Arrays:
        x_train, y_train, x_test, y_test = (read_idx(root / file) for file in self.files())
        y_train, y_test = self._labels(y_train), self._labels(y_test)
        return checked_arrays(root / self.folder, x_train, y_train, x_test, y_test, self.classes)

    def describe(self, root: Path) -> str:
        train, _, test, _ = (read_idx_shape(root / file) for file in self.files())
        for file, shape in zip(self.files()[::2], (train, test), strict=True):
            if len(shape) != IMAGE_DIMENSIONS:
                raise DataError(f"{root / file} has no images but an array of shape {shape}: {REMEDY}")
        return describe_shapes(train, test)

    def _names(self) -> tuple[str, ...]:
        return FILES

    def _labels(self, stored: NDArray[Any]) -> NDArray[Any]:
        return stored


class QmnistLayout(MnistLayout):
    """QMNIST, whose archives have addresses of their own and whose labels come with their history.

    Source: Yadav & Bottou 2019, Cold Case: The Lost MNIST Digits.
    """

    def archives(self) -> list[Archive]:
        resources = self.torchvision_class.resources
        return [Archive((url,), url.rsplit("/", 1)[-1], md5) for url, md5 in [*resources["train"], *resources["test"]]]

    def _names(self) -> tuple[str, ...]:
        return QMNIST_FILES

    def _labels(self, stored: NDArray[Any]) -> NDArray[Any]:
        if stored.ndim != LABEL_DIMENSIONS or stored.shape[1] == 0:
            raise DataError(f"the labels of QMNIST have shape {stored.shape}, and not (n, 8): {REMEDY}")
        return stored[:, 0]  # (n, 8): the class, then series, writer and so on


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, of the file's own type and shape.

    Raises:
        DataError: it is no IDX file, or not as long as its header says.
    """
    with path.open("rb") as file:
        element, shape = _read_header(path, file)
        return np.fromfile(file, element).reshape(shape)


def read_idx_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array in an IDX file; as sure as `read_idx` that the file is whole."""
    with path.open("rb") as file:
        return _read_header(path, file)[1]


def _read_header(path: Path, file: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...]]:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _ELEMENT_TYPES:
        raise DataError(f"{path} is not an IDX file; remove its data set's folder and prepare it again")
    element, dimensions = np.dtype(_ELEMENT_TYPES[start[2]]), start[3]
    sizes = file.read(4 * dimensions)
    shape = struct.unpack(f">{dimensions}I", sizes) if len(sizes) == 4 * dimensions else ()
    expected = file.tell() + math.prod(shape) * element.itemsize
    size = os.fstat(file.fileno()).st_size
    if not shape or size != expected:
        raise DataError(
            f"{path} is {size} bytes long and not the {expected} that its header announces; "
            "remove its data set's folder and prepare it again"
        )
    return element, shape
