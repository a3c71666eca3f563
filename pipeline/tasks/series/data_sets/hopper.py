"""MuJoCo's hopper that falls to the ground.

Source: Rubanova, Chen & Duvenaud 2019, section 4.2; Tassa et al. 2018, *DeepMind Control Suite*, for its model.
"""

import numpy as np

from pipeline import plugins
from pipeline.data.hopper import CHANNELS, POINTS, SECONDS, hopper_file, load_hopper
from pipeline.data.series_set import RecordedSeries, SeriesSet

TRAJECTORIES = 10_000


@plugins.data_set(
    "hopper",
    task="series",
    summary="10,000 series, 14 channels, 200 times each",
    origin="simulated by MuJoCo at its first use, about a minute; pip install 'odenet-pipeline[hopper]'",
    where=lambda: hopper_file(TRAJECTORIES) if hopper_file(TRAJECTORIES).is_file() else None,
)
def simulate_hopper(*, count: int = TRAJECTORIES) -> SeriesSet:
    """Positions and speeds of seven joints, 200 times in a second."""
    times = SECONDS * np.arange(POINTS)
    states = load_hopper(count)
    series = tuple(RecordedSeries(str(k), times, one.astype(np.float64)) for k, one in enumerate(states))
    return SeriesSet(series, CHANNELS, time="seconds", scaling="range")
