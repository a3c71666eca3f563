"""Runs of one seed as one value: to repeat a seed tells nothing of others."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import isfinite
from statistics import fmean, mean, stdev
from typing import Any


def seed_in(config: Mapping[str, Any]) -> Any:
    """The seed of a configuration; what another program calls so may be a list, which is told as text."""
    seed = config.get("seed")
    return seed if isinstance(seed, int | float | str | None) else str(seed)


def seed_key(run_id: Hashable, seed: int | None) -> Hashable:
    """What runs of one seed have in common; a run without a seed counts for itself."""
    return ("run", run_id) if seed is None else seed


def seed_means(values: Iterable[tuple[Hashable, float]]) -> list[float]:
    """The mean of each seed, in the order of their first values, of pairs of a seed's key and a value."""
    of_seeds: dict[Hashable, list[float]] = {}
    for key, value in values:
        of_seeds.setdefault(key, []).append(value)
    return [fmean(of_seed) for of_seed in of_seeds.values()]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and the standard deviation of the sample where there are two or more values, all of them finite.

    Of equal values exactly these and 0, which sums of rounded numbers would not come to.
    """
    if not all(map(isfinite, values)):
        return sum(values) / len(values), None
    return mean(values), stdev(values) if len(values) > 1 else None
