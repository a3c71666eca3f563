"""BSDS300, of Papamakarios et al. 2017."""

from pipeline import plugins
from pipeline.data.points import Rows
from pipeline.data.published_tables import BSDS300, ORIGINS, read_bsds300, where


@plugins.data_set(
    "bsds300",
    task="density",
    summary="1000000 + 50000 + 250000, 63 numbers",
    origin=ORIGINS[BSDS300],
    where=where(BSDS300),
)
def bsds300() -> Rows:
    """BSDS300."""
    return read_bsds300()
