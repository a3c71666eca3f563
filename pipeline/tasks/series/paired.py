"""Two models on the same series: is one of them nearer, and by how much?"""

import io
from dataclasses import dataclass
from math import sqrt
from typing import Any
from zipfile import BadZipFile

import numpy as np
from scipy.stats import t as student

from pipeline.tasks.pairing import PairedTest
from pipeline.util.array_types import FloatArray

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class SeriesErrors:
    """The root mean squared error of each series of a test split, shape (n,)."""

    names: Any
    rmse: FloatArray


@dataclass(frozen=True)
class PairedErrors:
    """The errors of the first model less those of the second, series by series."""

    series: int
    difference: float
    """Mean over the series."""
    lower: float
    """The mean's 95 % confidence interval."""
    upper: float
    first_nearer: int
    """Series of which the first has the smaller error."""
    p_value: float
    """Of a mean of 0."""

    def cells(self) -> tuple[str, ...]:
        """Its row of a table, but for the p-value."""
        interval = f"{_signed(self.lower)} to {_signed(self.upper)}"
        return _signed(self.difference), interval, f"{self.first_nearer:,}", f"{self.series - self.first_nearer:,}"


def compare_paired(first: FloatArray, second: FloatArray) -> PairedErrors:
    """Student's paired t test of the errors of the same series, shape (n,) each."""
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n, mean = len(differences), float(np.mean(differences))
    spread = float(np.std(differences, ddof=1)) / sqrt(n) if n > 1 else 0.0
    if spread == 0:
        margin, p_value = 0.0, 1.0 if mean == 0 or n == 1 else 0.0
    else:
        margin = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * spread
        p_value = float(2 * student.sf(abs(mean) / spread, n - 1))
    return PairedErrors(n, mean, mean - margin, mean + margin, int((differences < 0).sum()), p_value)


def read_errors(content: bytes) -> SeriesErrors:
    """The errors in an artifact `predictions.npz`.

    Raises:
        ValueError: it holds none.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return SeriesErrors(stored["names"], stored["rmse"])
    except (KeyError, EOFError, BadZipFile) as error:
        raise ValueError("no predictions") from error


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


PAIRED_TEST = PairedTest(
    artifact="predictions.npz",
    read=read_errors,
    have_same_items=lambda first, second: np.array_equal(first.names, second.names),
    compare=lambda first, second: compare_paired(first.rmse, second.rmse),
    items="series",
    title="Differences in RMSE",
    headings=("difference", "95 % interval", "1st nearer", "2nd nearer"),
    methods="Mean over the test series of the RMSE of the 1st run less that of the 2nd, with Student's 95 % interval "
    "for paired values. Nearer: series of which this run has the smaller RMSE. p: Student's paired t test; Holm: "
    "adjusted for all pairs here. The test is of two trained models, not of two architectures: how those vary with the "
    "seed is in the results.",
)
