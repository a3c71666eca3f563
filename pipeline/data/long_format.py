"""A user's own series: CSV, Parquet or `.npz` with a row for each time of each series."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.csv_file import read_csv
from pipeline.data.errors import DataError
from pipeline.data.series_set import SeriesSet, checked, from_mapping, rows_of_series
from pipeline.util.errors import brief, shortened

ENDINGS = (".csv", ".parquet", ".npz")
COLUMNS = ("series", "time")
LABEL = "label"
MISSING = ("", "nan", "na")
"""What an empty cell may have instead of nothing, whatever its case."""


def read_long_format(path: Path, *, may_lack_channels: bool = False) -> SeriesSet:
    """The series in a file.

    A table has the columns `series`, `time` and, if its series have a class, `label`; every other column is a channel,
    empty where nothing was observed. An `.npz` has arrays: see `pipeline.data.series_set.from_mapping`.

    Args:
        may_lack_channels: see `pipeline.data.series_set.checked`.

    Raises:
        DataError: it is missing, cannot be read, lacks a column, or its rows do not fit together; the row is named.
    """
    try:
        match path.suffix:
            case ".npz":
                with np.load(path, allow_pickle=False) as file:
                    found = from_mapping(path.name, dict(file))
                return checked(path.name, found, may_lack_channels=may_lack_channels)
            case ".parquet":
                table = _parquet(path)
            case _:
                table = read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: correct its name") from None
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        kind = "a table" if path.suffix != ".npz" else "an .npz of plain arrays"
        raise DataError(f"{path} cannot be read as {kind} ({shortened(str(error).strip(), 200)})") from error
    found = from_mapping(path.name, _arrays(path.name, table))
    return checked(path.name, found, may_lack_channels=may_lack_channels)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise DataError(
            f"{path.name} is Parquet, which needs pyarrow: pip install 'odenet-pipeline[parquet]', or give a CSV"
        ) from None


def _arrays(name: str, table: pd.DataFrame) -> dict[str, Any]:
    table.columns = [str(column).strip() for column in table.columns]
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise DataError(
            f"{name} has no column {' and no column '.join(missing)}: its columns must be series, time, and then the "
            "values"
        )
    if repeated := table.columns[table.columns.duplicated()].tolist():
        raise DataError(f"{name} has the column {repeated[0]} twice: name each of its own")
    channels = [column for column in table.columns if column not in (*COLUMNS, LABEL)]
    if not channels:
        raise DataError(f"{name} has no column of values beside series and time: add one")
    if not len(table):
        raise DataError(f"{name} has no rows: give one for each time of each series")
    times = _numbers(name, table, "time")
    if (empty := np.flatnonzero(np.isnan(times))).size:
        raise DataError(f"{name}, row {_row(empty[0])}: the time is empty: give each row one, or leave it out")
    if nameless := [k for k, cell in enumerate(table["series"]) if _is_missing(cell)]:
        raise DataError(f"{name}, row {_row(nameless[0])}: the series is empty: say of each row which one it is of")
    series = table["series"].map(_text)
    _check_order(name, series.tolist(), times)
    found: dict[str, Any] = {
        "series": series.to_numpy(dtype=object),
        "time": times,
        "values": np.stack([_numbers(name, table, column) for column in channels], axis=1),
        "channels": channels,
    }
    if LABEL in table.columns:
        found["label"] = _labels(name, table, series.tolist())
    return found


def _numbers(name: str, table: pd.DataFrame, column: str) -> Any:
    """The column as float64, not a number where it is empty."""
    cells = table[column]
    if pd.api.types.is_datetime64_any_dtype(cells) or pd.api.types.is_timedelta64_dtype(cells):
        raise DataError(
            f"{name}: the column {column} has dates or durations, and numbers of which unit is not said: give numbers, "
            f"as in table[{column!r}] = (table[{column!r}] - start) / pandas.Timedelta('1h')"
        )
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    suspicious = np.flatnonzero(~np.isfinite(numbers))
    for k in suspicious:
        cell = cells.iloc[k]
        if not _is_missing(cell):
            raise DataError(
                f"{name}, row {_row(k)}, column {column}: {brief(cell)} is no number; leave the cell empty where "
                "nothing was observed"
            )
    return numbers


def _check_order(name: str, series: list[str], times: Any) -> None:
    """Within each series the times ascend; said here with the row."""
    for one, rows in rows_of_series(series):
        wrong = np.flatnonzero(np.diff(times[rows]) <= 0)
        if wrong.size:
            before, row = rows[wrong[0]], rows[wrong[0] + 1]
            if times[before] == times[row]:
                raise DataError(
                    f"{name}, row {_row(row)}: series {one} has the time {times[row]:g} twice, in row {_row(before)} "
                    "too: merge the rows, or drop one"
                )
            raise DataError(
                f"{name}, row {_row(row)}: series {one} has the time {times[row]:g} behind {times[before]:g}: sort "
                "its rows by time"
            )


def _labels(name: str, table: pd.DataFrame, series: list[str]) -> Any:
    cells = [None if _is_missing(cell) else _text(cell) for cell in table[LABEL]]
    first: dict[str, str] = {}
    for k, (one, cell) in enumerate(zip(series, cells, strict=True)):
        if cell is not None and first.setdefault(one, cell) != cell:
            raise DataError(
                f"{name}, row {_row(k)}: the label of series {one} changes from {first[one]} to {cell}: give a series "
                "one label"
            )
    return np.array(cells, dtype=object)


def _is_missing(cell: Any) -> bool:
    """Whether a cell is empty: in a CSV its text, in Parquet what its kind of column has instead of a value."""
    return cell is None or cell is pd.NA or cell is pd.NaT or _text(cell).lower() in MISSING


def _text(cell: Any) -> str:
    return (cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)).strip()


def _row(k: Any) -> int:
    """The number of a row as an editor counts, the header being the first."""
    return int(k) + 2
