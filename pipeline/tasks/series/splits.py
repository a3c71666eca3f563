"""Series as a model is given them: scaled, split by the seed, thinned, with what is to be said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data.series_set import RecordedSeries, SeriesSet
from pipeline.series import Series, SeriesBatch, collate
from pipeline.tasks.series.config import SeriesDataConfig, SeriesTaskConfig
from pipeline.util.array_types import FloatArray
from pipeline.util.errors import InvalidInput

DEFAULT_NOISE_SEED = 5366
"""Of the noise that is added to a truth, which belongs to the data and is the same for every run."""
CONSTANT = 1e-9
"""What varies by no more than this of its largest value is rounding."""
ROUNDING = 1e-9
"""Share of a window by which a time may be later and still be within it."""


@dataclass(frozen=True)
class Scaling:
    """Scaled values are (values - shift) / scale, a number a channel each.

    Attributes:
        mean: of the scaled values; 0 where it was not recorded, as by runs before it was.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    mean: tuple[float, ...]

    def scaled(self, values: Any) -> Any:
        """Of the data's unit, shape (…, channels), an array."""
        return (values - np.array(self.shift)) / np.array(self.scale)

    def unscaled(self, values: Any) -> Any:
        """In the data's unit again."""
        return values * np.array(self.scale) + np.array(self.shift)

    def as_recorded(self) -> dict[str, list[float]]:
        """As `recorded` reads it."""
        return {name: list(numbers) for name, numbers in vars(self).items()}

    @classmethod
    def recorded(cls, recorded: Mapping[str, Sequence[float]]) -> "Scaling":
        """That of a run."""
        shift = tuple(recorded["shift"])
        return cls(shift, tuple(recorded["scale"]), tuple(recorded.get("mean", (0.0,) * len(shift))))

    @classmethod
    def of(cls, kind: str, values: FloatArray) -> "Scaling":
        """Of values of shape (n, channels), not a number where nothing is observed."""
        if kind not in ("standard", "range", "none"):
            raise InvalidInput(f"there is no scaling {kind!r}: choose standard, range or none")
        of_channels = [cls._of_channel(kind, column[np.isfinite(column)]) for column in values.T]
        shift, scale, mean = zip(*of_channels, strict=True)
        return cls(shift, scale, mean)

    @staticmethod
    def _of_channel(kind: str, known: FloatArray) -> tuple[float, float, float]:
        if not known.size:  # a channel that the training split does not observe stays as it is
            return 0.0, 1.0, 0.0
        shift, scale = 0.0, 1.0
        if kind == "range":
            shift, scale = float(known.min()), float(np.ptp(known))
        elif kind == "standard":
            shift, scale = float(known.mean()), float(known.std())
        # What is constant but for rounding keeps its unit, too.
        scale = scale if kind == "none" or scale > CONSTANT * float(np.abs(known).max()) else 1.0
        return shift, scale, 0.0 if kind == "standard" else (float(known.mean()) - shift) / scale


@dataclass(frozen=True, eq=False)
class Split:
    """The series of one split.

    Attributes:
        batch: all of them; `wanted` is what the goal asks for.
        is_inside: which times are within the window, shape (b, n).
    """

    names: tuple[str, ...]
    batch: SeriesBatch
    is_inside: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, rows: Tensor) -> "Split":
        """Some of the series by their positions."""
        names = tuple(self.names[k] for k in rows.tolist())
        return Split(names, self.batch.chosen(rows), self.is_inside[rows])

    def to(self, device: torch.device) -> "Split":
        return Split(self.names, self.batch.to(device), self.is_inside.to(device))


@dataclass(frozen=True, eq=False)
class SeriesData:
    """The splits of a data set, and what is known of it.

    Attributes:
        channels, classes, time: as of the `SeriesSet`.
        scaling: by the observed values of the training split.
        longest: of the windows of the training split, in the unit of the times.
    """

    sha256: str
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    time: str
    scaling: Scaling
    longest: float
    train: Split
    validation: Split
    test: Split

    @property
    def test_items(self) -> int:
        return len(self.test)

    @property
    def device(self) -> torch.device:
        return self.test.batch.values.device

    def to(self, device: torch.device) -> "SeriesData":
        """The same on another device."""
        splits = {name: getattr(self, name).to(device) for name in ("train", "validation", "test")}
        return replace(self, **splits)


