"""Two spirals, drawn without end."""

from pipeline import plugins
from pipeline.data.points import Endless
from pipeline.data.toy_densities import sample_spirals


@plugins.data_set("spirals", task="density", summary="endless, 2 numbers", origin="drawn by the seed")
def spirals() -> Endless:
    """Two spirals."""
    return Endless(sample_spirals)
