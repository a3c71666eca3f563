"""Four rings, drawn without end."""

from pipeline import plugins
from pipeline.data.points import Endless
from pipeline.data.toy_densities import log_rings, sample_rings


@plugins.data_set("rings", task="density", summary="endless, 2 numbers", origin="drawn by the seed")
def rings() -> Endless:
    """Four rings."""
    return Endless(sample_rings, log_rings)
