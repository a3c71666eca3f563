"""Laboratory values of patients with primary biliary cirrhosis, at visits months to years apart.

Source: Therneau & Grambsch 2000, *Modeling Survival Data*; the copy of R's package survival, LGPL.
"""

import numpy as np

from pipeline import plugins
from pipeline.data.recorded_series import read_recorded, recorded_file
from pipeline.data.series_set import RecordedSeries, SeriesSet

LABORATORY = {
    "bili": "log bilirubin",
    "chol": "log cholesterol",
    "albumin": "log albumin",
    "alk.phos": "log alkaline phosphatase",
    "ast": "log aspartate aminotransferase",
    "platelet": "log platelets",
    "protime": "log prothrombin time",
}
DIED = 2


@plugins.data_set(
    "pbcseq",
    task="series",
    summary="312 series, 7 channels, 1 to 16 times",
    origin="Mayo Clinic, as R's package survival has it (LGPL); comes along",
    where=lambda: recorded_file("pbcseq"),
)
def read_pbcseq() -> SeriesSet:
    """Seven values, their logarithms as they are skewed, over the days since the registration; the label is death."""
    series = []
    for patient, visits in read_recorded("pbcseq").groupby("id"):
        values = np.log(visits[list(LABORATORY)].to_numpy(dtype=np.float64))
        died = int(visits["status"].iloc[0] == DIED)
        series.append(RecordedSeries(str(patient), visits["day"].to_numpy(dtype=np.float64), values, died))
    return SeriesSet(tuple(series), tuple(LABORATORY.values()), ("alive or transplanted", "died"), time="days")
