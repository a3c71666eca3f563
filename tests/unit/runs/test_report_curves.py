"""How the curves of many runs are made few enough points for a page."""

import math
import random
from typing import Any

import pytest
from pymongo.database import Database

from pipeline.runs.query import Runs
from pipeline.runs.report.curves import FEWEST_OF_A_CURVE, MOST_OF_A_CURVE, load_curves, points_for_each, thin
from tests.helpers.report_runs import run_of_settings, series

Store = Database[dict[str, Any]]


@pytest.mark.parametrize("most", [4, 5, 10, 51, 400])
@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_ends_and_extremes_and_no_more_points_than_asked_for(most: int, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311  # for samples
    values = [draw.gauss(0, 1) for _ in range(1000)]
    kept = thin(values, most)
    assert kept == sorted(set(kept))
    assert len(kept) <= most
    assert (kept[0], kept[-1]) == (0, 999)
    assert {values.index(min(values)), values.index(max(values))} <= set(kept)


def test_a_curve_that_is_short_enough_is_whole() -> None:
    assert thin([3.0, None, 1.0, 2.0], 4) == [0, 1, 2, 3]


def test_a_long_gap_stays_a_gap() -> None:
    values: list[Any] = [1.0] * 100 + [None] * 800 + [2.0] * 100
    kept = thin(values, 42)
    assert sum(values[place] is None for place in kept) > 10


def test_all_curves_together_have_no_more_points_than_there_is_room_for() -> None:
    lengths = [30] * 10_000 + [5000] * 100
    most = points_for_each(lengths, room=200_000)
    assert sum(min(length, most) for length in lengths) <= 200_000 < sum(min(length, most + 1) for length in lengths)
    assert points_for_each([30] * 10) == MOST_OF_A_CURVE
    assert points_for_each([1000] * 1000, room=100) == FEWEST_OF_A_CURVE


def test_curves_are_read_with_what_they_came_to_and_what_is_no_number_is_a_gap(database: Store) -> None:
    losses = [2.0, 0.5, math.nan, math.inf, 1.0]
    database.runs.insert_one(run_of_settings(7, 1e-3, 16))
    many = [math.sin(0.37 * place) for place in range(3000)]
    database.metrics.insert_many([series(7, "validation.loss", losses), series(7, "step.loss", many)])
    database.metrics.insert_one({"run_id": 7, "name": "another program's", "values": "no list"})
    runs = Runs(database)
    step, loss = load_curves(runs, runs.find())
    assert loss.values == (2.0, 0.5, None, None, 1.0)
    assert (loss.last, loss.lowest, loss.highest, loss.not_finite, loss.is_whole) == (1.0, 0.5, 2.0, 2, True)
    assert (step.lowest, step.highest) == (min(many), max(many))
    assert {min(many), max(many)} <= set(step.values)
    assert len(step.values) == len(step.steps) <= MOST_OF_A_CURVE
    assert not step.is_whole
