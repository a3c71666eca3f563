"""The forms in which people have images, and what is done about those that differ from ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays, checked_arrays
from pipeline.data.errors import DataError
from pipeline.data.labels import convert_labels
from pipeline.data.pixels import convert_pixels
from pipeline.data.stratified import TooFewItems, stratified_split

Given = Mapping[str, NDArray[Any]]
"""`x_train` and `y_train`, and `x_test` and `y_test` where there is a test split."""


@dataclass(frozen=True)
class Forms:
    """What is open where images do not come as arrays that are split.

    Attributes:
        size: height and width that pictures are resized to; None: as they are, which must be one size.
        test_fraction: of the images, where they are not split; None: all of them are the test split too.
    """

    size: tuple[int, int] | None = None
    test_fraction: float | None = 0.2

    @classmethod
    def square(cls, pixels: int | None, test_fraction: float | None) -> "Forms":
        """With pictures so many pixels across."""
        return cls(None if pixels is None else (pixels, pixels), test_fraction)


def arrays_of_user(origin: Path, given: Given, names: tuple[str, ...] | None, forms: Forms) -> Arrays:
    """Somebody's images and labels as `Arrays`, whose notes say what was done to them.

    Args:
        origin: names them in messages.
        names: of the classes, in the order of their labels; without it the labels are the names.

    Raises:
        DataError: they do not fit together, or can be meant in several ways; with the line that says which.
    """
    notes: list[str] = []
    pixels = convert_pixels(origin, {key: given[key] for key in given if key.startswith("x")}, notes)
    labels, names = convert_labels(origin, {key: given[key] for key in given if key.startswith("y")}, names, notes)
    if "x_test" not in pixels:
        pixels, labels = _split(origin, pixels["x_train"], labels["y_train"], names, forms.test_fraction, notes)
    elif forms.test_fraction not in (None, Forms.test_fraction):
        notes.append(f"data.test_fraction={forms.test_fraction:g} has no effect, as they have a test split")
    return checked_arrays(origin, **pixels, **labels, classes=names, notes=tuple(notes))


def _split(
    origin: Path,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    names: Sequence[str],
    fraction: float | None,
    notes: list[str],
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[np.int64]]]:
    """A test split of the images, the same for every seed, with the classes in their shares."""
    if fraction is None:
        notes.append("all images are taken for test images, as they are not split")
        return {"x_train": images, "x_test": images}, {"y_train": labels, "y_test": labels}
    if len(images) != len(labels):
        raise DataError(f"{origin}: {len(images)} images have {len(labels)} labels: give each image one")
    try:
        train, test = stratified_split(labels, fraction, random_state=0)
    except TooFewItems as error:
        raise DataError(
            f"{origin} has no test split, and {len(labels)} images are too few to hold {fraction:.0%} of them out with "
            f"every class on both sides ({error.told(names)}): give more images, another data.test_fraction, or a test "
            "split"
        ) from error
    notes.append(f"{len(test)} of {len(labels)} images were held out as the test split, the same for every seed")
    train, test = np.sort(train), np.sort(test)
    return {"x_train": images[train], "x_test": images[test]}, {"y_train": labels[train], "y_test": labels[test]}
