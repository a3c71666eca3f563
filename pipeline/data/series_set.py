"""Data sets of irregular series, as they are read or made: before they are scaled, split or thinned."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.tabular import order_by_name
from pipeline.util.array_types import FloatArray

LONGEST_SPAN = 1e6
"""Of a series, over its median gap: with more, some of its times are in another unit."""


@dataclass(frozen=True, eq=False)
class RecordedSeries:
    """One series as it was recorded.

    Attributes:
        times: ascending, shape (n,), float64.
        values: not a number where nothing was recorded, shape (n, channels), float64.
        label: its class, from 0; None where it is not known.
        truth: the values without noise, shape (n, channels); None where they are not known.
    """

    name: str
    times: FloatArray
    values: FloatArray
    label: int | None = None
    truth: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, eq=False)
class SeriesSet:
    """Series with the same channels.

    Attributes:
        channels: what the values are, with their units.
        classes: of the labels; none where there are no labels.
        time: what the times are in, as `days`.
        window: time from the beginning of each series up to which its values may be given to a model; None: to its end.
        scaling: how the values are scaled unless a configuration says otherwise: `standard`, `range` or `none`.
        noise: sd of the noise that a configuration may add to the truth, unless it says another; None for values that
            were recorded.
    """

    series: tuple[RecordedSeries, ...]
    channels: tuple[str, ...]
    classes: tuple[str, ...] = ()
    time: str = ""
    window: float | None = None
    scaling: str = "standard"
    noise: float | None = None

    def __len__(self) -> int:
        return len(self.series)

    def with_classes(self, wanted: Sequence[str]) -> "SeriesSet":
        """The same with its labels numbered as in `wanted`, by their names; those that are not among them have none."""
        numbers = [wanted.index(name) if name in wanted else None for name in self.classes]
        series = tuple(
            replace(one, label=None if one.label is None or not self.classes else numbers[one.label])
            for one in self.series
        )
        return replace(self, series=series, classes=tuple(wanted))

    def with_channels(self, what: str, wanted: Sequence[str]) -> "SeriesSet":
        """The same with its channels in the order of as many `wanted`, by their names where both have some.

        Raises:
            InvalidInput: they have other names.
        """
        order = order_by_name(what, self.channels, wanted)
        if isinstance(order, slice):
            return self
        series = tuple(
            replace(one, values=one.values[:, order], truth=None if one.truth is None else one.truth[:, order])
            for one in self.series
        )
        return replace(self, series=series, channels=tuple(self.channels[k] for k in order))

    def fingerprint(self) -> str:
        """SHA-256 of names, channels, classes, times, values, truths and labels (hex)."""
        digest = hashlib.sha256(repr((self.channels, self.classes)).encode())
        for one in self.series:
            digest.update(f"{one.name}\0{one.label}\0{one.values.shape}".encode())
            for array in (one.times, one.values, one.truth):
                digest.update(b"" if array is None else np.ascontiguousarray(array, "<f8").tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """How many series, channels and times: '1,000 series, 2 channels, 200 times each'."""
        lengths = sorted({len(one) for one in self.series})
        times = f"{lengths[0]} times each" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]} times"
        channels = f"{len(self.channels)} channel{'' if len(self.channels) == 1 else 's'}"
        return f"{len(self):,} series, {channels}, {times}"


def checked(name: str, found: SeriesSet, *, may_lack_channels: bool = False) -> SeriesSet:
    """The data set, if its series can be what a model learns from.

    Args:
        name: of the data set or its file, for messages.
        may_lack_channels: nothing is learned from it, so that a channel may be missing throughout.

    Raises:
        DataError: there are no series, one's times do not ascend or are in mixed units, values are infinite, one has
            nothing recorded, or a channel is missing throughout.
    """
    if not found.series:
        raise DataError(f"{name} has no series: give one at least")
    recorded = np.zeros(len(found.channels), dtype=bool)
    for one in found.series:
        _check_series(name, one, len(found.channels))
        recorded |= np.isfinite(one.values).any(axis=0)
    if not (may_lack_channels or recorded.all()):
        missing = found.channels[int(np.flatnonzero(~recorded)[0])]
        raise DataError(f"{name}: the channel {missing} is missing throughout: leave it out")
    return found


def _check_series(name: str, one: RecordedSeries, channels: int) -> None:
    times, values = one.times, one.values
    if times.ndim != 1 or values.shape != (len(times), channels) or not len(times):
        raise DataError(
            f"{name}: series {one.name} has times of shape {times.shape} and values of shape {values.shape}: give n "
            f"times and n rows of {channels} values"
        )
    if not np.isfinite(times).all():
        raise DataError(f"{name}: series {one.name} has a time that is no finite number: leave its row out")
    if np.isinf(values).any():
        raise DataError(f"{name}: series {one.name} has an infinite value: leave it empty")
    gaps = np.diff(times)
    if (wrong := np.flatnonzero(gaps <= 0)).size:
        first, second = times[wrong[0]], times[wrong[0] + 1]
        if first == second:
            raise DataError(f"{name}: series {one.name} has the time {first:g} twice: merge the rows, or drop one")
        raise DataError(f"{name}: series {one.name} has the time {second:g} behind {first:g}: sort it by time")
    if len(gaps) > 1 and times[-1] - times[0] > LONGEST_SPAN * float(np.median(gaps)):
        raise DataError(
            f"{name}: series {one.name} lasts {times[-1] - times[0]:g}, over a million times its median gap of "
            f"{np.median(gaps):g}: bring all its times to one unit"
        )
    if not np.isfinite(values).any():
        raise DataError(f"{name}: series {one.name} has no value at any time: leave it out")
    if one.truth is not None and one.truth.shape != values.shape:
        raise DataError(f"{name}: series {one.name} has a truth of shape {one.truth.shape}, not {values.shape}")


def from_mapping(name: str, made: Mapping[str, Any]) -> SeriesSet:
    """The data set in arrays of the long format, as an `.npz` has them and a plug-in returns them.

    Args:
        made: `series` and `time`, shape (n,), `values`, shape (n, channels) or (n,); and, where there are some,
            `truth` like the values, `label`, shape (n,), `channels`, and single values for `time_unit`, `window`,
            `scaling` and `noise`.

    Raises:
        DataError: an array is missing or has another shape, or a label changes within a series.
    """
    missing = [key for key in ("series", "time", "values") if key not in made]
    if missing:
        raise DataError(f"{name} lacks {', '.join(missing)}: give series, time and values, a row for each time")
    series, values = np.asarray(made["series"]), _numbers(name, "values", made["values"])
    times = _numbers(name, "time", made["time"])
    values = values[:, None] if values.ndim == 1 else values
    truth = _numbers(name, "truth", made["truth"]) if "truth" in made else None
    truth = truth[:, None] if truth is not None and truth.ndim == 1 else truth
    if "noise" in made and truth is not None and _are_others(values, truth):
        raise DataError(
            f"{name} has noise, which is added to its truth, beside values that have theirs: leave noise out, or give "
            "the truth for values"
        )
    labels = np.asarray(made["label"]) if "label" in made else None
    for key, array in (("series", series), ("values", values), ("truth", truth), ("label", labels)):
        if array is not None and len(array) != len(times):
            raise DataError(f"{name} has {len(array)} rows of {key} and {len(times)} times: give as many")
    channels = tuple(map(str, np.asarray(made["channels"]))) if "channels" in made else ()
    channels = channels or tuple(f"value {k + 1}" for k in range(values.shape[1]))
    if len(channels) != values.shape[1]:
        raise DataError(f"{name} names {len(channels)} channels and has {values.shape[1]}: name as many")
    rows = rows_of_series([str(entry) for entry in series.tolist()])
    classes, numbered = _classes(name, labels, rows)
    found = tuple(
        RecordedSeries(one, times[k], values[k], numbered.get(one), None if truth is None else truth[k])
        for one, k in rows
    )
    return SeriesSet(found, channels, classes, **_settings(made))


def _are_others(values: FloatArray, truth: FloatArray) -> bool:
    """Whether a value that is there is not the truth."""
    return values.shape == truth.shape and bool(((values != truth) & ~np.isnan(values)).any())


def rows_of_series(names: Sequence[str]) -> list[tuple[str, Any]]:
    """Each series' name and the numbers of its rows, in the order of its first row."""
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    of_rows = np.array([codes[name] for name in names], dtype=np.int64)
    order = np.argsort(of_rows, kind="stable")
    ends = np.cumsum(np.bincount(of_rows, minlength=len(codes)))
    return list(zip(codes, np.split(order, ends[:-1]), strict=True)) if codes else []


