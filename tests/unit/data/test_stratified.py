"""Stratified choices: those of scikit-learn, number for number, which runs that are stored were split by."""

import numpy as np
import pytest
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from pipeline.data.sets.digits import read_digits
from pipeline.data.stratified import TooFewItems, draw, stratified_split

BALANCED = np.arange(200) % 10
SKEWED = np.random.default_rng(1).choice(7, 331, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.03, 0.02])
NAMED = np.array([3, 90, 17, -2])[np.random.default_rng(2).integers(0, 4, 150)]
LABELS = {"balanced": BALANCED, "skewed": SKEWED, "any numbers": NAMED, "ties": np.repeat(np.arange(6), 5)}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("fraction", [0.2, 0.27, 0.5])
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_a_split_is_scikit_learns(labels: NDArray[np.int64], fraction: float, seed: int) -> None:
    expected = train_test_split(np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=seed)
    found = stratified_split(labels, fraction, seed)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("labels", [*LABELS.values(), None], ids=[*LABELS, "no labels"])
@pytest.mark.parametrize("items", [1, 13, 30])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_draw_is_scikit_learns(labels: NDArray[np.int64] | None, items: int, seed: int) -> None:
    number = 40 if labels is None else len(labels)
    words = {"replace": False, "n_samples": items, "stratify": labels, "random_state": seed}
    np.testing.assert_array_equal(draw(number, items, seed, labels), resample(np.arange(number), **words))


@pytest.mark.parametrize(
    ("labels", "fraction"), [([0, 0, 1], 0.5), ([0, 0, 1, 1, 2, 2], 0.2), ([0, 0, 1, 1, 2, 2], 0.8)]
)
def test_a_split_that_cannot_have_every_class_on_both_sides_is_refused(labels: list[int], fraction: float) -> None:
    with pytest.raises(ValueError, match=r"."):
        train_test_split(labels, test_size=fraction, stratify=labels, random_state=0)
    with pytest.raises(TooFewItems):
        stratified_split(np.array(labels), fraction, 0)


def test_the_digits_are_scikit_learns_and_split_as_it_splits_them() -> None:
    digits, ours = sklearn.datasets.load_digits(), read_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    expected = train_test_split(images, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    for found, theirs in zip((ours.x_train, ours.x_test, ours.y_train, ours.y_test), expected, strict=True):
        np.testing.assert_array_equal(found, theirs)
    assert ours.classes == tuple(str(name) for name in digits.target_names)
