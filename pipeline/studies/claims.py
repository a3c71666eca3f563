"""A paper's sentences, each with its test: equivalence, difference, order, trend, ratio, how runs end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from pipeline.comparison.holm import adjust_holm
from pipeline.studies.columns import Column
from pipeline.studies.statistics import Difference, Values, difference_from_zero, difference_of, slopes_of, trend_of
from pipeline.studies.study import Claim, Study

if TYPE_CHECKING:
    from pipeline.studies.result import RowResult

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
TENDENCY = {SUPPORTED: "points that way", CONTRADICTED: "points the other way"}
"""Verdict -> its words at a scale that is not the paper's."""

BY_CHANCE = "the seeds have the same by chance: a test needs more of them"


@dataclass(frozen=True)
class Tested:
    """What the test of a claim gives."""

    words: str
    """With the numbers."""
    p: float | None = None
    """Of there being nothing to the claim; None where nothing was drawn at random, or there are too few runs."""
    p_against: float | None = None
    """The same for its opposite."""
    is_true: bool | None = None
    """Where nothing was drawn at random."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, its test and what follows."""

    claim: Claim
    tested: Tested
    adjusted_p: float | None
    """Holm's, for all claims of the study."""
    adjusted_p_against: float | None
    verdict: str
    """supported, contradicted or undecided."""

    @property
    def deciding(self) -> tuple[float | None, float | None]:
        """p and its adjusted value: of the claim, or where it is contradicted of its opposite."""
        if self.verdict == CONTRADICTED:
            return self.tested.p_against, self.adjusted_p_against
        return self.tested.p, self.adjusted_p

    def text(self, is_full: bool) -> str:
        """The verdict as a table shows it."""
        return self.verdict if is_full else TENDENCY.get(self.verdict, self.verdict)


