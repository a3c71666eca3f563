"""Readings of a continuous glucose monitor, every five minutes, with gaps of up to a day.

Source: bokeh_sampledata; one person, 2010, given to the public domain.
"""

import numpy as np

from pipeline import plugins
from pipeline.data.recorded_series import read_recorded, recorded_file
from pipeline.data.series_set import RecordedSeries, SeriesSet

FEWEST = 48
"""Readings of a day that is kept: four hours of them."""


@plugins.data_set(
    "glucose",
    task="series",
    summary="200 series, 1 channel, 73 to 407 times",
    origin="one person's monitor, 2010, as bokeh_sampledata has it (public domain); comes along",
    where=lambda: recorded_file("glucose"),
)
def read_glucose() -> SeriesSet:
    """Days from midnight, in hours; days with fewer than 48 readings are left out."""
    table = read_recorded("glucose", parse_dates=["time"])
    table = table[
        table["time"] > table["time"].cummax().shift(fill_value=table["time"].iloc[0] - np.timedelta64(1, "m"))
    ]
    midnight = table["time"].dt.normalize()
    hours = (table["time"] - midnight).dt.total_seconds() / 3600
    series = [
        RecordedSeries(f"{day:%Y-%m-%d}", hours[rows.index].to_numpy(), rows[["glucose"]].to_numpy(dtype=np.float64))
        for day, rows in table.groupby(midnight)
        if len(rows) >= FEWEST
    ]
    return SeriesSet(tuple(series), ("glucose (mg/dl)",), time="hours")
