"""What a classifier answered on its test split, as its run keeps it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np

from pipeline.util.array_types import IntArray


@dataclass(frozen=True, eq=False)
class Answers:
    """The true classes and the likeliest ones."""

    labels: IntArray
    """Shape (n,)."""
    predicted: IntArray
    """Shape (n,)."""

    @property
    def correct(self) -> Any:
        """Which images are right, shape (n,), bool."""
        return self.predicted == self.labels


def read_answers(content: bytes) -> Answers:
    """The answers in an artifact `predictions.npz`.

    Raises:
        ValueError: it holds none.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return Answers(labels=stored["labels"], predicted=stored["probabilities"].argmax(axis=1))
    except (KeyError, BadZipFile) as error:
        raise ValueError("no predictions") from error


def count_confusion(answers: Sequence[Answers], classes: int) -> IntArray:
    """Counts of test images, summed over the answers, shape (true class, predicted class)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    for one in answers:
        np.add.at(counts, (one.labels, one.predicted), 1)
    return counts
