"""Random choices among items in which every class has its share: whole numbers of items, drawn class by class.

The draws are those of scikit-learn 1 (`train_test_split` and `resample`, both with `stratify`), number for number, so
that a seed goes on to mean what it has meant. They are made here because scikit-learn takes more than a second to
import, for which every training would wait, and so that another release of it does not split another way.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pipeline.util.errors import brief

Indices = NDArray[np.int64]
Labels = NDArray[np.int64]


class TooFewItems(ValueError):
    """A class that has a single item, or a side with fewer items than classes.

    Attributes:
        label, count: of the smallest class, and how many items it has.
    """

    def __init__(self, label: int, count: int) -> None:
        super().__init__(f"the smallest class, {label}, has {count}")
        self.label, self.count = label, count

    def told(self, names: Sequence[str]) -> str:
        """`the smallest, owl, has 1`.

        Args:
            names: of the classes, by their labels.
        """
        return f"the smallest, {brief(names[self.label])}, has {self.count}"


def stratified_split(labels: Labels, fraction: float, random_state: int) -> tuple[Indices, Indices]:
    """The indices of those that stay and of those that are held out, each in random order.

    Args:
        labels: of the items, shape (n,).
        fraction: of the items that is held out, rounded up, between 0 and 1.
        random_state: from 0 to 2³² - 1.

    Raises:
        TooFewItems: not every class can be on both sides.
    """
    members = _members(labels)
    counts = np.array([len(indices) for indices in members])
    held = ceil(fraction * len(labels))
    stay = len(labels) - held
    if counts.min() < 2 or min(held, stay) < len(members):
        smallest = int(counts.argmin())
        raise TooFewItems(int(labels[members[smallest][0]]), int(counts[smallest]))
    random = np.random.RandomState(random_state)
    staying = _shares(counts, stay, random)
    held_out = _shares(counts - staying, held, random)
    shuffled = [indices[random.permutation(len(indices))] for indices in members]
    sides = zip(shuffled, staying, held_out, strict=True)
    first, second = zip(*((one[:here], one[here : here + there]) for one, here, there in sides), strict=True)
    return random.permutation(np.concatenate(first)), random.permutation(np.concatenate(second))


def draw(number: int, items: int, random_state: int, labels: Labels | None = None) -> Indices:
    """Indices of `items` of `number` items, none twice, in random order.

    Args:
        random_state: from 0 to 2³² - 1.
        labels: of the items, shape (number,); with them every class has its share.
    """
    random = np.random.RandomState(random_state)
    if labels is None:
        return random.permutation(number)[:items]
    members = _members(labels)
    shares = _shares(np.array([len(indices) for indices in members]), items, random)
    drawn = [random.choice(indices, share, replace=False) for indices, share in zip(members, shares, strict=True)]
    return random.permutation(np.concatenate(drawn))


def _members(labels: Labels) -> list[Indices]:
    """The indices of each class, ascending."""
    _, counts = np.unique(labels, return_counts=True)
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])


def _shares(counts: Indices, total: int, random: np.random.RandomState) -> Indices:
    """How many of `total` items each class gives: its share rounded down, then one more where most is cut off.

    Of equal remainders chance takes some.
    """
    exact = counts / counts.sum() * total
    shares = np.floor(exact)
    remainders = exact - shares
    lacking = int(total - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if lacking == 0:
            break
        (equal,) = np.where(remainders == remainder)
        chosen = random.choice(equal, min(len(equal), lacking), replace=False)
        shares[chosen] += 1
        lacking -= len(chosen)
    whole: Indices = shares.astype(np.int64)
    return whole
