"""Series as a model is given them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.config import ConfigError
from pipeline.data.series_set import RecordedSeries, SeriesSet
from pipeline.tasks.series.config import SeriesTaskConfig
from pipeline.tasks.series.loading import load_series_set
from pipeline.tasks.series.splits import Scaling, SeriesData, prepare
from pipeline.util.errors import InvalidInput


def configured(data: dict[str, Any] | None = None, seed: int = 0, **series: Any) -> SeriesTaskConfig:
    return SeriesTaskConfig.from_dict({"data": {"name": "mine.csv", **(data or {})}, "series": series, "seed": seed})


def recorded(count: int = 20, length: int = 10, **settings: Any) -> SeriesSet:
    generator = np.random.default_rng(3)
    series = [
        RecordedSeries(str(k), 5.0 * k + np.arange(length), 100 + 7 * generator.normal(size=(length, 2)))
        for k in range(count)
    ]
    return SeriesSet(tuple(series), ("x", "y"), **settings)


def splits(data: SeriesData) -> list[set[str]]:
    return [set(split.names) for split in (data.train, data.validation, data.test)]


def test_no_series_is_in_two_splits_and_the_seed_draws_them() -> None:
    train, validation, test = splits(prepare(recorded(), configured()))
    assert not train & validation | train & test | validation & test
    assert len(train | validation | test) == 20
    assert len(test) == 4
    assert splits(prepare(recorded(), configured()))[2] == test
    assert splits(prepare(recorded(), configured(seed=1)))[2] != test


def test_the_scaling_is_of_the_observed_values_of_the_training_split_alone() -> None:
    found = recorded()
    data = prepare(found, configured({"observed": 4}))
    batch = data.train.batch
    values = np.concatenate([batch.values[..., c][batch.observed[..., c]].numpy()[:, None] for c in range(2)], axis=1)
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-5)
    own = next(one for one in found.series if one.name == data.test.names[0])
    np.testing.assert_allclose(data.scaling.unscaled(data.test.batch.values[0].numpy()), own.values, rtol=1e-5)
    ranged = prepare(found, configured({"scaling": "range"})).train.batch
    assert (float(ranged.values.min()), float(ranged.values.max())) == (0, 1)


def test_as_much_is_observed_as_is_said_within_the_window() -> None:
    batch = prepare(recorded(window=5.0), configured({"observed": 3})).train.batch
    assert (batch.observed.any(-1).sum(1) == 3).all()
    assert not batch.observed[:, 6:].any()
    half = prepare(recorded(), configured({"observed": 0.5})).train.batch
    assert (half.observed.any(-1).sum(1) == 5).all()


@pytest.mark.parametrize(
    ("goal", "wanted"), [("reconstruction", [3, 0]), ("interpolation", [6, 0]), ("extrapolation", [0, 4])]
)
def test_the_goal_says_what_is_learned_to_be_said(goal: str, wanted: list[int]) -> None:
    batch = prepare(recorded(window=5.0), configured({"observed": 3}, goal=goal)).train.batch
    rows = batch.wanted.any(-1)
    assert [int(rows[0, :6].sum()), int(rows[0, 6:].sum())] == wanted


@pytest.mark.parametrize(
    ("window", "horizon", "spans"),
    [
        (5.0, None, [(0.0, 5.0), (5.0, 9.0)]),
        (5.5, None, [(0.0, 5.5), (5.5, 9.0)]),
        (5.5, 7.5, [(0.0, 5.5), (5.5, 7.5)]),
        (5.5, 5.5, [(0.0, 5.5)]),
        (None, 7.5, [(0.0, 7.5)]),
        (20.0, None, [(0.0, 9.0)]),
    ],
)
def test_the_times_that_are_wanted_are_those_of_the_window_or_of_what_lies_behind_it(
    window: float | None, horizon: float | None, spans: list[tuple[float, float]]
) -> None:
    """Where a series goes on, it was watched to the end of its window or horizon, and not to the last time in it."""
    found = []
    for goal in ("interpolation", "extrapolation")[: len(spans)]:
        batch = prepare(recorded(window=window), configured({"horizon": horizon}, goal=goal)).train.batch
        found.append(((batch.begins - batch.starts)[0].item(), (batch.ends - batch.starts)[0].item()))
    assert found == spans


def test_without_a_window_extrapolation_is_given_the_first_half() -> None:
    batch = prepare(recorded(length=9), configured(goal="extrapolation")).train.batch
    assert batch.observed.any(-1)[0].tolist() == [True] * 5 + [False] * 4


def test_noise_is_the_same_for_every_seed_and_as_large_as_is_said() -> None:
    config = SeriesTaskConfig.from_dict({"data": {"name": "spirals", "noise": 0.3}})
    one = prepare(load_series_set(config.data), config)
    other = prepare(load_series_set(config.data), SeriesTaskConfig.from_dict({**config.to_dict(), "seed": 1}))
    assert one.sha256 == other.sha256
    batch = one.train.batch
    assert float((batch.values - batch.truth).std()) == pytest.approx(0.3, rel=0.02)


def test_gaps_stay_where_noise_is_added_to_a_truth() -> None:
    truth = np.arange(8.0).reshape(4, 2)
    values = np.where(np.arange(8).reshape(4, 2) % 3 == 0, np.nan, truth)
    found = SeriesSet(tuple(RecordedSeries(str(k), np.arange(4.0), values, None, truth) for k in range(5)), ("x", "y"))
    batch = prepare(replace(found, noise=0.1), configured()).train.batch
    assert batch.mask[0].tolist() == (~np.isnan(values)).tolist()


@pytest.mark.parametrize(
    ("data", "series", "message"),
    [
        ({"observed": 11}, {}, r"data.observed is 11, but series \d+ of mine.csv has 10 times"),
        ({"horizon": 20.0}, {}, "data.horizon is 20, beyond the data, of which the longest series lasts 9"),
        ({"noise": 0.1}, {}, "mine.csv was recorded with its own"),
        ({"subset": 100}, {}, "data.subset is 100"),
        ({"window": 9.0}, {"goal": "extrapolation"}, "no series of mine.csv has a value beyond its window"),
    ],
)
def test_what_the_data_cannot_be_is_refused(data: dict[str, Any], series: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        prepare(recorded(), configured(data, **series))


def test_a_goal_that_a_split_has_no_values_for_is_refused() -> None:
    test = prepare(recorded(), configured()).test.names
    whole = recorded().series
    short = [replace(one, times=one.times[:5], values=one.values[:5]) if one.name in test else one for one in whole]
    with pytest.raises(InvalidInput, match=r"no test series of mine\.csv has a value beyond its window"):
        prepare(SeriesSet(tuple(short), ("x", "y")), configured({"window": 5.0}, goal="extrapolation"))


@pytest.mark.parametrize("kind", ["standard", "range"])
def test_a_channel_that_training_has_not_seen_stays_as_it_is(kind: str) -> None:
    scaling = Scaling.of(kind, np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert (scaling.shift[1], scaling.scale[1]) == (0, 1)


@pytest.mark.parametrize(("kind", "mean"), [("standard", (0, 0)), ("range", (0.25, 0)), ("none", (2, 0))])
def test_the_mean_is_of_scaled_values_that_the_training_observes(kind: str, mean: tuple[float, ...]) -> None:
    values = np.array([[1.0, np.nan], [1.0, np.nan], [1.0, np.nan], [5.0, np.nan]])
    assert Scaling.of(kind, values).mean == pytest.approx(mean)


def test_a_series_with_nothing_in_its_window_and_too_few_series_are_refused() -> None:
    late = RecordedSeries("late", np.arange(4.0), np.array([[np.nan], [np.nan], [np.nan], [1.0]]))
    full = RecordedSeries("full", np.arange(4.0), np.ones((4, 1)))
    found = SeriesSet((late, full, full, full), ("x",), window=2.0)
    with pytest.raises(InvalidInput, match=r"series late of mine.csv has nothing observed within its window, 2 long"):
        prepare(found, configured())
    with pytest.raises(InvalidInput, match="has 2 series, too few"):
        prepare(recorded(count=2), configured())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": {"noise": 0}}, "data.noise must be above 0"),
        ({"data": {"noise": -1.0}}, "data.noise must be above 0"),
        ({"data": {"observed": 0}}, "data.observed must be above 0"),
        ({"data": {"observed": 2.5}}, "a whole number of times, as 30, or a share"),
        ({"data": {"window": 5.0, "horizon": 3.0}}, "data.horizon is 3, within data.window=5"),
        ({"series": {"observation_sd": 0}}, "a number above 0 or learned, not 0"),
        ({"series": {"observation_sd": "none"}}, "a number above 0 or learned, not 'none'"),
        ({"series": {"encoder": "rnm"}}, "did you mean rnn"),
        ({"model": {"architecture": "simple"}}, "of the task classification"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SeriesTaskConfig.from_dict(values)


@pytest.mark.parametrize(
    ("name", "count", "channels"),
    [("spirals", 1000, 2), ("periodic", 1000, 1), ("pbcseq", 312, 7), ("co2", 43, 1), ("glucose", 200, 1)],
)
def test_the_data_sets_that_come_along_are_what_they_say(name: str, count: int, channels: int) -> None:
    found = load_series_set(SeriesTaskConfig.from_dict({"data": {"name": name}}).data)
    assert (len(found), len(found.channels)) == (count, channels)
    if name == "pbcseq":
        assert sum(map(len, found.series)) == 1945
        assert max(one.times[-1] for one in found.series) == 5152
        assert sum(one.label or 0 for one in found.series) == 140
        assert int(sum(np.isnan(one.values[:, 1]).sum() for one in found.series)) == 821
