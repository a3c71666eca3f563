"""Several objectives, and constraints, as the one order by which Hyperopt's TPE ranks trials.

Source: Deb, Pratap, Agarwal & Meyarivan 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II": levels of
non-domination, within a level the crowding distance, and what violates constraints behind all others. To split by such
levels what TPE models is the way of Ozaki et al. 2020, "Multiobjective tree-structured Parzen estimator for
computationally expensive optimization problems".
"""

from collections.abc import Sequence

import numpy as np

from pipeline.util.array_types import FloatArray, IntArray

VIOLATING = 1e100
"""What a trial that violates a constraint counts as, and more: above all values, and below what a failure counts as."""


def violating(excess: float) -> float:
    """The loss of a trial that misses its constraints by so much, in sum."""
    return VIOLATING * (1 + min(excess, VIOLATING))


def crowded_order(losses: Sequence[Sequence[float]]) -> list[float]:
    """One number a trial, the lower the better: its level, and within it the less the lonelier it is.

    Args:
        losses: of each trial the loss of each objective.
    """
    values, levels = np.array(losses, dtype=float), dominance_levels(losses)
    distances = np.zeros(len(values))
    for level in np.unique(levels):
        members = np.flatnonzero(levels == level)
        distances[members] = _crowding_distances(values[members])
    order: list[float] = (levels + 0.5 / (1 + distances)).tolist()
    return order


def dominance_levels(losses: Sequence[Sequence[float]]) -> IntArray:
    """0 for what nothing dominates, 1 for what nothing else dominates, …

    One dominates another that is nowhere better and somewhere worse, so that equal ones are of one level.
    """
    if not losses:
        return np.zeros(0, dtype=int)
    values = np.array(losses, dtype=float)
    one, other = values[:, None], values[None, :]
    dominates = np.asarray((one <= other).all(-1) & (one < other).any(-1))
    dominators, levels, level = dominates.sum(0), np.full(len(values), -1), 0
    while (levels < 0).any():
        front = (dominators == 0) & (levels < 0)
        levels[front] = level
        dominators = dominators - dominates[front].sum(0)
        level += 1
    return levels


def _crowding_distances(values: FloatArray) -> FloatArray:
    """Of each trial of a level how far its neighbours are from each other; endless at the ends."""
    distances = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        if extent > 0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return distances
