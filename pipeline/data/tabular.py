"""Tables of numbers, a row an item: read, checked, and freed of repeated values where that is asked for."""

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.csv_file import read_csv
from pipeline.data.errors import DataError
from pipeline.util.array_types import FloatArray
from pipeline.util.errors import InvalidInput, brief
from pipeline.util.files import write_result
from pipeline.util.paths import data_folder
from pipeline.util.printable import inert

ENDINGS = (".npz", ".csv", ".parquet")
REPEATED = 0.01
"""Share of a column's values that may be those of other rows: with more, it is of discrete values."""
LARGEST = 1e18
"""Of values; their squares are finite in float32."""
NARROW = 1e-4
"""Width of a noise, of a column's standard deviation, in which a share of all rows is as good as one value."""
NAMED = 5
"""Columns that a message names before it only counts them."""
NUMBER = re.compile(r"[+-]?\d*\.\d+(e[+-]?\d+)?|[+-]?\d+e[+-]?\d+|-\d+", re.IGNORECASE)
"""What stands where the first line is no line of headings; whole numbers are the headings that pandas gives."""
UNNAMED = re.compile(r"(column|value) \d+")
"""What columns are called that have no names of their own."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers.

    Attributes:
        rows: float64, shape (n, D); with `test` those to train and validate with.
        columns: D names.
        validation, test: the same of the file's own split; None where it has none.
    """

    rows: FloatArray
    columns: tuple[str, ...]
    validation: FloatArray | None = None
    test: FloatArray | None = None


def find_table(name: str) -> Path:
    """The file at that path, or of that name in the data folder.

    Raises:
        InvalidInput: there is none.
    """
    for path in _places(name):
        if path.is_file():
            return path.absolute()
    raise InvalidInput(f"there is no file {name}, neither here nor in {data_folder()}")


def refuse_overwriting(out: Path, *names: str) -> None:
    """See to it that a file that is to be written is not that of a table of these names, by whatever path.

    Raises:
        InvalidInput: it is.
    """
    for name in names:
        if out.is_file() and any(path.is_file() and path.samefile(out) for path in _places(name)):
            raise InvalidInput(f"{out} is the data {name}, which would be lost: name another file to write")


def _places(name: str) -> tuple[Path, Path]:
    return Path(name).expanduser(), data_folder() / name


def read_table(path: Path) -> Table:
    """A table from an `.npz`, a `.csv` with a line of headings, or a `.parquet`.

    An `.npz` has `x` or, split already, `x_train` and `x_test` and perhaps `x_validation`; and perhaps the names of the
    `columns`.

    Raises:
        DataError: the file cannot be read, or has columns that are no numbers.
    """
    import pandas as pd  # here, as the data sets are listed without it

    try:
        if path.suffix == ".npz":
            return _read_npz(path)
        frame = read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except ImportError as error:
        raise DataError(
            f"{path} is read by pyarrow, which is not here: pip install 'odenet-pipeline[parquet]'"
        ) from error
    except DataError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a table ({brief(str(error))}): write it again") from error
    if not len(frame):
        raise DataError(f"{path} has no rows: give it some below the names of its columns")
    if path.suffix == ".csv" and (first := [str(column) for column in frame if NUMBER.fullmatch(str(column))]):
        raise DataError(
            f"{path} begins with {_named(first, 'column')}, which looks like a row: give it a first line of names"
        )
    text = [str(column) for column in frame if not pd.api.types.is_numeric_dtype(frame[column])]
    if text:
        raise DataError(f"{path} has {_named(text, 'column')} of text, and a density is of numbers: leave it out")
    return Table(frame.to_numpy(np.float64, na_value=np.nan), tuple(map(str, frame.columns)))


def _read_npz(path: Path) -> Table:
    with np.load(path, allow_pickle=False) as file:
        names = [str(name) for name in file["columns"]] if "columns" in file else []
        arrays = {key: file[key] for key in ("x", "x_train", "x_validation", "x_test") if key in file}
    train = arrays.get("x_train", arrays.get("x"))
    if train is None:
        raise DataError(f"{path} has neither x nor x_train: a table is x, or x_train and x_test, of shape (n, columns)")
    parts = {key: _numbers(path, key, value) for key, value in arrays.items()}
    widths = {array.shape[1] for array in parts.values()}
    if len(widths) > 1:
        raise DataError(f"{path}: its arrays have {' and '.join(map(str, sorted(widths)))} columns; they must be alike")
    columns = tuple(names) or tuple(f"column {number}" for number in range(train.shape[1]))
    if len(columns) != train.shape[1]:
        raise DataError(f"{path} has {train.shape[1]} columns and {len(columns)} names of columns: correct them")
    rows = parts["x_train"] if "x_train" in parts else parts["x"]
    return Table(rows, columns, parts.get("x_validation"), parts.get("x_test"))


def _numbers(path: Path, key: str, array: Any) -> FloatArray:
    if array.dtype.kind not in "iufb" or array.ndim != 2:
        raise DataError(
            f"{path}: {key} must be numbers of shape (n, columns), not {array.dtype} of shape {array.shape}"
        )
    values: FloatArray = array.astype(np.float64)
    return values


