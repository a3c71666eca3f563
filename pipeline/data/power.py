"""POWER: minutes of one household's electric power, six numbers each, as density estimators are compared on them.

Source: Hébrail & Bérard 2012, *Individual household electric power consumption*, UCI Machine Learning Repository, CC BY
4.0; prepared as in Papamakarios et al. 2017, *Masked autoregressive flow for density estimation*, appendix D.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.points import Rows
from pipeline.util.array_types import FloatArray
from pipeline.util.paths import data_folder

if TYPE_CHECKING:
    import pandas as pd

ORIGINAL = "household_power_consumption.txt"
PACKAGE, PACKAGED = "EnergyData", "data/householdpower.csv"
MEASURED = (
    *("Global_active_power", "Global_reactive_power", "Voltage", "Global_intensity"),
    *("Sub_metering_1", "Sub_metering_2", "Sub_metering_3"),
)
COLUMNS = ("active power", "voltage", "kitchen", "laundry", "heater", "minute of the day")
DAY = 1440
"""Minutes."""
ADDRESS = "https://archive.ics.uci.edu/dataset/235/individual+household+electric+power+consumption"
ORIGIN = f"UCI, CC BY 4.0: {ORIGINAL} of {ADDRESS} in the data folder, or pip install 'odenet-pipeline[power]'"


def find_power() -> Path | None:
    """The original file in the data folder, else the package's; None where there is neither."""
    original = data_folder() / ORIGINAL
    if original.is_file():
        return original
    package = importlib.util.find_spec(PACKAGE)  # which is not imported: it needs a removed module of setuptools
    packaged = Path(package.origin).parent / PACKAGED if package and package.origin else None
    return packaged if packaged and packaged.is_file() else None


def read_power() -> Rows:
    """The rows that were measured, in the published order, split and noise, standardised by those to train with.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = find_power()
    if path is None:
        raise DataError(
            f"power is not here: put {ORIGINAL} into {data_folder()} ({ADDRESS}), or install the extra "
            "with pip install 'odenet-pipeline[power]'"
        )
    try:
        measured = _read_original(path) if path.name == ORIGINAL else _read_packaged(path)
    except (ValueError, KeyError, OSError) as error:
        raise DataError(f"{path} is not the household's power consumption ({error}): get it from {ADDRESS}") from error
    return prepare_power(measured)


def _read_original(path: Path) -> FloatArray:
    """Rows of the seven measured numbers and the minute of the day; those without measurements, `?`, are left out."""
    import pandas as pd  # here, as the data sets are listed without it

    table = pd.read_csv(path, sep=";", na_values=["?"], usecols=["Time", *MEASURED], dtype={"Time": str})
    return _with_minutes(table.dropna(), table.dropna()["Time"])


def _read_packaged(path: Path) -> FloatArray:
    """The same of the package, whose gaps were filled with the values of the day before: they are left out again."""
    import pandas as pd

    table = pd.read_csv(path, usecols=["date_time", *MEASURED], dtype={"date_time": str})
    values = table[list(MEASURED)].to_numpy(np.float64)
    is_filled = np.zeros(len(values), bool)
    is_filled[DAY:] = (values[DAY:] == values[:-DAY]).all(1)
    kept = table[~is_filled]
    return _with_minutes(kept, kept["date_time"].str.slice(11))


def _with_minutes(table: "pd.DataFrame", times: "pd.Series[str]") -> FloatArray:
    minutes = times.str.slice(0, 2).astype(int) * 60 + times.str.slice(3, 5).astype(int)
    return np.column_stack([table[list(MEASURED)].to_numpy(np.float64), minutes.to_numpy(np.float64)])


def prepare_power(measured: FloatArray) -> Rows:
    """Papamakarios et al.'s preparation of rows of MEASURED and the minute, shape (n, 8).

    Shuffled by NumPy's generator of 2017 with seed 42; without reactive power and intensity; with uniform noise as wide
    as the meters' steps, but none on the minute; a tenth for test, a tenth of the rest for validation.
    """
    random = np.random.RandomState(42)
    rows = measured.copy()
    random.shuffle(rows)
    rows = np.delete(rows, [1, 3], axis=1)
    rows[:, 1:2] += 0.01 * random.rand(len(rows), 1)
    rows[:, 0:1] += 0.001 * random.rand(len(rows), 1)
    rows[:, 2:5] += random.rand(len(rows), 3)
    tests = len(rows) // 10
    validations = (len(rows) - tests) // 10
    known = rows[:-tests]
    train, validation, test = known[:-validations], known[-validations:], rows[-tests:]
    mean, deviation = known.mean(0), known.std(0)
    train, validation, test = ((part - mean) / deviation for part in (train, validation, test))
    return Rows(train, test, validation, columns=COLUMNS, is_published=True)
