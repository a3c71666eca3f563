"""Which settings matter, for functions of which it is known."""

import math
import random
from typing import Any

import pytest

from pipeline.reporting.importance import FEWEST, MOST, measure_importance
from pipeline.reporting.importance_figure import plot_importance


def drawn(number: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)  # noqa: S311  # for samples
    return [
        {"a": draw.random(), "b": draw.random(), "c": draw.random(), "kind": draw.choice(["x", "y"]), "same": 1}
        for _ in range(number)
    ]


def test_independent_additive_settings_get_their_shares_of_the_variance() -> None:
    settings = drawn(300)
    found = measure_importance(settings, [2 * one["a"] + one["b"] for one in settings])
    shares = {one.name: one for one in found.settings}
    assert [one.name for one in found.settings][:2] == ["a", "b"]
    assert shares["a"].mean == pytest.approx(0.8, abs=0.08)  # 2² of 2² + 1²
    assert shares["b"].mean == pytest.approx(0.2, abs=0.06)
    for name in ("c", "kind"):
        assert abs(shares[name].mean) < 0.02
        assert not shares[name].is_certain or shares[name].mean < 0.01
    for name in ("a", "b"):
        assert shares[name].low <= shares[name].mean <= shares[name].high
        assert shares[name].is_certain
    assert "same" not in shares
    assert found.says.startswith("300 runs; the forest explains ")


def test_a_choice_by_name_matters_like_a_number() -> None:
    settings = drawn(120)
    found = measure_importance(settings, [3.0 * (one["kind"] == "y") + one["a"] for one in settings])
    assert found.settings[0].name == "kind"
    assert found.settings[0].mean > 0.7


def test_a_setting_that_some_runs_lack_counts_by_whether_it_is_there() -> None:
    draw = random.Random(1)  # noqa: S311  # for samples
    settings = [{"momentum": draw.random()} if draw.random() < 0.5 else {"lr": draw.random()} for _ in range(100)]
    found = measure_importance(settings, [float("momentum" in one) for one in settings])
    assert found.settings[0].mean > 0.1
    assert found.settings[0].is_certain


def test_a_loss_that_diverged_does_not_outweigh_all_others() -> None:
    settings = drawn(200)
    losses = [one["a"] for one in settings]
    losses[3], losses[17] = 1e30, math.inf
    assert measure_importance(settings, losses).settings[0].name == "a"


def test_the_same_runs_give_the_same_numbers() -> None:
    settings = drawn(60)
    results = [one["a"] for one in settings]
    assert measure_importance(settings, results) == measure_importance(settings, results)


def test_too_few_runs_tell_nothing_and_say_so() -> None:
    settings = drawn(FEWEST - 1)
    found = measure_importance(settings, [one["a"] for one in settings])
    assert found.settings == ()
    assert found.says == f"{FEWEST - 1} runs with a result: too few to tell which setting matters ({FEWEST} at least)."
    assert plot_importance(found) is None
    without = [math.nan] * 5 + [one["a"] for one in drawn(FEWEST - 1)]
    assert measure_importance(drawn(FEWEST + 4), without).settings == ()


def test_results_that_the_settings_do_not_decide_tell_nothing_and_say_so() -> None:
    draw = random.Random(3)  # noqa: S311  # for samples
    found = measure_importance(drawn(60), [draw.random() for _ in range(60)])
    assert found.settings == ()
    assert "do not tell which setting matters" in found.says


def test_runs_that_differ_in_nothing_say_so() -> None:
    found = measure_importance([{"lr": 0.1}] * 30, [float(place) for place in range(30)])
    assert (found.settings, found.says) == ((), "No setting varies among these runs.")


def test_of_many_runs_a_part_is_looked_at_and_said() -> None:
    settings = drawn(MOST + 100)
    found = measure_importance(settings, [one["a"] for one in settings])
    assert found.says.startswith(f"{MOST} of {MOST + 100} runs; ")


def test_the_figure_has_a_bar_a_setting_the_most_important_on_top() -> None:
    settings = drawn(60)
    found = measure_importance(settings, [2 * one["a"] + one["b"] for one in settings])
    figure = plot_importance(found)
    assert figure is not None
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()][::-1] == [one.name for one in found.settings]
    assert [bar.get_width() for bar in ax.patches][::-1] == [one.mean for one in found.settings]


def test_of_equal_results_it_says_that_they_are() -> None:
    found = measure_importance(drawn(60), [0.9] * 60)
    assert found.settings == ()
    assert found.says == "60 runs with the same result: no setting matters for it."


@pytest.mark.parametrize("values", [(1.0, 1e300), (1.0, 1.0 + 1e-12), (float("inf"), 1.0), (float("nan"), 1.0)])
def test_settings_that_single_precision_cannot_hold_or_tell_apart_matter_likewise(values: tuple[float, float]) -> None:
    settings = [{**one, "limit": values[place % 2]} for place, one in enumerate(drawn(60))]
    found = measure_importance(settings, [float(place % 2) for place in range(60)])
    assert [one.name for one in found.settings if one.is_certain] == ["limit"]