def prepare(
    found: SeriesSet, config: SeriesTaskConfig, scaling: Scaling | None = None, is_tested_whole: bool = False
) -> SeriesData:
    """The splits that a configuration makes of a data set.

    Args:
        scaling: of a trained model; that of the training split without it.
        is_tested_whole: each split has all of the series, as of data that nothing is trained on.

    Raises:
        InvalidInput: the data cannot be what the configuration wants: too few series or times, a horizon beyond the
            data, nothing within a window, noise where there is no truth.
    """
    data = config.data
    found = _with_noise(found, data)
    thinned = [_thinned(one, k, found, config) for k, one in enumerate(found.series)]
    everything = list(range(len(found)))
    train, validation, test = (everything,) * 3 if is_tested_whole else _split(len(found), data, config.seed)
    _check_goal("series", thinned, config)
    used = {"training": train, "validation": validation, "test": test} if scaling is None else {"test": test}
    for name, rows in used.items():
        _check_goal(f"{name} series", [thinned[k] for k in rows], config)
    if scaling is None:
        kind = found.scaling if data.scaling == "auto" else data.scaling
        scaling = Scaling.of(kind, np.concatenate([_observed_values(thinned[k]) for k in train]))

    def split(rows: Sequence[int]) -> Split:
        chosen = [thinned[k] for k in rows]
        batch = collate([one.series(scaling) for one in chosen])
        is_inside = torch.zeros(batch.times.shape, dtype=torch.bool)
        for number, one in enumerate(chosen):
            is_inside[number, : len(one.is_inside)] = torch.from_numpy(one.is_inside)
        return Split(tuple(one.recorded.name for one in chosen), batch, is_inside)

    return SeriesData(
        sha256=found.fingerprint(),
        channels=found.channels,
        classes=found.classes,
        time=found.time,
        scaling=scaling,
        longest=max(thinned[k].length for k in train) or 1.0,
        train=split(train),
        validation=split(validation),
        test=split(test),
    )


@dataclass(frozen=True, eq=False)
class _Thinned:
    """A series up to the horizon, and what of it is observed and wanted; masks of shape (n, channels)."""

    recorded: RecordedSeries
    is_inside: Any
    observed: Any
    wanted: Any
    is_beyond: bool
    """Whether what is wanted lies behind the window."""
    window_end: float
    """Until when it was watched within the window."""
    end: float
    """Until when it was watched at all: the last time in it, if nothing says that it goes on behind."""

    @property
    def length(self) -> float:
        """Of its window, up to the last time in it."""
        times = self.recorded.times[self.is_inside]
        return float(times[-1] - times[0])

    def series(self, scaling: Scaling) -> Series:
        one, begin, end = self.recorded, None, self.window_end
        if self.is_beyond:
            begin, end = end, self.end
        return Series(
            one.times,
            np.nan_to_num(scaling.scaled(one.values)),
            np.isfinite(one.values),
            observed=self.observed,
            wanted=self.wanted,
            label=one.label,
            truth=None if one.truth is None else scaling.scaled(one.truth),
            start=float(one.times[0]),
            begin=begin,
            end=end,
            name=one.name,
        )


def _with_noise(found: SeriesSet, config: SeriesDataConfig) -> SeriesSet:
    """The data set with noise on its truth, drawn once and for all for each series."""
    if found.noise is None:
        if config.noise is not None:
            raise InvalidInput(
                f"data.noise is {config.noise:g}, but {config.name} was recorded with its own: leave it out"
            )
        return found
    sd = config.noise or found.noise
    series = []
    for k, one in enumerate(found.series):
        if one.truth is None:
            raise InvalidInput(f"series {one.name} of {config.name} has no truth to add data.noise to: leave noise out")
        noise = np.random.default_rng([DEFAULT_NOISE_SEED, k]).normal(0.0, sd, one.truth.shape)
        series.append(replace(one, values=np.where(np.isnan(one.values), np.nan, one.truth + noise)))
    return replace(found, series=tuple(series))


