"""Means and deviations over seeds."""

import math

import pytest

from pipeline.reporting.seeds import mean_and_deviation


@pytest.mark.parametrize("value", [0.97, 0.1, 0.8972])
def test_equal_values_have_exactly_their_mean_and_no_deviation(value: float) -> None:
    assert mean_and_deviation([value] * 3) == (value, 0.0)


def test_a_single_value_has_no_deviation_and_of_several_it_is_that_of_the_sample() -> None:
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert mean_and_deviation([1.0, 3.0]) == (2.0, math.sqrt(2))


def test_what_is_not_finite_has_a_mean_as_numbers_have_it_and_no_deviation() -> None:
    assert mean_and_deviation([math.inf, 1.0]) == (math.inf, None)
    mean, deviation = mean_and_deviation([math.inf, -math.inf])
    assert math.isnan(mean)
    assert deviation is None
