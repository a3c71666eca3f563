"""Two models on the same series: is one of them nearer, and by how much?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.tasks.paired_t import compare_paired, read_arrays
from pipeline.tasks.pairing import PairedTest
from pipeline.util.array_types import FloatArray


@dataclass(frozen=True, eq=False)
class SeriesErrors:
    """The root mean squared error of each series of a test split, shape (n,)."""

    names: Any
    rmse: FloatArray
    scored: Any
    """Values that the errors are of."""
    counts: Any
    """Values that the likelihoods are of, by which earlier versions, which stored no `scored`, told errors apart."""
    scale: Any
    """What each channel's values were divided by. None, as the others may be, where an earlier version stored none."""

    def are_of(self, other: "SeriesErrors") -> bool:
        """Whether the errors are of the same values in the same unit."""
        knows = self.scored is not None and other.scored is not None
        values = (self.scored, other.scored) if knows else (self.counts, other.counts)
        optional = [values, (self.scale, other.scale)]
        return np.array_equal(self.names, other.names) and all(
            np.array_equal(first, second) for first, second in optional if first is not None and second is not None
        )


def _read(content: bytes) -> SeriesErrors:
    names, rmse = read_arrays(content, "names", "rmse")
    return SeriesErrors(names, rmse, *(_optional(content, name) for name in ("scored", "counts", "scale")))


def _optional(content: bytes, name: str) -> Any:
    try:
        return read_arrays(content, name)[0]
    except ValueError:
        return None


PAIRED_TEST = PairedTest(
    artifact="predictions.npz",
    read=_read,
    have_same_items=SeriesErrors.are_of,
    compare=lambda first, second: compare_paired(first.rmse, second.rmse),
    items="series",
    title="Differences in RMSE",
    headings=("difference", "95 % interval", "1st nearer"),
    methods="Mean over the test series of the RMSE of the 1st run less that of the 2nd: below zero the 1st is better. "
    "The interval and p are those of Student's t for paired differences; Holm: adjusted for all pairs here. 1st "
    "nearer: test series of which the 1st run has the smaller RMSE. Values up to a series' first observation count, "
    "which a recurrent model says from nothing; test.rmse_after_first is without them. The test is of two trained "
    "models, not of two architectures: how those vary with the seed is in the results.",
)
