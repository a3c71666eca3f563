"""(x, y) to (-x, -stretch y): half a turn, which a constant field makes, or one with a stretch, which none makes.

The solution of dz/dt = f(z) through a point that comes back to itself after two such maps is closed; the points (x, 0)
do. With a stretch other than 1 the points (0, y) would have to cross these closed curves. Where f depends on t, the
field may turn first and stretch then.
"""

import numpy as np

from pipeline import plugins
from pipeline.tasks.trajectories.points import Arrays
from pipeline.util.errors import InvalidInput

LARGEST = 1e6


@plugins.data_set(
    "reflection2d", task="trajectories", summary="1000 + 500 points of the plane, to their opposites", origin="computed"
)
def reflection2d(*, stretch: float = 1.0) -> Arrays:
    """Points drawn uniformly from the disc of radius 1.

    Raises:
        InvalidInput: the stretch is not above 0, or too large for float32.
    """
    if not 0 < stretch <= LARGEST:
        raise InvalidInput(f"data.options.stretch must be above 0 and at most {LARGEST:g}, not {stretch:g}")
    generator = np.random.default_rng(0)
    angles, radii = generator.uniform(0, 2 * np.pi, 1500), np.sqrt(generator.uniform(0, 1, 1500))
    points = (radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)
    targets = points * np.array([-1, -stretch], np.float32)
    return {"x_train": points[:1000], "y_train": targets[:1000], "x_test": points[1000:], "y_test": targets[1000:]}
