"""A data set as plain arrays, checked once, whatever it was read from."""

import hashlib
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.errors import DataError
from pipeline.util.errors import brief
from pipeline.util.user_warnings import OdenetWarning


@dataclass(frozen=True)
class Arrays:
    """A data set as it is stored.

    Images are uint8 of shape (n, height, width, channels) with 1 or 3 channels, labels int64 of shape (n,)
    with values 0 to len(classes) - 1.

    Attributes:
        notes: what was done to make them so, by sentences.
    """

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> "Arrays":
        """The same with sentences before its own."""
        return replace(self, notes=(*notes, *self.notes))

    def fingerprint(self) -> str:
        """The sha256 (hex) of the four arrays' bytes, in order; the same whatever file they were read from."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def checked_arrays(
    origin: Path,
    x_train: NDArray[Any],
    y_train: NDArray[Any],
    x_test: NDArray[Any],
    y_test: NDArray[Any],
    classes: tuple[str, ...] | None,
    notes: tuple[str, ...] = (),
) -> Arrays:
    """The arrays read from `origin`, once they are known to fit together.

    Without `classes` the classes are the labels of the training images, named by their numbers.

    Raises:
        DataError: the first array that is not what `Arrays` says, or does not fit the others.
    """
    x_train, x_test = _images(origin, "x_train", x_train), _images(origin, "x_test", x_test)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{origin}: the images of x_train are {_size(x_train)} and those of x_test {_size(x_test)}; "
            "they must be of one size"
        )
    y_train = _labels(origin, "y_train", y_train, len(x_train))
    y_test = _labels(origin, "y_test", y_test, len(x_test))
    if classes is None:
        classes = _numbered_classes(origin, y_train)
    else:
        _warn_of_odd_names(origin, classes, y_train)
    for name, labels in (("y_train", y_train), ("y_test", y_test)):
        if labels.min() < 0 or labels.max() >= len(classes):
            raise DataError(
                f"{origin}: {name} has labels from {labels.min()} to {labels.max()}, "
                f"but with {len(classes)} classes they must be 0 to {len(classes) - 1}"
            )
    # As torch takes them: a reversed axis has a negative stride, and what cannot be written may be a buffer of others.
    x_train, x_test = (np.require(images, requirements=["C", "W"]) for images in (x_train, x_test))
    y_train, y_test = (np.require(labels, requirements=["C", "W"]) for labels in (y_train, y_test))
    return Arrays(x_train, y_train, x_test, y_test, classes, notes)


def _warn_of_odd_names(origin: Path, classes: tuple[str, ...], y_train: NDArray[np.int64]) -> None:
    """Of names that were hardly meant so."""
    labels = set(np.unique(y_train).tolist())
    twice = [name for name, times in Counter(classes).items() if times > 1]
    if twice:
        said = f"{origin}: {len(classes)} classes have {len(set(classes))} names, so tables cannot tell them apart"
        warnings.warn(OdenetWarning(f"{said}: {brief(twice[0])} is there more than once"), stacklevel=3)
    elif without := [name for label, name in enumerate(classes) if label not in labels]:
        said = f"{origin}: there are {len(classes)} names of classes and images of {len(classes) - len(without)}"
        said += f": the network gets outputs that nothing trains; leave names out, as {brief(without[0])}"
        warnings.warn(OdenetWarning(f"{said}, or number the labels from 0 if that is there"), stacklevel=3)


def describe_shapes(train: tuple[int, ...], test: tuple[int, ...]) -> str:
    """'60000 + 10000, 1 × 28 × 28' for the shapes of the training and test images as they are stored."""
    height, width, *channels = train[1:]
    return f"{train[0]} + {test[0]}, {channels[0] if channels else 1} × {height} × {width}"


def _images(origin: Path, name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8:
        raise DataError(f"{origin}: {name} must be uint8 pixels from 0 to 255, not {images.dtype}")
    fits = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    if not fits or 0 in images.shape:
        raise DataError(
            f"{origin}: {name} has shape {images.shape}, but images are (n, height, width) or "
            "(n, height, width, channels) with 1 or 3 channels, and there must be some"
        )
    return images if images.ndim == 4 else images[..., np.newaxis]


def _labels(origin: Path, name: str, labels: NDArray[Any], images: int) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu":
        raise DataError(f"{origin}: {name} must be whole numbers, not {labels.dtype}")
    if labels.shape != (images,):
        raise DataError(
            f"{origin}: {name} has shape {labels.shape}, but {images} images need labels of shape ({images},)"
        )
    return labels.astype(np.int64)


def _numbered_classes(origin: Path, labels: NDArray[np.int64]) -> tuple[str, ...]:
    present = np.unique(labels)
    if not np.array_equal(present, np.arange(len(present))):
        raise DataError(
            f"{origin}: the labels of y_train must be the whole numbers 0 to k - 1, each of them present, "
            f"but its {len(present)} labels run from {present[0]} to {present[-1]}"
        )
    return tuple(str(label) for label in present)


def _size(images: NDArray[np.uint8]) -> str:
    return " × ".join(str(length) for length in images.shape[1:])