def _classes(name: str, labels: Any, rows: Sequence[tuple[str, Any]]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of the classes, and the class of each series that has one."""
    if labels is None:
        return (), {}
    of_series: dict[str, Any] = {}
    for one, numbers in rows:
        own = labels[numbers]
        known = [entry for entry in own.tolist() if not _is_missing(entry)]
        if others := [entry for entry in known if entry != known[0]]:
            raise DataError(f"{name}: the label of series {one} changes from {known[0]} to {others[0]}: give it one")
        if known:
            of_series[one] = known[0]
    try:
        classes = sorted(set(of_series.values()))
    except TypeError:  # text beside numbers
        classes = sorted(set(of_series.values()), key=str)
    numbered = {entry: number for number, entry in enumerate(classes)}
    names = tuple(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in classes)
    return names, {one: numbered[entry] for one, entry in of_series.items()}


def _is_missing(entry: Any) -> bool:
    return entry is None or entry == "" or entry != entry


def _numbers(name: str, key: str, array: Any) -> FloatArray:
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: {key} must be numbers, not a number where nothing was recorded ({error})") from error


def _settings(made: Mapping[str, Any]) -> dict[str, Any]:
    settings: Iterator[tuple[str, Any]] = (
        (name, np.asarray(made[key]).item())
        for key, name in (("time_unit", "time"), ("window", "window"), ("scaling", "scaling"), ("noise", "noise"))
        if key in made
    )
    return dict(settings)
