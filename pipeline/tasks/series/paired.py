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


PAIRED_TEST = PairedTest(
    artifact="predictions.npz",
    read=lambda content: SeriesErrors(*read_arrays(content, "names", "rmse")),
    have_same_items=lambda first, second: np.array_equal(first.names, second.names),
    compare=lambda first, second: compare_paired(first.rmse, second.rmse),
    items="series",
    title="Differences in RMSE",
    headings=("difference", "95 % interval", "1st nearer"),
    methods="Mean over the test series of the RMSE of the 1st run less that of the 2nd: below zero the 1st is better. "
    "The interval and p are those of Student's t for paired differences; Holm: adjusted for all pairs here. 1st "
    "nearer: test series of which the 1st run has the smaller RMSE. The test is of two trained models, not of two "
    "architectures: how those vary with the seed is in the results.",
)