def _thinned(one: RecordedSeries, number: int, found: SeriesSet, config: SeriesTaskConfig) -> _Thinned:
    data, goal = config.data, config.series.goal
    elapsed = one.times - one.times[0]
    last = float(elapsed[-1])
    if data.horizon is not None:
        if data.horizon > last * (1 + ROUNDING) and _is_the_longest(last, found):
            raise InvalidInput(
                f"data.horizon is {data.horizon:g}, beyond the data, of which the longest series lasts {last:g}: give "
                "less, or leave it out"
            )
        kept = elapsed <= data.horizon * (1 + ROUNDING)
        last = min(last, data.horizon)
        one = replace(
            one, times=one.times[kept], values=one.values[kept], truth=None if one.truth is None else one.truth[kept]
        )
        elapsed = elapsed[kept]
    end = float(one.times[0]) + last
    window = data.window or found.window
    if window is None and goal == "extrapolation":
        window = float(elapsed[-1]) / 2
    is_inside = np.ones(len(one), dtype=bool) if window is None else elapsed <= window * (1 + ROUNDING)
    is_known = np.isfinite(one.values)
    rows = np.flatnonzero(is_inside & is_known.any(axis=1))
    if not rows.size:
        raise InvalidInput(
            f"series {one.name} of {data.name} has nothing observed within its window, {window or last:g} long: give "
            "a larger data.window, or leave the series out"
        )
    if data.observed is not None:
        rows = _drawn(rows, one.name, number, config)
    is_observed = np.zeros(len(one), dtype=bool)
    is_observed[rows] = True
    observed = is_known & is_observed[:, None]
    wanted = {
        "reconstruction": observed,
        "interpolation": is_known & is_inside[:, None],
        "extrapolation": is_known & ~is_inside[:, None],
    }[goal]
    window_end = end if window is None else float(one.times[0]) + min(window, last)
    return _Thinned(one, is_inside, observed, wanted, goal == "extrapolation", window_end, end)


def _is_the_longest(last: float, found: SeriesSet) -> bool:
    return last >= max(float(one.times[-1] - one.times[0]) for one in found.series)


def _drawn(rows: Any, name: str, number: int, config: SeriesTaskConfig) -> Any:
    """As many of the rows as `data.observed` says, drawn by the seed and the series alone."""
    wanted = config.data.observed
    assert wanted is not None
    is_share = isinstance(wanted, float) and wanted <= 1
    count = max(1, round(wanted * len(rows))) if is_share else int(wanted)
    if count > len(rows):
        raise InvalidInput(
            f"data.observed is {count}, but series {name} of {config.data.name} has {len(rows)} times within its "
            "window: give fewer, or a share such as 0.5"
        )
    return np.random.default_rng([config.seed, number]).choice(rows, count, replace=False)


def _check_goal(which: str, thinned: Sequence[_Thinned], config: SeriesTaskConfig) -> None:
    if not any(one.wanted.any() for one in thinned):
        raise InvalidInput(
            f"series.goal is {config.series.goal}, but no {which} of {config.data.name} has a value beyond its "
            "window: give a smaller data.window, or another goal"
        )


def _split(count: int, config: SeriesDataConfig, seed: int) -> tuple[list[int], list[int], list[int]]:
    """The positions of the series of each split, drawn by the seed: no series is in two."""
    order = np.random.default_rng([seed, count]).permutation(count)
    test = max(1, round(config.test_fraction * count))
    validation = max(1, round(config.validation_fraction * (count - test)))
    rest = count - test - validation
    if rest < 1:
        raise InvalidInput(
            f"{config.name} has {count} series, too few for a training, a validation and a test split: give at least "
            "3, or smaller data.test_fraction and data.validation_fraction"
        )
    if config.subset is not None and config.subset > rest:
        raise InvalidInput(f"data.subset is {config.subset}, but there are {rest} training series: give fewer")
    parts = order[test + validation :][: config.subset], order[test : test + validation], order[:test]
    train, held_out, tested = (sorted(part.tolist()) for part in parts)
    return train, held_out, tested


def _observed_values(one: _Thinned) -> FloatArray:
    found: FloatArray = np.where(one.observed, one.recorded.values, np.nan)
    return found
