"""scikit-learn's handwritten digits: 1 797 real images that need no download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline import plugins
from pipeline.data.arrays import Arrays, checked_arrays
from pipeline.data.stratified import stratified_split

_TEST_FRACTION = 0.2


@plugins.data_set("digits", shape=(1, 8, 8), classes=10, summary="1437 + 360, 1 × 8 × 8")
def read_digits() -> Arrays:
    """The digits, a stratified fifth of them held out as the test split, the same fifth for every run.

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (its test part, 8 × 8, 0 to 16).
    """
    folder = _folder()
    *pixels, labels = np.loadtxt(folder / "digits.csv.gz", delimiter=",").T
    images = np.rint(np.stack(pixels, axis=1) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    digits = labels.astype(np.int64)
    train, test = stratified_split(digits, _TEST_FRACTION, random_state=0)
    classes = tuple(str(digit) for digit in range(10))
    return checked_arrays(folder, images[train], digits[train], images[test], digits[test], classes)


def _folder() -> Path:
    """Where scikit-learn has its data; to import it, which takes a second, is not needed for that."""
    found = find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "datasets" / "data"
