"""MINIBOONE, of Papamakarios et al. 2017."""

from pipeline import plugins
from pipeline.data.points import Rows
from pipeline.data.published_tables import MINIBOONE, ORIGINS, read_miniboone, where


@plugins.data_set(
    "miniboone",
    task="density",
    summary="29556 + 3284 + 3648, 43 numbers",
    origin=ORIGINS[MINIBOONE],
    where=where(MINIBOONE),
)
def miniboone() -> Rows:
    """MINIBOONE."""
    return read_miniboone()
