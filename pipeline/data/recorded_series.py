"""The recorded series that come along, as tables; `recorded/README.md` says where they are from."""

import gzip
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).with_name("recorded")


def recorded_file(name: str) -> Path:
    """Where the table lies."""
    return FOLDER / f"{name}.csv.gz"


def read_recorded(name: str, **options: object) -> pd.DataFrame:
    """The table; options as those of `pandas.read_csv`."""
    with gzip.open(recorded_file(name), "rt") as file:
        return pd.read_csv(file, **options)  # type: ignore[call-overload, no-any-return]
