"""Two classifiers on the same images: is one of them better, and by how much?"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from pipeline.tasks.classification.answers import read_answers
from pipeline.tasks.pairing import PairedTest

CONFIDENCE = 0.95

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class McNemar:
    """The first classifier against the second."""

    images: int
    only_first: int
    """Images that the first alone gets right."""
    only_second: int
    difference: float
    """Accuracy of the first less that of the second."""
    lower: float
    """The difference's 95 % confidence interval."""
    upper: float
    p_value: float
    """Of both being right equally often."""

    def cells(self) -> tuple[str, ...]:
        """Its row of a table, but for the p-value."""
        interval = f"{_points(self.lower)} to {_points(self.upper)}"
        return _points(self.difference), interval, f"{self.only_first:,}", f"{self.only_second:,}"


def compare_paired(first: Correct, second: Correct) -> McNemar:
    """McNemar's exact test and Newcombe's interval.

    Args:
        first, second: which of the images, in one order, each gets right; shape (n,), n at least 1.

    Source: McNemar 1947, with the binomial distribution itself whatever the number of discordant images; Newcombe
    1998, Statistics in Medicine 17, 2635-2650, method 10.
    """
    both, only_first = int((first & second).sum()), int((first & ~second).sum())
    only_second, neither = int((~first & second).sum()), int((~first & ~second).sum())
    discordant = only_first + only_second
    lower, upper = newcombe_interval(both, only_first, only_second, neither)
    return McNemar(
        images=len(first),
        only_first=only_first,
        only_second=only_second,
        difference=(only_first - only_second) / len(first),
        lower=lower,
        upper=upper,
        p_value=float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
    )


def newcombe_interval(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """95 % confidence interval of the difference between two paired proportions, first less second.

    Wilson's intervals of either proportion, put together with their correlation; in contrast to Wald's it keeps its
    coverage at accuracies near 1.

    Source: Newcombe 1998, method 10.
    """
    n = both + only_first + only_second + neither
    right_1, right_2 = both + only_first, both + only_second
    p1, p2 = right_1 / n, right_2 / n
    wilson_1 = binomtest(right_1, n).proportion_ci(CONFIDENCE, method="wilson")
    wilson_2 = binomtest(right_2, n).proportion_ci(CONFIDENCE, method="wilson")
    below_1, above_1 = p1 - wilson_1.low, wilson_1.high - p1
    below_2, above_2 = p2 - wilson_2.low, wilson_2.high - p2
    phi = _corrected_phi(both, only_first, only_second, neither)
    difference = (only_first - only_second) / n
    lower = difference - sqrt(below_1**2 - 2 * phi * below_1 * above_2 + above_2**2)
    upper = difference + sqrt(above_1**2 - 2 * phi * above_1 * below_2 + below_2**2)
    return float(lower), float(upper)


def _corrected_phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's correlation of the two answers: phi, a positive one corrected for continuity."""
    n = both + only_first + only_second + neither
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    covariance = both * neither - only_first * only_second
    if covariance > 0:
        return max(covariance - n / 2, 0) / sqrt(margins)
    return covariance / sqrt(margins)


def _points(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "−") if share else "0.00"


PAIRED_TEST = PairedTest(
    artifact="predictions.npz",
    read=read_answers,
    have_same_items=lambda first, second: np.array_equal(first.labels, second.labels),
    compare=lambda first, second: compare_paired(first.correct, second.correct),
    items="images",
    title="Differences in accuracy",
    headings=("difference", "95 % interval", "1st alone", "2nd alone"),
    methods="Difference of accuracy, 1st run less 2nd, in points, with Newcombe's 95 % interval for paired "
    "proportions (1998, method 10). Alone: test images that this run alone gets right. p: McNemar's exact test; "
    "Holm: adjusted for all pairs here. The test is of two trained networks, not of two architectures: how those "
    "vary with the seed is in the results.",
)
