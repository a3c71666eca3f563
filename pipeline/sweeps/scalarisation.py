"""Several objectives, and constraints, as the one number that Hyperopt's TPE minimises.

Source: Knowles 2006, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive multiobjective
optimization problems": weights are drawn anew for every proposal, and by them all values so far become one number each,
their augmented Chebyshev norm. Where ParEGO scales each objective by its range, here ranks are taken: beside a loss of
1e6 the others would all look alike. Trials that violate constraints come behind all others, after Deb 2000, "An
efficient constraint handling method for genetic algorithms".
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from pipeline.util.array_types import FloatArray

AUGMENTATION = 0.05
"""ParEGO's share of the weighted sum, by which of two trials with one maximum the better one is preferred."""
VIOLATING = 1e100
"""What a trial that violates a constraint counts as, and more: above all values, and below what a failure counts as."""


def violating(excess: float) -> float:
    """The loss of a trial that misses its constraints by so much, in sum."""
    return VIOLATING * (1 + min(excess, VIOLATING))


def draw_weights(objectives: int, seed: int, number: int) -> FloatArray:
    """Weights of the objectives for the proposal of this number; evenly distributed, with the sum 1."""
    return np.random.default_rng([seed, number]).dirichlet(np.ones(objectives))


def scalarise(losses: Sequence[Sequence[float]], weights: FloatArray) -> list[float]:
    """One number a trial, the lower the better.

    Args:
        losses: of each trial the loss of each objective.
    """
    if not losses:
        return []
    better = (rankdata(np.array(losses), method="min", axis=0) - 1) / max(1, len(losses) - 1)
    weighted = better * weights
    scalars: list[float] = (weighted.max(axis=1) + AUGMENTATION * weighted.sum(axis=1)).tolist()
    return scalars
