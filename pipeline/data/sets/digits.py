"""scikit-learn's handwritten digits: 1 797 real images that need no download."""

from pathlib import Path

import numpy as np

from pipeline import plugins
from pipeline.data.arrays import Arrays, checked_arrays

_TEST_FRACTION = 0.2


@plugins.data_set("digits", shape=(1, 8, 8), classes=10, summary="1437 + 360, 1 × 8 × 8")
def read_digits() -> Arrays:
    """The digits, a stratified fifth of them held out as the test split, the same fifth for every run.

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (its test part, 8 × 8, 0 to 16).
    """
    import sklearn.datasets  # takes a second to import, which to list the data set does not need
    from sklearn.model_selection import train_test_split

    digits = sklearn.datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=_TEST_FRACTION, stratify=digits.target, random_state=0
    )
    classes = tuple(str(digit) for digit in digits.target_names)
    return checked_arrays(Path(sklearn.datasets.__file__).parent / "data", x_train, y_train, x_test, y_test, classes)
