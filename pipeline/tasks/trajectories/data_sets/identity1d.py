"""g(x) = x of the points ±1, which trajectories follow by staying: what `g1d` is compared with.

Source: Dupont et al. 2019, section 3.1.
"""

from pipeline import plugins
from pipeline.tasks.trajectories.points import Arrays, signs


@plugins.data_set("identity1d", task="trajectories", summary="500 + 200 points ±1, to themselves", origin="computed")
def identity1d() -> Arrays:
    """As many points at -1 as at 1."""
    x_train, x_test = signs(500), signs(200)
    return {"x_train": x_train, "y_train": x_train, "x_test": x_test, "y_test": x_test}