def judge_claims(study: Study, rows: "Mapping[str, RowResult]") -> tuple[JudgedClaim, ...]:
    """Every claim, the p-values adjusted for all of them by Holm's method, those against likewise.

    A claim of rows that the scale leaves out is undecided.
    """
    tested = [_test(study, claim, rows) for claim in study.claims]
    adjusted = _adjusted([each.p for each in tested])
    against = _adjusted([each.p_against for each in tested])
    judged = []
    for claim, test, p, opposite in zip(study.claims, tested, adjusted, against, strict=True):
        verdict = UNDECIDED
        if test.is_true is not None:
            verdict = SUPPORTED if test.is_true else CONTRADICTED
        elif p is not None and p < study.rule.alpha:
            verdict = SUPPORTED
        elif opposite is not None and opposite < study.rule.alpha:
            verdict = CONTRADICTED
        judged.append(JudgedClaim(claim, test, p, opposite, verdict))
    return tuple(judged)


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    known = iter(adjust_holm([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]


def _test(study: Study, claim: Claim, rows: "Mapping[str, RowResult]") -> Tested:
    left_out = [name for name in claim.rows if name not in rows]
    if left_out:
        return Tested(f"not at this scale: {', '.join(left_out)}")
    of_claim = [rows[name] for name in claim.rows]
    if claim.kind == "ends":
        return _test_ends(claim, of_claim)
    for one, other in combinations(of_claim, 2):
        shared = {run.run_id for run in one.runs} & {run.run_id for run in other.runs}
        if shared and one.row.setting == other.row.setting:  # one evaluation has rows of several settings
            return Tested(f"{one.row.label} and {other.row.label} are the same runs, of one configuration")
    column = study.column(claim.column)
    if claim.over == "epochs":
        return _test_epochs(claim, column, of_claim)
    lacking = [row.row.label for row in of_claim if not row.values(column)]
    if lacking:
        return Tested(f"no number of {', '.join(lacking)}")
    if claim.kind in ("rises", "falls"):
        return _test_trend(claim, column, of_claim)
    if claim.kind == "ratio":
        return _test_ratio(claim, column, of_claim)
    if claim.kind == "order":
        return _test_order(column, of_claim)
    return _test_two(claim, column, *(row.values(column) for row in of_claim))


def _test_two(claim: Claim, column: Column, first: Values, second: Values) -> Tested:
    if column.is_exact:
        apart = fmean(first.values()) - fmean(second.values())
        true = {
            "equivalent": abs(apart) <= (claim.within or 0),
            "differ": apart != 0,
            "higher": apart > 0,
            "lower": apart < 0,
        }[claim.kind]
        return Tested(f"difference {_signed(column, apart)}", is_true=true)
    difference = difference_of(first, second)
    if difference is None:
        return Tested(f"n = {min(len(first), len(second))}: a test needs two seeds or more")
    if _ties_by_chance(column, difference):
        return Tested(f"{_words(column, difference, 0.95)}; {BY_CHANCE}")
    if claim.kind == "equivalent":
        margin = claim.within or 0.0
        words = _words(column, difference, 0.90)
        # It lies outside on either side: two tests, of which the smaller p-value is adjusted for both.
        outside = min(1.0, 2 * min(difference.p_above(margin), difference.p_below(-margin)))
        return Tested(f"{words}, margin ±{column.text(margin)} (TOST)", difference.p_equivalent(margin), outside)
    words = _words(column, difference, 0.95)
    if claim.kind == "differ":
        return Tested(words, difference.p_two_sided())
    above, below = difference.p_above(0.0), difference.p_below(0.0)
    return Tested(words, *((above, below) if claim.kind == "higher" else (below, above)))


def _test_order(column: Column, rows: "Sequence[RowResult]") -> Tested:
    """From the highest to the lowest: every neighbour is lower; the largest p-value of those tests is the claim's.

    An intersection-union test, which needs no adjustment; Berger 1982, Technometrics 24.
    """
    means = [f"{row.row.label} {column.text(fmean(row.values(column).values()))}" for row in rows]
    words = " > ".join(means)
    values = [row.values(column) for row in rows]
    if column.is_exact:
        exact = [fmean(each.values()) for each in values]
        return Tested(words, is_true=all(high > low for high, low in pairwise(exact)))
    differences = [difference_of(high, low) for high, low in pairwise(values)]
    known = [difference for difference in differences if difference is not None]
    if len(known) < len(differences):
        return Tested(f"{words}; a test needs two seeds or more")
    if any(_ties_by_chance(column, difference) for difference in known):
        return Tested(f"{words}; {BY_CHANCE}")
    # Against it is what turns one neighbour round: the smallest p-value, adjusted for how many there are.
    against = min(1.0, len(known) * min(difference.p_below(0.0) for difference in known))
    return Tested(words, max(difference.p_above(0.0) for difference in known), against)


def _test_trend(claim: Claim, column: Column, rows: "Sequence[RowResult]") -> Tested:
    points = [(row.row.level or 0.0, value) for row in rows for value in row.values(column).values()]
    levels = sorted({level for level, _ in points})
    means = [fmean(value for at, value in points if at == level) for level in levels]
    words = ", ".join(f"{level:g}: {column.text(mean)}" for level, mean in zip(levels, means, strict=True))
    if column.is_exact and len(levels) > 1:
        steps = [high - low if claim.kind == "rises" else low - high for low, high in pairwise(means)]
        return Tested(words, is_true=all(step > 0 for step in steps))
    trend = trend_of(*zip(*points, strict=True)) if len(points) > 2 else None
    if trend is None:
        return Tested(f"{words}; too few numbers for a trend")
    words = f"{words}; Kendall's τ = {trend.tau:+.2f}, n = {trend.n}"
    p = (trend.p_rising, trend.p_falling) if claim.kind == "rises" else (trend.p_falling, trend.p_rising)
    return Tested(words, *p)


def _test_epochs(claim: Claim, column: Column, rows: "Sequence[RowResult]") -> Tested:
    """The slope over epochs of every run, one number a run, against 0."""
    slopes: dict[int, float] = {}
    lacking = []
    for row in rows:
        of_row = slopes_of(row.series(column.name))
        slopes |= {len(slopes) + k: slope * column.factor for k, slope in enumerate(of_row.values())}
        if not of_row:
            lacking.append(row.row.label)
    if lacking:
        return Tested(f"no run with two epochs of {', '.join(lacking)}")
    difference = difference_from_zero(slopes)
    mean = fmean(slopes.values())
    words = f"slope {mean:+.3g} an epoch, n = {len(slopes)}"
    if difference is None:
        return Tested(f"{words}: a test needs two runs or more")
    if _ties_by_chance(column, difference):
        return Tested(f"{words}; {BY_CHANCE}")
    above, below = difference.p_above(0.0), difference.p_below(0.0)
    return Tested(words, *((above, below) if claim.kind == "rises" else (below, above)))


def _test_ratio(claim: Claim, column: Column, rows: "Sequence[RowResult]") -> Tested:
    """Of the means; where these vary with the seed, nothing is said of how surely."""
    first, second = (fmean(row.values(column).values()) for row in rows)
    low, high = claim.between or (0.0, 0.0)
    ratio = first / second if second else float("inf")
    return Tested(f"ratio {ratio:.3g}, claimed {low:g} to {high:g}", is_true=low <= ratio <= high)


def _test_ends(claim: Claim, rows: "Sequence[RowResult]") -> Tested:
    counts: dict[str, int] = {}
    for row in rows:
        for outcome, number in row.outcomes().items():
            counts[outcome] = counts.get(outcome, 0) + number
    words = ", ".join(f"{number} × {outcome.replace('_', ' ')}" for outcome, number in counts.items())
    if counts.keys() & {"missing", "refused"}:
        return Tested(words)
    return Tested(words, is_true=set(counts) == {claim.ends})


def _ties_by_chance(column: Column, difference: Difference) -> bool:
    """Values that are the same on a few seeds bound nothing, unless they are counts."""
    return difference.error == 0 and not column.is_count


def _words(column: Column, difference: Difference, level: float) -> str:
    interval = difference.interval(level)
    ends = f"{_signed(column, interval.low)} to {_signed(column, interval.high)}"
    how = "paired by seed" if difference.is_paired else "Welch"
    return f"difference {_signed(column, difference.mean)} ({ends}, {level:.0%}, {how})"


def _signed(column: Column, value: float) -> str:
    return f"{'+' if value > 0 else ''}{column.text(value)}".replace("-", "−")
