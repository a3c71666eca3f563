"""Two densities on the same points: does one give them the higher likelihood, and by how much?"""

import io
from dataclasses import dataclass
from math import sqrt
from zipfile import BadZipFile

import numpy as np
from scipy.stats import t

from pipeline.tasks.pairing import PairedTest
from pipeline.util.array_types import FloatArray

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class LogProbs:
    """What a density said of its test points."""

    values: FloatArray
    """Log-densities in nats, shape (n,)."""
    points: str
    """The points' sha256."""


@dataclass(frozen=True)
class PairedT:
    """The first density against the second."""

    points: int
    difference: float
    """Mean NLL of the first less that of the second, in nats."""
    lower: float
    """The difference's 95 % confidence interval."""
    upper: float
    likelier: float
    """The share of the points that the first one gives the higher likelihood."""
    p_value: float
    """Of the means being equal."""

    def cells(self) -> tuple[str, ...]:
        """Its row of a table, but for the p-value."""
        interval = f"{_nats(self.lower)} to {_nats(self.upper)}"
        return _nats(self.difference), interval, f"{self.likelier:.1%}"


def read_log_probs(content: bytes) -> LogProbs:
    """The log-densities in an artifact `log_probs.npz`.

    Raises:
        ValueError: it holds none.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return LogProbs(stored["log_prob"], str(stored["points_sha256"]))
    except (KeyError, BadZipFile, OSError) as error:
        raise ValueError("no log-densities") from error


def compare_paired(first: FloatArray, second: FloatArray) -> PairedT:
    """Student's paired t test and interval.

    Args:
        first, second: log-densities of the same points, shape (n,), n at least 2.
    """
    differences = second - first  # of the negative logarithms
    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / sqrt(n)
    half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    p_value = float(2 * t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    return PairedT(n, mean, mean - half, mean + half, float((differences < 0).mean()), p_value)


def _nats(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−") if value else "0.0000"


PAIRED_TEST = PairedTest(
    artifact="log_probs.npz",
    read=read_log_probs,
    have_same_items=lambda first, second: first.points == second.points,
    compare=lambda first, second: compare_paired(first.values, second.values),
    items="points",
    title="Differences in NLL",
    headings=("difference (nats)", "95 % interval", "1st likelier"),
    methods="Difference of the mean negative log-likelihood, 1st run less 2nd, in nats: below zero the 1st is better. "
    "The interval and p are those of Student's t for paired differences, over the test points; Holm: adjusted for all "
    "pairs here. 1st likelier: test points to which the 1st run gives the higher density. The test is of two trained "
    "densities, not of two architectures: how those vary with the seed is in the results. A difference below the "
    "shifts of the two says nothing.",
)
