"""The points of a run's metrics, and the lines in which its record keeps them on the disk: JSON, one a point."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from bson import ObjectId, encode, json_util


class Point(NamedTuple):
    """A value of a metric."""

    name: str
    step: int
    value: float
    at: datetime


class MetricSeries:
    """One metric: step -> (value, time)."""

    def __init__(self, series_id: ObjectId) -> None:
        self.id = series_id
        self.points: dict[int, tuple[float, datetime]] = {}

    def in_order(self) -> dict[str, list[Any]]:
        """The points by their steps, as they are stored."""
        points = sorted(self.points.items())
        return {
            "steps": [step for step, _ in points],
            "values": [value for _, (value, _) in points],
            "timestamps": [at for _, (_, at) in points],
        }


def listed(series: Mapping[str, MetricSeries]) -> list[dict[str, str]]:
    """The series by name and id, as Omniboard finds them in a run's `info`."""
    return [{"name": name, "id": str(one.id)} for name, one in series.items()]


def check_point(name: Any, step: Any, value: Any) -> None:
    """Whether a series can hold a point: one that it cannot would keep all others from the store.

    Raises:
        TypeError, OverflowError, BSONError: it cannot.
    """
    if not isinstance(name, str):
        raise TypeError(f"its name is a {type(name).__name__} and no text")
    if not isinstance(step, int | float):  # Sacred takes parts of epochs, too
        raise TypeError(f"the step is a {type(step).__name__} and no number")
    if not isinstance(value, int | float | None):
        raise TypeError(f"the value is a {type(value).__name__} and no number")
    encode({"name": name, "value": value, "step": step})


def metric_line(name: str, series_id: ObjectId, step: int, value: float, at: datetime) -> str:
    """The line of a point, without its end."""
    return json_util.dumps({"id": series_id, "name": name, "step": step, "value": value, "at": at})


def point_of(line: bytes) -> tuple[Point, ObjectId]:
    """The point of a line and the id of its series.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, BSONError: it is not what
            `metric_line` writes.
    """
    point = json_util.loads(line.decode())
    name, step, value, at, series_id = (point[key] for key in ("name", "step", "value", "at", "id"))
    if not (isinstance(name, str) and isinstance(at, datetime) and isinstance(series_id, ObjectId)):
        raise TypeError("a name, a time or an id is of another type")
    check_point(name, step, value)
    return Point(name, step, value, at), series_id  # None where a metric is not defined


def is_torn(line: bytes) -> bool:
    """Whether the line is the beginning of one, left by a kill or a full disk, or empty."""
    text = line.strip(b"\0\r ")
    return not text or (text.startswith(b"{") and not text.endswith(b"}") and b"\0" not in text)
