"""The original files of the PhysioNet/Computing in Cardiology Challenge 2012: 48 hours of stays in intensive care.

Source: Silva et al. 2012, *Predicting in-hospital mortality of ICU patients*; Open Data Commons Attribution licence.
"""

import csv
from pathlib import Path

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.series_set import RecordedSeries, SeriesSet
from pipeline.util.errors import brief
from pipeline.util.paths import data_folder

FOLDER = "physionet2012"
SETS = ("a", "b", "c")
CONSTANT = ("RecordID", "Age", "Gender", "Height", "ICUType")
"""What a file says once of a stay; left out, as Rubanova, Chen & Duvenaud 2019 do."""
CHANNELS = (
    *("ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS"),
    *("Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP", "Na"),
    *("PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC"),
    *("Weight", "pH"),
)
ADDRESS = "physionet.org/content/challenge-2012"


def physionet_folder() -> Path | None:
    """Where the files lie; None where no set is there."""
    folder = data_folder() / FOLDER
    return folder if any((folder / f"set-{one}").is_dir() for one in SETS) else None


def read_physionet(folder: Path) -> SeriesSet:
    """All stays of the sets that are there, times in hours; the label is death in hospital.

    Several values of one channel in one minute become their mean.

    Raises:
        DataError: no set, or no outcomes, are there, or a file is damaged.
    """
    present = [one for one in SETS if (folder / f"set-{one}").is_dir()]
    if not present:
        raise DataError(
            f"physionet2012 is not in {folder}: put the folders set-a, set-b, set-c and the files Outcomes-a.txt, … "
            f"of {ADDRESS} there"
        )
    series: list[RecordedSeries] = []
    for one in present:
        deaths = _outcomes(folder / f"Outcomes-{one}.txt")
        for path in sorted((folder / f"set-{one}").glob("*.txt")):
            if (stay := _read_stay(path, deaths.get(path.stem))) is not None:
                series.append(stay)
    return SeriesSet(tuple(series), CHANNELS, ("survived", "died"), time="hours", scaling="range")


def _outcomes(path: Path) -> dict[str, int]:
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if not {"RecordID", "In-hospital_death"} <= set(reader.fieldnames or ()):
                raise ValueError("it has no columns RecordID and In-hospital_death")
            rows = list(reader)
        return {row["RecordID"]: int(row["In-hospital_death"]) for row in rows}
    except FileNotFoundError:
        raise DataError(f"{path} is missing: put it there, from {ADDRESS}") from None
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no file of outcomes ({error!r}): get it again from {ADDRESS}") from error


def _read_stay(path: Path, died: int | None) -> RecordedSeries | None:
    """One stay; None where nothing was measured in it."""
    found: dict[float, dict[str, list[float]]] = {}
    with path.open(newline="", errors="replace") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if number == 1 or len(row) != 3 or row[1] in CONSTANT or row[1] not in CHANNELS:
                continue
            try:
                hours, minutes = row[0].split(":")
                time, value = int(hours) + int(minutes) / 60, float(row[2])
            except ValueError as error:
                raise DataError(f"{path}, row {number}: {brief(','.join(row))} is no time and number") from error
            if row[1] != "Weight" or value > 0:  # -1 says that it is not known
                found.setdefault(time, {}).setdefault(row[1], []).append(value)
    if not found:
        return None
    times = sorted(found)
    values = np.array([[float(np.mean(found[t][c])) if c in found[t] else np.nan for c in CHANNELS] for t in times])
    return RecordedSeries(path.stem, np.array(times), values, died)
