"""g(x) = -x of the points ±1: continuous trajectories on a line, which cannot cross, do not get there.

Source: Dupont et al. 2019, section 3.1.
"""

import numpy as np

from pipeline import plugins
from pipeline.tasks.trajectories.points import Arrays, signs


@plugins.data_set("g1d", task="trajectories", summary="500 + 200 points ±1, to their opposites", origin="computed")
def g1d() -> Arrays:
    """As many points at -1 as at 1."""
    x_train, x_test = signs(500), signs(200)
    return {"x_train": x_train, "y_train": np.negative(x_train), "x_test": x_test, "y_test": np.negative(x_test)}
