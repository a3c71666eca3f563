"""The tests behind verdicts and claims, against closed forms and scipy."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import stats

from pipeline.studies.columns import Column
from pipeline.studies.paper_numbers import parse_number
from pipeline.studies.statistics import difference_of, interval_of, slopes_of, trend_of
from pipeline.studies.study import VerdictRule
from pipeline.studies.verdicts import judge

A = {0: 90.1, 1: 90.6, 2: 89.9, 3: 90.4}
B = {0: 89.8, 1: 90.1, 2: 89.9, 3: 89.7}
ACCURACY = Column("accuracy", "accuracy (%)", ".2f", 100.0)
PARAMETERS = Column("parameters", "parameters", ",.0f", is_exact=True)


def test_the_interval_of_a_mean_is_students() -> None:
    values = list(A.values())
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = interval_of(values, 0.95)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_of_one_more_value_is_wider_by_its_own_spread() -> None:
    values = list(A.values())
    mean, one_more = interval_of(values, 0.95), interval_of(values, 0.95, of_one_more=True)
    assert (one_more.high - one_more.low) / (mean.high - mean.low) == pytest.approx(np.sqrt(len(values) + 1))


def test_the_interval_of_one_more_value_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    drawn = random.normal(size=(4000, 4))
    covered = [interval_of(row[:3].tolist(), 0.9, of_one_more=True).has(row[3], row[3]) for row in drawn]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


def test_rows_with_the_same_seeds_are_compared_in_pairs() -> None:
    difference = difference_of(A, B)
    reference = stats.ttest_rel(list(A.values()), list(B.values()))
    assert difference is not None
    assert difference.is_paired
    assert difference.p_two_sided() == pytest.approx(reference.pvalue)
    interval, expected = difference.interval(0.95), reference.confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    greater = stats.ttest_rel(list(A.values()), list(B.values()), alternative="greater")
    assert difference.p_above(0.0) == pytest.approx(greater.pvalue)


def test_rows_with_other_seeds_are_compared_by_welchs_test() -> None:
    others = {7: 89.8, 8: 90.1, 9: 89.9}
    difference = difference_of(A, others)
    reference = stats.ttest_ind(list(A.values()), list(others.values()), equal_var=False)
    assert difference is not None
    assert not difference.is_paired
    assert difference.p_two_sided() == pytest.approx(reference.pvalue)


def test_equivalence_is_two_one_sided_tests() -> None:
    difference = difference_of(A, B)
    apart = [A[seed] - B[seed] for seed in A]
    assert difference is not None
    above = stats.ttest_1samp(apart, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(apart, 1.0, alternative="less").pvalue
    assert difference.p_equivalent(1.0) == pytest.approx(max(above, below))
    # With p below 5 %, the 90 % interval lies within the margin, and the other way round.
    for margin in (0.4, 0.6, 0.8, 1.0):
        interval = difference.interval(0.90)
        is_within = -margin < interval.low and interval.high < margin
        assert (difference.p_equivalent(margin) < 0.05) == is_within


def test_a_missing_significance_shows_no_equivalence() -> None:
    few_and_wide = difference_of({0: 80.0, 1: 95.0}, {0: 90.0, 1: 84.0})
    assert few_and_wide is not None
    assert few_and_wide.p_two_sided() > 0.5
    assert few_and_wide.p_equivalent(1.0) > 0.4


def test_one_value_a_row_tests_nothing() -> None:
    assert difference_of({0: 1.0}, {0: 2.0}) is None
    assert difference_of({}, {}) is None


def test_numbers_that_do_not_vary_differ_for_certain() -> None:
    difference = difference_of({0: 20.0, 1: 20.0}, {0: 26.0, 1: 26.0})
    assert difference is not None
    assert (difference.p_below(0.0), difference.p_above(0.0)) == (0.0, 1.0)


def test_differences_that_are_equal_by_chance_are_not_certain() -> None:
    difference = difference_of({0: 90.0, 1: 92.0}, {0: 89.0, 1: 91.0})
    assert difference is not None
    assert not difference.is_paired
    assert difference.p_above(0.0) > 0.1


def test_a_trend_is_kendalls() -> None:
    levels, values = [1, 1, 2, 2, 5, 5], [20.0, 22.0, 26.0, 25.0, 33.0, 38.0]
    trend = trend_of(levels, values)
    assert trend is not None
    assert trend.tau == pytest.approx(stats.kendalltau(levels, values).statistic)
    assert trend.p_rising < 0.05 < trend.p_falling
    assert trend_of([1, 1, 1], [1.0, 2.0, 3.0]) is None
    assert trend_of([1, 2, 3], [20.0, 20.0, 20.0]) is None


@pytest.mark.parametrize(
    ("levels", "values"),
    [
        ([1, 1, 2, 2, 5, 5], [20.0, 22.0, 26.0, 25.0, 33.0, 38.0]),
        ([1, 1, 2, 2], [20.0, 20.0, 26.0, 26.0]),
        ([1, 1, 1, 2, 2, 2], [20.0, 20.0, 20.0, 26.0, 26.0, 26.0]),
        ([1, 2, 3], [20.0, 20.0, 26.0]),
        ([1, 1, 2, 2, 3, 3], [20.0, 22.0, 21.0, 25.0, 33.0, 38.0]),
    ],
)
def test_a_trend_is_as_rare_as_it_is_among_all_orders(levels: list[int], values: list[float]) -> None:
    def concordance(ordered: tuple[float, ...]) -> float:
        pairs = combinations(range(len(levels)), 2)
        return float(sum(np.sign(levels[i] - levels[j]) * np.sign(ordered[i] - ordered[j]) for i, j in pairs))

    trend = trend_of(levels, values)
    assert trend is not None
    found = [concordance(ordered) for ordered in permutations(values)]
    assert trend.p_rising == pytest.approx(np.mean(np.array(found) >= concordance(tuple(values))))
    assert trend.p_falling == pytest.approx(np.mean(np.array(found) <= concordance(tuple(values))))


def test_of_many_values_a_trends_rarity_is_estimated_the_same_every_time() -> None:
    levels = [level for level in range(4) for _ in range(3)]
    values = [5.0, 4.0, 6.0, 7.0, 5.0, 8.0, 6.0, 9.0, 4.0, 8.0, 7.0, 9.0]
    trend = trend_of(levels, values)
    assert trend is not None
    assert trend == trend_of(levels, values)
    assert trend.p_rising == pytest.approx(stats.kendalltau(levels, values, alternative="greater").pvalue, rel=0.3)


def test_the_same_on_every_seed_by_chance_is_no_verdict_and_of_counts_it_is_one() -> None:
    paper, rule = parse_number(88.3), VerdictRule()
    assert (
        judge([90.0, 90.0, 90.0], paper, ACCURACY, rule).text(True) == "undecided (the same on every seed, by chance)"
    )
    assert judge([90.0, 90.0, 90.0], paper, Column("nfe_test", "evaluations", ".1f"), rule).word == "higher"


def test_the_slope_of_a_constant_series_is_zero_and_not_a_rounding_error() -> None:
    assert slopes_of({0: [20.0] * 7, 1: [1.0, 3.0, 5.0], 2: [4.0]}) == pytest.approx({0: 0.0, 1: 2.0})
    assert slopes_of({0: [0.1] * 9})[0] == 0.0


@pytest.mark.parametrize(
    ("values", "paper", "word"),
    [
        ([86.9, 87.0, 87.3], 87.06, "reproduced"),  # within the interval
        ([86.9, 87.0, 87.3], 88.3, "lower"),
        ([89.9, 90.0, 90.3], 88.3, "higher"),
        ([87.057, 87.061, 87.06], 87.06, "reproduced"),  # rounds to it
        ([87.06], 87.06, "reproduced"),
        ([86.0, 86.1], 87.06, "undecided"),  # too few
        ([], 87.06, "undecided"),
        ([77.0, 76.5, 79.0], [75, 80], "reproduced"),
        ([91.0, 91.2, 91.1], {"above": 90}, "reproduced"),
        ([85.0, 85.2, 85.1], {"above": 90}, "lower"),
        ([89.6, 89.61, 89.59], {"above": 90}, "lower"),
    ],
)
def test_a_verdict_follows_from_the_interval_and_the_rounding(values: list[float], paper: object, word: str) -> None:
    assert judge(values, parse_number(paper), ACCURACY, VerdictRule()).word == word


def test_what_is_the_same_on_every_seed_needs_one_run() -> None:
    rounded = parse_number({"value": 169000, "within": 500})
    assert judge([169412.0], rounded, PARAMETERS, VerdictRule()).word == "reproduced"
    assert judge([208266.0], parse_number(208266), PARAMETERS, VerdictRule()).word == "reproduced"
    assert judge([208267.0], parse_number(208266), PARAMETERS, VerdictRule()).word == "higher"


def test_what_is_of_something_else_is_not_compared_and_says_why() -> None:
    seconds = Column("epoch_seconds", "seconds per epoch", ",.1f", not_comparable="the paper's are of a K80")
    verdict = judge([3.0, 3.1, 3.2], parse_number(240), seconds, VerdictRule())
    assert verdict.text(is_full=True) == "not comparable (the paper's are of a K80)"


def test_at_a_smaller_scale_the_words_are_others() -> None:
    words = {}
    for values in ([86.9, 87.0, 87.3], [80.0, 80.1, 80.2], [95.0, 95.1, 95.2]):
        verdict = judge(values, parse_number(87.06), ACCURACY, VerdictRule())
        words[verdict.text(is_full=True)] = verdict.text(is_full=False)
    assert words == {"reproduced": "near it", "lower": "below it", "higher": "above it"}
