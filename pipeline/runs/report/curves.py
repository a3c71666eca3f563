"""The metrics of many runs as a page holds them: few enough points, extremes kept."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.runs.portions import in_portions
from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.readable import is_series
from pipeline.tracking.store import translate_store_errors

MOST_POINTS = 500_000
"""Of all curves together: what a file below 5 MB has room for."""
MOST_OF_A_CURVE = 400
FEWEST_OF_A_CURVE = 10
Number = int | float | None
"""None for what is no finite number."""


@dataclass(frozen=True)
class Curve:
    """One metric of one run.

    Attributes:
        last, lowest, highest: of the whole series, whatever of it is kept; None where no value is a finite number.
        is_whole: whether every point is kept.
        not_finite: how many values are no finite number.
    """

    run_id: Any
    metric: str
    steps: tuple[Number, ...]
    values: tuple[Number, ...]
    last: Number
    lowest: Number
    highest: Number
    is_whole: bool
    not_finite: int


def load_curves(runs: Runs, found: Sequence[StoredRun]) -> list[Curve]:
    """Every metric of the runs, thinned where they have more points together than a page has room for."""
    with translate_store_errors():
        curves = [_curve(series) for series in _series(runs, found)]
    most = points_for_each([len(curve.steps) for curve in curves])
    return [_thinned(curve, most) for curve in curves]


def points_for_each(lengths: Sequence[int], room: int = MOST_POINTS) -> int:
    """How many points a curve may have for all to have room together; never below `FEWEST_OF_A_CURVE`."""
    most = FEWEST_OF_A_CURVE
    while most < MOST_OF_A_CURVE and sum(min(length, most + 1) for length in lengths) <= room:
        most += 1
    return most


def thin(values: Sequence[Number], most: int) -> list[int]:
    """The places of at most so many values: the first, the last, and of equal parts between the lowest and the highest.

    Args:
        most: at least 4.
    """
    if len(values) <= most:
        return list(range(len(values)))
    parts = (most - 2) // 2
    kept = {0, len(values) - 1}
    for part in range(parts):
        start, end = (1 + (len(values) - 2) * edge // parts for edge in (part, part + 1))
        finite = [place for place in range(start, end) if values[place] is not None]
        if finite:
            kept |= {min(finite, key=lambda place: values[place]), max(finite, key=lambda place: values[place])}  # type: ignore[arg-type,return-value]
        else:
            kept.add(start)  # the gap
    return sorted(kept)


def _series(runs: Runs, found: Sequence[StoredRun]) -> Iterator[dict[str, Any]]:
    ids = [run.run_id for run in found]
    for series in in_portions(runs.database.metrics, "run_id", ids, {"timestamps": False}, ("run_id", "name")):
        if is_series(series):
            yield series


def _curve(series: dict[str, Any]) -> Curve:
    values = [_finite(value) for value in series["values"]]
    finite = [value for value in values if value is not None]
    kept = thin(values, MOST_OF_A_CURVE)
    return Curve(
        run_id=series["run_id"],
        metric=series["name"],
        steps=tuple(_finite(series["steps"][place]) for place in kept),
        values=tuple(values[place] for place in kept),
        last=values[-1],
        lowest=min(finite, default=None),
        highest=max(finite, default=None),
        is_whole=len(kept) == len(values),
        not_finite=len(values) - len(finite),
    )


def _thinned(curve: Curve, most: int) -> Curve:
    if len(curve.values) <= most:
        return curve
    kept = thin(curve.values, most)
    return Curve(
        **vars(curve)
        | {
            "steps": tuple(curve.steps[place] for place in kept),
            "values": tuple(curve.values[place] for place in kept),
            "is_whole": False,
        }
    )


def _finite(value: Any) -> Number:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
