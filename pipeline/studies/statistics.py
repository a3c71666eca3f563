"""The tests behind verdicts and claims; small samples, one value a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ORDERS = 50_000
"""Of the values of a trend, that are looked at: all of up to eight."""
Values = Mapping[int, float]
"""Seed -> value."""


@dataclass(frozen=True)
class Interval:
    """Of a mean, or of one more value."""

    low: float
    high: float

    def has(self, low: float, high: float) -> bool:
        """Whether it and this range have a value in common."""
        return self.low <= high and low <= self.high


@dataclass(frozen=True)
class Difference:
    """A mean less another: how large, how sure."""

    mean: float
    error: float
    """Standard error; 0 where the values do not vary."""
    freedom: float
    """Degrees of freedom."""
    is_paired: bool

    def interval(self, level: float) -> Interval:
        """The confidence interval."""
        reach = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error if self.error else 0.0
        return Interval(self.mean - reach, self.mean + reach)

    def p_above(self, bound: float) -> float:
        """Of a true difference of at most `bound`: the p-value of the one-sided test for a larger one."""
        if not self.error:
            return 0.0 if self.mean > bound else 1.0
        return float(stats.t.sf((self.mean - bound) / self.error, self.freedom))

    def p_below(self, bound: float) -> float:
        """The same for a smaller one."""
        if not self.error:
            return 0.0 if self.mean < bound else 1.0
        return float(stats.t.cdf((self.mean - bound) / self.error, self.freedom))

    def p_two_sided(self) -> float:
        """Of no difference."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    def p_equivalent(self, margin: float) -> float:
        """Two one-sided tests of a difference within ± margin; Schuirmann 1987, J. Pharmacokinet. Biopharm. 15."""
        return max(self.p_above(-margin), self.p_below(margin))


def interval_of(values: Sequence[float], level: float, of_one_more: bool = False) -> Interval:
    """Student's interval of the mean; or, `of_one_more`, of another value of the same distribution.

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError("an interval needs two values or more")
    mean, deviation = fmean(values), stdev(values)
    reach = float(stats.t.ppf((1 + level) / 2, n - 1)) * deviation * sqrt((1 if of_one_more else 0) + 1 / n)
    return Interval(mean - reach, mean + reach)


def difference_of(first: Values, second: Values) -> Difference | None:
    """First less second: by pairs of a seed where both have the same two or more, otherwise Welch's.

    Runs of one seed share the split, and so much of what varies. None where either has a single value, or none. Values
    that do not vary differ for certain, as counts of parameters do.

    Source: Welch 1947, Biometrika 34; Satterthwaite's degrees of freedom.
    """
    if len(first) < 2 or len(second) < 2:
        return None
    a, b = list(first.values()), list(second.values())
    if first.keys() == second.keys():
        apart = [first[seed] - second[seed] for seed in first]
        # Differences that are equal by chance, while the values vary, bound nothing: they are no pairs then.
        if _deviation(apart) > 1e-9 * max(_deviation(a), _deviation(b)) or _deviation(a) == _deviation(b) == 0:
            return Difference(fmean(apart), _deviation(apart) / sqrt(len(apart)), len(apart) - 1, is_paired=True)
    of_a, of_b = _deviation(a) ** 2 / len(a), _deviation(b) ** 2 / len(b)
    error = sqrt(of_a + of_b)
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1)) if error else inf
    return Difference(fmean(a) - fmean(b), error, freedom, is_paired=False)


@dataclass(frozen=True)
class Trend:
    """Whether values rise with a level."""

    tau: float
    """Kendall's."""
    p_rising: float
    p_falling: float
    n: int


def trend_of(levels: Sequence[float], values: Sequence[float]) -> Trend | None:
    """Kendall's rank correlation, which with ties of the level is the test of Jonckheere and Terpstra.

    Its p-values are of all orders of the values, or of many drawn at random: the usual approximation is too small for a
    few seeds, which have ties of their level. None where there are fewer than three values or no two levels.

    Source: Kendall 1938, Biometrika 30.
    """
    if len(values) < 3 or len(set(levels)) < 2 or len(set(values)) < 2:
        return None
    first, second = np.triu_indices(len(levels), 1)
    of_levels = np.sign(np.subtract(*np.array(levels)[[first, second]]))

    def concordance(ordered: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:  # noqa: ARG001 - as SciPy asks
        of_values = np.sign(ordered[..., first] - ordered[..., second])
        agreement: NDArray[np.float64] = (of_values * of_levels).sum(-1)
        return agreement

    rising, falling = (
        stats.permutation_test(
            (np.array(values, dtype=float),),
            concordance,
            permutation_type="pairings",
            vectorized=True,
            n_resamples=ORDERS,
            batch=10_000,
            alternative=alternative,
            random_state=np.random.default_rng(0),
        )
        for alternative in ("greater", "less")
    )
    tau = float(stats.kendalltau(levels, values).statistic)
    return Trend(tau, float(rising.pvalue), float(falling.pvalue), len(values))


def slopes_of(series: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """Seed -> least squares slope of its series over its epochs; without those of fewer than two epochs."""
    return {seed: _slope(values) for seed, values in series.items() if len(values) > 1}


def difference_from_zero(values: Values) -> Difference | None:
    """The values' mean against 0; None for fewer than two."""
    return difference_of(values, dict.fromkeys(values, 0.0))


def _slope(values: Sequence[float]) -> float:
    is_constant = min(values) == max(values)  # of which rounding would make a slope
    return 0.0 if is_constant else float(np.polyfit(np.arange(len(values)), values, 1)[0])


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
