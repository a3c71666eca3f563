"""Two moons, drawn without end."""

from pipeline import plugins
from pipeline.data.points import Endless
from pipeline.data.toy_densities import log_two_moons, sample_two_moons


@plugins.data_set("two_moons", task="density", summary="endless, 2 numbers", origin="drawn by the seed")
def two_moons() -> Endless:
    """Two moons."""
    return Endless(sample_two_moons, log_two_moons)
