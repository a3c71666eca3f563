"""POWER, of Papamakarios et al. 2017."""

from pipeline import plugins
from pipeline.data.points import Rows
from pipeline.data.power import ORIGIN, find_power, read_power


@plugins.data_set(
    "power", task="density", summary="1659900 + 184433 + 204925, 6 numbers", origin=ORIGIN, where=find_power
)
def power() -> Rows:
    """POWER."""
    return read_power()
