"""Sines of different frequencies at irregular times.

Source: after Rubanova, Chen & Duvenaud 2019, section 4.1, which does not say the frequencies.
"""

from math import pi

import numpy as np

from pipeline import plugins
from pipeline.data.series_set import RecordedSeries, SeriesSet

SEED = 1907
TIMES = 100
SPAN = 5.0
GRID = 500
"""Places, equally far apart over the span, that times are drawn from."""


@plugins.data_set(
    "periodic",
    task="series",
    summary="1,000 series, 1 channel, 100 times each",
    origin="made by its formula (after Rubanova, Chen & Duvenaud 2019, section 4.1)",
)
def make_periodic(*, count: int = 1000) -> SeriesSet:
    """Of amplitude 1, frequency from 0.2 to 0.6 and any phase, without noise, at 100 times of its own in [0, 5]."""
    generator = np.random.default_rng(SEED)
    series = []
    for k in range(count):
        times = SPAN / GRID * np.sort(generator.choice(GRID + 1, TIMES, replace=False))
        frequency, phase = generator.uniform(0.2, 0.6), generator.uniform(0, 2 * pi)
        truth = np.sin(2 * pi * frequency * times + phase)[:, None]
        series.append(RecordedSeries(str(k), times, truth, None, truth))
    return SeriesSet(tuple(series), ("x",), scaling="none", noise=0.1)
