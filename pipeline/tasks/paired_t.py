"""Two models on the same test items, each with an error of every item: Student's paired t test."""

import io
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any
from zipfile import BadZipFile

import numpy as np
from scipy.stats import t

from pipeline.util.array_types import FloatArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedT:
    """The first model against the second."""

    items: int
    difference: float
    """Mean error of the first less that of the second."""
    lower: float
    """The difference's 95 % confidence interval."""
    upper: float
    lower_errors: float
    """The share of the items of which the first has the lower error."""
    p_value: float
    """Of the means being equal."""

    def cells(self) -> tuple[str, ...]:
        """Its row of a table, but for the p-value."""
        interval = f"{_signed(self.lower)} to {_signed(self.upper)}"
        return _signed(self.difference), interval, f"{self.lower_errors:.1%}"


def compare_paired(first: FloatArray, second: FloatArray) -> PairedT:
    """Student's paired t test and interval.

    Args:
        first, second: errors of the same items, shape (n,). Of one item the interval has no width, and p is 1; so it is
            where an error is not finite.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / sqrt(n) if n > 1 else 0.0
    half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error if error > 0 else 0.0
    is_untested = mean == 0 or n == 1 or not isfinite(mean)
    p_value = float(2 * t.sf(abs(mean) / error, n - 1)) if error > 0 else float(is_untested)
    return PairedT(n, mean, mean - half, mean + half, float((differences < 0).mean()), p_value)


def read_arrays(content: bytes, *names: str) -> tuple[Any, ...]:
    """The named arrays of an artifact `.npz`.

    Raises:
        ValueError: it has not all of them.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return tuple(stored[name] for name in names)
    except (KeyError, ValueError, BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"no {' and '.join(names)}") from error


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−") if value else "0.0000"
