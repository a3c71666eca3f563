"""Two densities on the same points: does one give them the higher likelihood, and by how much?"""

from dataclasses import dataclass

from pipeline.tasks.paired_t import compare_paired, read_arrays
from pipeline.tasks.pairing import PairedTest
from pipeline.util.array_types import FloatArray


@dataclass(frozen=True, eq=False)
class PointErrors:
    """What a density said of its test points."""

    nll: FloatArray
    """Negative log-densities in nats, shape (n,)."""
    points: str
    """The points' sha256."""


def read_point_errors(content: bytes) -> PointErrors:
    """What an artifact `log_probs.npz` says.

    Raises:
        ValueError: it holds nothing of it.
    """
    log_prob, points = read_arrays(content, "log_prob", "points_sha256")
    return PointErrors(-log_prob, str(points))


PAIRED_TEST = PairedTest(
    artifact="log_probs.npz",
    read=read_point_errors,
    have_same_items=lambda first, second: first.points == second.points,
    compare=lambda first, second: compare_paired(first.nll, second.nll),
    items="points",
    title="Differences in NLL",
    headings=("difference (nats)", "95 % interval", "1st likelier"),
    methods="Difference of the mean negative log-likelihood, 1st run less 2nd, in nats: below zero the 1st is better. "
    "The interval and p are those of Student's t for paired differences, over the test points; Holm: adjusted for all "
    "pairs here. 1st likelier: test points to which the 1st run gives the higher density. The test is of two trained "
    "densities, not of two architectures: how those vary with the seed is in the results. A difference below the "
    "shifts of the two says nothing.",
)
