"""The recorded series that come along, as tables; `recorded/README.md` says where they are from."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).with_name("recorded")


def recorded_file(name: str) -> Path:
    """Where the table lies."""
    return FOLDER / f"{name}.csv.gz"


def read_recorded(name: str, **options: object) -> "pd.DataFrame":
    """The table; options as those of `pandas.read_csv`."""
    import pandas as pd  # here, as the data sets are listed without it

    with gzip.open(recorded_file(name), "rt") as file:
        return pd.read_csv(file, **options)  # type: ignore[call-overload, no-any-return]
