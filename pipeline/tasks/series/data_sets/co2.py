"""Atmospheric CO2 at Mauna Loa.

Source: Keeling & Whorf 2004; the copy of statsmodels, in the public domain.
"""

import numpy as np

from pipeline import plugins
from pipeline.data.errors import DataError
from pipeline.data.recorded_series import read_recorded, recorded_file
from pipeline.data.series_set import RecordedSeries, SeriesSet


@plugins.data_set(
    "co2",
    task="series",
    summary="43 series, 1 channel, 52 or 53 times",
    origin="Mauna Loa 1958 to 2001, as statsmodels has it (public domain); comes along",
    where=lambda: recorded_file("co2"),
)
def read_co2(*, years: int = 1) -> SeriesSet:
    """Weekly means in parts per million with their gaps, `years` calendar years a series, from 1959 on.

    Raises:
        DataError: no such number of years.
    """
    import pandas as pd  # here, as the data sets are listed without it

    table = read_recorded("co2", parse_dates=["date"])
    table = table[table["date"] >= "1959-01-01"]
    of_year = table["date"].dt.year - 1959
    if not 1 <= years <= of_year.nunique() // 3:
        raise DataError(f"data.options.years is {years}: give 1 to {of_year.nunique() // 3} years a series")
    series = []
    for number, weeks in table.groupby(of_year // years):
        first = pd.Timestamp(year=1959 + int(str(number)) * years, month=1, day=1)
        days = (weeks["date"] - first).dt.days.to_numpy(dtype=np.float64)
        if of_year[weeks.index].nunique() == years:
            series.append(
                RecordedSeries(str(first.year), np.asarray(days, np.float64), weeks[["co2"]].to_numpy(dtype=np.float64))
            )
    return SeriesSet(tuple(series), ("CO2 (ppm)",), time="days")
