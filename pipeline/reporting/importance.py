"""How much settings matter for a result over many runs: permutation importance of a random forest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.reporting.words import counted

FEWEST = 20
"""Runs below which nothing is told."""
MOST = 400
"""Runs that are looked at, drawn at random of more: their number would change little but the time that it takes."""
SAMPLES = 20
TREES = 30
PERMUTATIONS = 5
LEAST_EXPLAINED = 0.05
"""Share of the variance among runs outside its sample; a forest that explains less of it tells nothing."""

METHOD = (
    "Permutation importance (Breiman 2001): a random forest learns the ranks of the results in a bootstrap sample of "
    "the runs. Shown is half of what its mean squared error on the runs outside the sample grows by when the values of "
    "one setting are exchanged between them, as a share of the variance: of independent settings with additive effects "
    "the share of the variance that is due to each (Gregorutti et al. 2017). "
    f"Mean of {SAMPLES} samples, and their middle 90 %. Settings that vary together share their importance."
)


@dataclass(frozen=True)
class SettingImportance:
    """The share of the variance that is due to a setting: mean and middle 90 % of the samples."""

    name: str
    mean: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether it is told from no importance at all."""
        return self.low > 0


@dataclass(frozen=True)
class Importance:
    """Of all settings that vary; none where nothing can be told."""

    runs: int
    settings: tuple[SettingImportance, ...]
    """The most important first."""
    says: str
    """How far it is to be trusted, or why there is none, in a sentence."""


def measure_importance(settings: Sequence[Mapping[str, Any]], results: Sequence[float]) -> Importance:
    """How much each setting matters for the result. The same runs give the same numbers.

    Args:
        settings: of each run, name -> value: a number, a text, a truth value, a list; one that a run lacks, or None, is
            a value of its own.
        results: of each run; one that is no number is left out.
    """
    kept = [place for place, result in enumerate(results) if not np.isnan(result)]
    seen = counted(len(kept), "run")
    if len(kept) > MOST:
        seen = f"{MOST} of {seen}"
        kept = sorted(np.random.default_rng(0).choice(kept, MOST, replace=False).tolist())
    rows = [settings[place] for place in kept]
    columns = {name: _codes([row.get(name) for row in rows]) for row in rows for name in row}
    columns = {name: codes for name, codes in columns.items() if len(set(codes)) > 1}
    if not columns:
        return Importance(len(kept), (), "No setting varies among these runs.")
    if len(kept) < FEWEST:
        says = f"{seen} with a result: too few to tell which setting matters ({FEWEST} at least)."
        return Importance(len(kept), (), says)
    if len({results[place] for place in kept}) == 1:
        return Importance(len(kept), (), f"{seen} with the same result: no setting matters for it.")
    explained, shares = _shares(np.column_stack(list(columns.values())), [results[place] for place in kept])
    if explained < LEAST_EXPLAINED:
        return Importance(
            len(kept),
            (),
            f"{seen} do not tell which setting matters: a random forest of some of them "
            f"explains {max(explained, 0):.0%} of the variance of the others.",
        )
    found = [
        SettingImportance(name, float(share.mean()), *map(float, np.quantile(share, (0.05, 0.95))))
        for name, share in zip(columns, shares.T, strict=True)
    ]
    return Importance(
        len(kept),
        tuple(sorted(found, key=lambda one: -one.mean)),
        f"{seen}; the forest explains {explained:.0%} of the variance of those it has not seen.",
    )


def _shares(x: NDArray[np.float64], results: Sequence[float]) -> tuple[float, NDArray[np.float64]]:
    """The mean explained share of the variance, and that which is due to each setting, of shape (samples, settings).

    Source: Gregorutti, Michel & Saint-Pierre 2017, Correlation and variable importance in random forests, section 2.
    """
    from scipy.stats import rankdata  # these take a second to import, which lists do not need
    from sklearn.ensemble import RandomForestRegressor

    y = rankdata(results)
    explained, shares = [], []
    for seed in range(SAMPLES):
        random = np.random.default_rng(seed)
        inside = random.integers(0, len(y), len(y))
        outside = np.setdiff1d(np.arange(len(y)), inside)
        forest = RandomForestRegressor(TREES, random_state=seed).fit(x[inside], y[inside])
        error = float(np.mean((forest.predict(x[outside]) - y[outside]) ** 2))
        permuted = _permuted_errors(forest, x[outside], y[outside], random)
        explained.append(1 - error / y.var())
        shares.append((permuted - error) / (2 * y.var()))
    return float(np.mean(explained)), np.array(shares)


def _permuted_errors(
    forest: Any, x: NDArray[np.float64], y: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """The forest's mean squared error with the values of each setting permuted, a mean of some permutations.

    Of all of them at once, as a forest takes long to begin and little for a row more.
    """
    runs, settings = x.shape
    copies = np.tile(x, (PERMUTATIONS, settings, 1, 1))
    for of_settings in copies:
        for setting, copy in enumerate(of_settings):
            copy[:, setting] = random.permutation(copy[:, setting])
    predicted = forest.predict(copies.reshape(-1, settings)).reshape(PERMUTATIONS, settings, runs)
    errors: NDArray[np.float64] = ((predicted - y) ** 2).mean(axis=(0, 2))
    return errors


def _codes(values: Sequence[Any]) -> NDArray[np.float64]:
    """Numbers for a tree to split by: the places of numbers and texts in their order; what is missing below all others.

    Not the numbers themselves, which trees look at in single precision: some are too large for it, others too near.
    """
    values = [str(value) if isinstance(value, list) else value for value in values]
    there = {value for value in values if value is not None and value == value}
    key: Any = float if all(isinstance(value, int | float) for value in there) else str
    places = {found: place for place, found in enumerate(sorted(map(key, there)))}
    return np.array([places[key(value)] if value in there else -1.0 for value in values], np.float64)
