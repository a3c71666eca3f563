"""The tables that density estimators are compared on, from their original files, prepared as published.

The files are put into the data folder by hand: nothing here downloads them. Each function's file is one of UCI's
repository, or of the archive that Papamakarios et al. keep of their prepared ones.

Source: Papamakarios et al. 2017, *Masked autoregressive flow for density estimation*, appendix D and its code.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.points import Rows
from pipeline.util.array_types import FloatArray
from pipeline.util.paths import data_folder

ARCHIVE = "https://zenodo.org/records/1161203"
UCI = "https://archive.ics.uci.edu/dataset"
MINIBOONE = "miniboone/data.npy"
HEPMASS_TRAIN, HEPMASS_TEST = "hepmass/1000_train.csv", "hepmass/1000_test.csv"
GAS = "gas/ethylene_CO.txt"
BSDS300 = "BSDS300/BSDS300.hdf5"
ORIGINS = {
    MINIBOONE: f"UCI, CC BY 4.0: {MINIBOONE} of {ARCHIVE} in the data folder",
    HEPMASS_TRAIN: f"UCI, CC BY 4.0: {HEPMASS_TRAIN} and 1000_test.csv of {UCI}/347 in the data folder",
    GAS: f"UCI, CC BY 4.0: {GAS} of {UCI}/322 in the data folder",
    BSDS300: f"Berkeley, for research that is not commercial: {BSDS300} of {ARCHIVE} in the data folder",
}
REPEATED = 5
"""Times that a column's lowest value may be there."""
CORRELATED = 0.98


def where(*files: str) -> Callable[[], Path | None]:
    """What tells where they lie: the first of them, None while one is missing."""

    def find() -> Path | None:
        paths = [data_folder() / file for file in files]
        return paths[0] if all(path.is_file() for path in paths) else None

    return find


def read_miniboone() -> Rows:
    """Events of a neutrino experiment, 43 numbers: the archive's rows without outliers and repeated columns."""
    rows = _read("miniboone", MINIBOONE, MINIBOONE, lambda path: np.load(path, allow_pickle=False).astype(np.float64))
    known, test = _without_last_tenth(rows)
    train, validation = _without_last_tenth(known)
    return _standardised(train, validation, test, by=known)


def read_hepmass() -> Rows:
    """Collisions that made a particle of mass 1000, 21 numbers."""
    train, test = (_read("hepmass", HEPMASS_TRAIN, file, _signal) for file in (HEPMASS_TRAIN, HEPMASS_TEST))
    test = test[:, : train.shape[1]]  # its file has a column more
    lowest = train.min(0)
    kept = (train == lowest).sum(0) <= REPEATED
    known = train
    train, validation = _without_last_tenth(known)
    return _standardised(train[:, kept], validation[:, kept], test[:, kept], by=known[:, kept])


def _signal(path: Path) -> FloatArray:
    import pandas as pd  # here, as the data sets are listed without it

    table = pd.read_csv(path, index_col=False)
    rows: FloatArray = table[table.iloc[:, 0] == 1].iloc[:, 1:].to_numpy(np.float64)
    return rows


def read_gas() -> Rows:
    """Readings of gas sensors, those of 16 that say something of their own, 8 numbers."""
    import pandas as pd

    table = pd.DataFrame(_read("gas", GAS, GAS, _sensors))
    while ((found := table.corr().to_numpy() > CORRELATED).sum(1) > 1).any():
        table = table.drop(columns=table.columns[int(np.argmax(found.sum(1) > 1))])
    rows = ((table - table.mean()) / table.std()).to_numpy()
    known, test = _without_last_tenth(rows)
    train, validation = _without_last_tenth(known)
    return Rows(train, test, validation, _numbered(train), is_published=True)


def _sensors(path: Path) -> FloatArray:
    """The columns behind time and the two concentrations."""
    import pandas as pd

    rows: FloatArray = pd.read_csv(path, sep=r"\s+", skiprows=1, header=None).to_numpy(np.float64)[:, 3:]
    return rows


def read_bsds300() -> Rows:
    """Patches of photographs, 63 numbers; as the archive has them."""
    parts = [
        _read("bsds300", BSDS300, BSDS300, partial(_of_hdf5, part=part)) for part in ("train", "test", "validation")
    ]
    return Rows(parts[0], parts[1], parts[2], _numbered(parts[0]), is_published=True)


def _of_hdf5(path: Path, part: str) -> FloatArray:
    import h5py

    with h5py.File(path) as file:
        rows: FloatArray = file[part][()].astype(np.float64)
    return rows


def _read(name: str, first: str, file: str, read: Callable[[Path], FloatArray]) -> FloatArray:
    path = data_folder() / file
    if not path.is_file():
        raise DataError(f"{name} is not here: there is no {file} in {data_folder()} ({ORIGINS[first]})")
    try:
        return read(path)
    except ImportError as error:
        raise DataError(f"{path} is read by h5py, which is not here: pip install h5py") from error
    except (ValueError, KeyError, IndexError, OSError, EOFError) as error:
        raise DataError(f"{path} is not what it should be ({error}): {ORIGINS[first]}") from error


def _without_last_tenth(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    last = max(1, len(rows) // 10)
    return rows[:-last], rows[-last:]


def _standardised(train: FloatArray, validation: FloatArray, test: FloatArray, by: FloatArray) -> Rows:
    mean, deviation = by.mean(0), by.std(0)
    train, validation, test = ((part - mean) / deviation for part in (train, validation, test))
    return Rows(train, test, validation, _numbered(train), is_published=True)


def _numbered(rows: FloatArray) -> tuple[str, ...]:
    return tuple(f"column {number}" for number in range(rows.shape[1]))
