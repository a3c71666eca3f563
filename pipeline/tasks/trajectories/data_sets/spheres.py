"""-1 in a ball and 1 in the shell around it: continuous trajectories cannot take the ball out of the shell.

Source: Dupont et al. 2019, section 3.2, with the radii and numbers of points of its notebook.
"""

import numpy as np

from pipeline import plugins
from pipeline.tasks.trajectories.points import Arrays, FloatArray
from pipeline.util.errors import InvalidInput

INNER_RADIUS = 0.5
SHELL = (1.0, 1.5)
MOST = 1_000_000
"""Points of each kind."""


@plugins.data_set("spheres", task="trajectories", summary="3000 + 1500 points in a ball and a shell", origin="computed")
def spheres(*, dimension: int = 2, inner: int = 1000, outer: int = 2000) -> Arrays:
    """Points whose radius is uniform, half as many of each kind to test with.

    Raises:
        InvalidInput: fewer than one dimension or point, or more than a computer holds.
    """
    for name, value, most in (("dimension", dimension, 10_000), ("inner", inner, MOST), ("outer", outer, MOST)):
        if not 1 <= value <= most:
            raise InvalidInput(f"data.options.{name} must be from 1 to {most:,}, not {value:,}")
    generator = np.random.default_rng(0)
    x_train, y_train = _points(generator, dimension, inner, outer)
    x_test, y_test = _points(generator, dimension, -(-inner // 2), -(-outer // 2))
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _points(generator: np.random.Generator, dimension: int, inner: int, outer: int) -> tuple[FloatArray, FloatArray]:
    directions = generator.standard_normal((inner + outer, dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = np.concatenate([generator.uniform(0, INNER_RADIUS, inner), generator.uniform(*SHELL, outer)])
    values = np.concatenate([np.full(inner, -1.0), np.full(outer, 1.0)])
    return (directions * radii[:, None]).astype(np.float32), values.astype(np.float32)
