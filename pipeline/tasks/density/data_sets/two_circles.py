"""Two circles, drawn without end."""

from pipeline import plugins
from pipeline.data.points import Endless
from pipeline.data.toy_densities import log_two_circles, sample_two_circles


@plugins.data_set("two_circles", task="density", summary="endless, 2 numbers", origin="drawn by the seed")
def two_circles() -> Endless:
    """Two circles."""
    return Endless(sample_two_circles, log_two_circles)
