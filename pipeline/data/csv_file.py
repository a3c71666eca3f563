"""Reading a CSV of a user's."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """
    import pandas as pd  # here, as what merely lists data sets does without it

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