def check_table(name: str, rows: FloatArray, columns: Sequence[str], may_repeat: bool) -> None:
    """See to it that the rows can have a density.

    Args:
        may_repeat: whether columns of repeated values are made continuous later on.

    Raises:
        DataError: no rows, values that are no numbers, constant columns, or columns of repeated values.
    """
    if len(rows) < 2:
        raise DataError(f"{name} has {len(rows)} rows to train with: give more")
    refuse_no_numbers(name, rows, columns)
    is_constant = rows.min(0) == rows.max(0)
    _refuse(name, columns, is_constant, "one value in all rows, where a density is infinite", "leave it out")
    if not may_repeat:
        repeated = np.array([1 - len(np.unique(column)) / len(column) for column in rows.T])
        _refuse(
            name,
            columns,
            repeated > REPEATED,
            f"up to {repeated.max():.0%} repeated values, on which a likelihood grows without bound",
            "use data.dequantise=True, or data.noise=0.01",
        )


def refuse_no_numbers(name: str, rows: FloatArray, columns: Sequence[str]) -> None:
    """
    Raises:
        DataError: a value is missing, infinite, or too large to be computed with in float32.
    """
    _refuse(name, columns, ~np.isfinite(rows).all(0), "values that are no numbers", "fill them in, or leave it out")
    is_large = np.abs(rows).max(0, initial=0) > LARGEST
    _refuse(name, columns, is_large, f"values beyond {LARGEST:g}", "give it in a larger unit")


def _refuse(name: str, columns: Sequence[str], is_wrong: Any, what: str, remedy: str) -> None:
    wrong = [column for column, wrong in zip(columns, is_wrong, strict=True) if wrong]
    if wrong:
        raise DataError(f"{name}: {_named(wrong, 'column')} with {what}: {remedy}")


def order_by_name(what: str, given: Sequence[str], wanted: Sequence[str]) -> list[int] | slice:
    """Where each of the columns `wanted` is among those `given`: by its name, or where either have none, in its place.

    Raises:
        InvalidInput: they have other names.
    """
    given, wanted = [name.strip() for name in given], [name.strip() for name in wanted]
    if given == wanted:
        return slice(None)
    if sorted(given) != sorted(wanted):
        if not _have_names(given) or not _have_names(wanted):
            return slice(None)
        raise InvalidInput(
            f"{what} has {_named(given, 'column')}, but the model was trained on {_named(wanted, 'column')}: name them "
            "so, or give an .npz without names, whose columns are taken in their order"
        )
    return [given.index(name) for name in wanted]


def _have_names(columns: Sequence[str]) -> bool:
    return bool(columns) and not all(UNNAMED.fullmatch(column) for column in columns)


def _named(names: Sequence[str], what: str) -> str:
    listed = ", ".join(brief(name) for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"the {what}{'s' if len(names) > 1 else ''} {listed}{more}"


def gaps(rows: FloatArray) -> FloatArray:
    """Of each column with more repeated values than a density bears, the smallest gap between its values; else 0."""
    found = np.zeros(rows.shape[1])
    for number, column in enumerate(rows.T):
        distinct = np.unique(column)
        if 1 - len(distinct) / len(column) > REPEATED and len(distinct) > 1:
            found[number] = np.diff(distinct).min()
    return found


def refuse_heaps(name: str, rows: FloatArray, columns: Sequence[str], widths: FloatArray) -> None:
    """See to it that what is repeated is spread widely enough by uniform noise of these widths, of each column.

    Raises:
        DataError: one value is a share of a column whose others lie far closer together, as 0 among measurements.
    """
    commonest = np.array([np.unique(column, return_counts=True)[1].max() for column in rows.T]) / len(rows)
    is_heap = (widths > 0) & (widths < NARROW * rows.std(0)) & (commonest > REPEATED)
    _refuse(
        name,
        columns,
        is_heap,
        f"one value in up to {commonest.max():.0%} of the rows, which data.dequantise spreads no wider than the "
        "closest others are apart",
        "use data.noise=0.01 instead",
    )


def with_noise(rows: FloatArray, widths: FloatArray, deviations: FloatArray, random: np.random.Generator) -> FloatArray:
    """The rows with uniform noise from 0 to a width, and normal noise, of each column."""
    noisy: FloatArray = rows + widths * random.random(rows.shape) + deviations * random.standard_normal(rows.shape)
    return noisy


def write_table(path: Path, rows: FloatArray, columns: Sequence[str] = (), key: str = "x") -> None:
    """Write rows, shape (n, D), as an `.npz` with the array `key`, or as a `.csv` with a line of headings.

    Raises:
        OdenetError: the file cannot be written.
    """
    import pandas as pd

    numbered = [key] if rows.shape[1] == 1 else [f"{key}{number}" for number in range(rows.shape[1])]
    names = list(columns) or numbered
    if path.suffix == ".csv":
        write_result(path, pd.DataFrame(rows, columns=[inert(name) for name in names]).to_csv(index=False), "table")
        return
    buffer = io.BytesIO()
    named = {"columns": np.array(names)} if columns else {}
    np.savez_compressed(buffer, **{key: rows}, **named)  # type: ignore[arg-type]
    write_result(path, buffer.getvalue(), "table")
