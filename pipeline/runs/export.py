"""Runs and their metrics as two tables for other programs: CSV, Parquet or JSON."""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pipeline.runs.filters import Filters
from pipeline.runs.query import Runs
from pipeline.tracking.readable import is_series
from pipeline.tracking.store import translate_store_errors
from pipeline.util.errors import InvalidInput, OdenetError
from pipeline.util.printable import inert

Format = Literal["csv", "parquet", "json"]
Rows = list[dict[str, Any]]

_DTYPES: tuple[tuple[set[type], Literal["boolean", "Int64", "float64"]], ...] = (
    ({bool}, "boolean"),
    ({int}, "Int64"),
    ({int, float}, "float64"),
)
_METRIC_COLUMNS = ("run_id", "metric", "epoch", "value", "time")


class ExportError(OdenetError):
    """An export that cannot be written."""


def run_rows(runs: Runs, filters: Filters = ()) -> Rows:
    """One row a run, the oldest first: status, result, times, tags, note, `config.*`, `info.*`; lists stay lists.

    Args:
        filters: as for `Runs.find`.
    """
    return [run.to_row() for run in reversed(runs.find(filters))]


def metric_rows(runs: Runs, run_ids: Sequence[int]) -> Rows:
    """One row a point: run_id, metric, epoch, value, time (UTC)."""
    with translate_store_errors():
        series = runs.database.metrics.find({"run_id": {"$in": list(run_ids)}}).sort([("run_id", 1), ("name", 1)])
        found = [one for one in series if is_series(one)]
    return [
        dict(zip(_METRIC_COLUMNS, (series["run_id"], series["name"], *point), strict=True))
        for series in found
        for point in zip(series["steps"], map(_measured, series["values"]), _times(series), strict=True)
    ]


def _measured(value: Any) -> Any:
    """A truth value as the number that it counts as, so that a column of numbers stays one."""
    return int(value) if isinstance(value, bool) else value


def _times(series: Mapping[str, Any]) -> list[datetime | None]:
    """A time for each point; none where another program has not stored as many."""
    times, number = series.get("timestamps"), len(series["steps"])
    if isinstance(times, list) and [isinstance(time, datetime) for time in times] == [True] * number:
        return times
    return [None] * number


def to_json(runs: Runs, filters: Filters = ()) -> dict[str, Rows]:
    """Both tables as plain values that JSON can hold: times in ISO 8601, a number that is not finite as null."""
    rows = run_rows(runs, filters)
    points = metric_rows(runs, [row["run_id"] for row in rows])
    return {"runs": [_plain(row) for row in rows], "metrics": [_plain(point) for point in points]}


def write_export(runs: Runs, folder: Path, form: Format, filters: Filters = ()) -> tuple[int, int]:
    """Write `runs` and `metrics` as files of that format into a new folder, whole or not at all.

    Returns:
        Numbers of runs and of points.

    Raises:
        InvalidInput: the folder exists and is not empty.
        ExportError: it cannot be written, or a library for Parquet is missing.
    """
    if form == "parquet":
        _require_pyarrow()
    _refuse_used(folder)
    rows = run_rows(runs, filters)
    points = metric_rows(runs, [row["run_id"] for row in rows])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            written = Path(scratch) / "export"
            written.mkdir()
            _write(rows, written / f"runs.{form}", form)
            _write(points, written / f"metrics.{form}", form, _METRIC_COLUMNS)
            written.rename(folder)
    except OSError as error:
        raise ExportError(f"the export {folder} cannot be written ({error.strerror}): name another folder") from error
    return len(rows), len(points)


def _write(rows: Rows, path: Path, form: Format, columns: Sequence[str] = ("run_id",)) -> None:
    match form:
        case "json":
            path.write_text(json.dumps([_plain(row) for row in rows], indent=1, allow_nan=False))
        case "csv":
            _without_formulas(to_frame(rows, columns)).to_csv(path, index=False)
        case "parquet":
            to_frame(rows, columns).to_parquet(path, engine="pyarrow", index=False)


def to_frame(rows: Rows, columns: Sequence[str]) -> pd.DataFrame:
    """The rows as a table whose columns each have one type; what is mixed, or a list, becomes text.

    Args:
        columns: those that are there even without a row.
    """
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})


def _without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as a spreadsheet may open it: no text of it is a formula."""
    frame = frame.copy()
    for name in frame.columns:
        if frame[name].dtype == "string":
            frame[name] = frame[name].map(inert, na_action="ignore")
    return frame.rename(columns=inert)


def _column(values: Sequence[Any]) -> "pd.Series[Any]":
    kinds = {type(value) for value in values if value is not None}
    if kinds == {datetime}:
        return pd.Series(pd.to_datetime(pd.Series(values), utc=True))
    dtype = next((name for known, name in _DTYPES if kinds and kinds <= known), None)
    return pd.Series(values if dtype else [_text(value) for value in values], dtype=dtype or "string")


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _plain(below) for key, below in value.items()}
        case list() | tuple():
            return [_plain(below) for below in value]
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case datetime():
            return value.replace(tzinfo=value.tzinfo or UTC).isoformat()
        case _:
            return str(value)


def _require_pyarrow() -> None:
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        raise ExportError(
            "Parquet needs pyarrow, which is not installed: `pip install 'odenet-pipeline[parquet]'`, "
            "or choose --format csv"
        ) from error


def _refuse_used(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InvalidInput(f"{folder} exists already: name a new folder, or remove that one")
