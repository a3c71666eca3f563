"""Spirals in the plane, of two directions.

Source: Chen et al. 2018, section 5.1; the formula is that of the authors' example in torchdiffeq, `latent_ode.py`,
whose spirals are half as long.
"""

from math import pi

import numpy as np

from pipeline import plugins
from pipeline.data.series_set import RecordedSeries, SeriesSet

SEED = 1806
STEP = 6 * pi / 500
"""Radians between two points, and the unit of time."""
POINTS = 100
"""Within the window, and as many beyond it."""
GROWTH, SHIFT = 0.3, 5.0
"""Radius for each radian, and how far the middles of the spirals are from the origin."""


@plugins.data_set(
    "spirals",
    task="series",
    summary="1,000 series, 2 channels, 200 times each",
    origin="made by its formula; half clockwise (Chen et al. 2018, section 5.1)",
)
def make_spirals(*, count: int = 1000) -> SeriesSet:
    """Half of them clockwise, each from an angle of its own, without noise; 100 points and the 100 after them.

    Counter-clockwise the radius is 0.3 φ, clockwise 15 / φ.
    """
    generator = np.random.default_rng(SEED)
    steps = STEP * np.arange(2 * POINTS)
    series = []
    for k in range(count):
        is_clockwise = bool(k % 2)
        angle = STEP * generator.uniform(POINTS, 500 - 2 * POINTS) + steps
        if is_clockwise:
            angle = 6 * pi + 1 - angle
        radius = GROWTH * 50 / angle if is_clockwise else GROWTH * angle
        middle = -SHIFT if is_clockwise else SHIFT
        truth = np.stack([radius * np.cos(angle) + middle, radius * np.sin(angle)], axis=1)
        series.append(RecordedSeries(str(k), steps, truth, int(is_clockwise), truth))
    return SeriesSet(
        tuple(series),
        ("x", "y"),
        ("counter-clockwise", "clockwise"),
        time="radians",
        window=STEP * (POINTS - 0.5),
        scaling="none",
        noise=0.1,
    )
