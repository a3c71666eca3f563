"""GAS, of Papamakarios et al. 2017."""

from pipeline import plugins
from pipeline.data.points import Rows
from pipeline.data.published_tables import GAS, ORIGINS, read_gas, where


@plugins.data_set(
    "gas", task="density", summary="852174 + 94685 + 105206, 8 numbers", origin=ORIGINS[GAS], where=where(GAS)
)
def gas() -> Rows:
    """GAS."""
    return read_gas()
