"""Student's paired t test of two models on the same items."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from pipeline.plugins import registry
from pipeline.tasks.lookup import light_module
from pipeline.tasks.paired_t import compare_paired


def test_the_difference_is_students_with_its_interval() -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=500)
    second = first + random.normal(0.1, 0.5, size=500)
    found, expected = compare_paired(first, second), ttest_rel(first, second)
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    assert found.difference == pytest.approx(float((first - second).mean()))
    assert found.lower_errors == (first < second).mean()


def test_equal_models_do_not_differ_and_a_constant_difference_is_beyond_doubt() -> None:
    errors = np.array([1.0, 2.0, 4.0])
    assert (compare_paired(errors, errors).difference, compare_paired(errors, errors).p_value) == (0, 1)
    assert compare_paired(errors, errors + 0.5).p_value == 0


def test_one_item_says_nothing() -> None:
    found = compare_paired(np.array([1.0]), np.array([2.0]))
    assert (found.lower, found.upper, found.p_value) == (-1, -1, 1)


def test_whether_a_task_that_comes_along_has_a_paired_test_is_known_without_its_network() -> None:
    tasks = registry.names("task", of_plugins=False)
    assert [task for task in tasks if not hasattr(light_module(task, "paired"), "PAIRED_TEST")] == []
