"""Reading a CSV of a user's."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_csv(path: Path, **options: Any) -> "pd.DataFrame":
    """The table in a CSV, whose first line names the columns.

    Args:
        options: of `pandas.read_csv`.

    Raises:
        ValueError: rows have more cells than the first line, of which pandas would take some for names of rows, or
            leave them out.
        OSError: it cannot be read.
        DataError: a column has no name, or that of another, to which pandas would give names of its own making.
    """
    import pandas as pd  # here, as what merely lists data sets does without it

    _refuse_odd_names(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            table: pd.DataFrame = pd.read_csv(path, index_col=False, **options)
        except pd.errors.ParserWarning:
            raise ValueError(
                "its rows have more cells than its first line has names of columns; cells are parted by commas, and "
                "numbers have a point"
            ) from None
    return table


def _refuse_odd_names(path: Path) -> None:
    import pandas as pd

    try:
        first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.EmptyDataError:
        return  # which reading all of it tells
    names = [str(name).strip() for name in first.iloc[0]]
    for place, name in enumerate(names):
        if not name:
            raise DataError(
                f"{path.name} has no name for its column {place + 1}: give it one, or leave the column out, as pandas "
                "does where a table is written with to_csv(…, index=False)"
            )
        if name in names[:place]:
            raise DataError(f"{path.name} has the column {name} twice: name each of its own")
