"""Two classifiers on the same images, against what the literature and simulations say."""

import numpy as np
import pytest

from pipeline.tasks.classification.paired import compare_paired, newcombe_interval


@pytest.mark.parametrize(
    ("counts", "lower", "upper"),
    [((36, 12, 2, 0), 0.0569, 0.3404), ((18, 12, 2, 18), 0.0562, 0.3290), ((53, 0, 0, 1), -0.0729, 0.0729)],
)
def test_the_interval_is_that_of_newcombes_paper(counts: tuple[int, int, int, int], lower: float, upper: float) -> None:
    assert newcombe_interval(*counts) == pytest.approx((lower, upper), abs=1e-4)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    shares = [0.93, 0.03, 0.02, 0.02]
    intervals = [newcombe_interval(*map(int, counts)) for counts in generator.multinomial(360, shares, size=500)]
    covered = np.mean([lower <= shares[1] - shares[2] <= upper for lower, upper in intervals])
    assert 0.93 < covered < 0.99


def test_mcnemars_test_counts_the_images_that_one_run_alone_gets_right() -> None:
    first = np.array([True] * 10 + [False] * 2 + [True] * 30 + [False] * 8)
    second = np.array([False] * 10 + [True] * 2 + [True] * 30 + [False] * 8)
    test = compare_paired(first, second)
    assert (test.only_first, test.only_second, test.images) == (10, 2, 50)
    assert test.difference == pytest.approx(0.16)
    assert test.p_value == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    swapped = compare_paired(second, first)
    assert (swapped.lower, swapped.upper) == pytest.approx((-test.upper, -test.lower))


def test_two_runs_that_are_always_right_do_not_differ() -> None:
    test = compare_paired(np.ones(100, dtype=bool), np.ones(100, dtype=bool))
    assert test.p_value == 1
    assert test.lower == pytest.approx(-test.upper)
