"""A pinwheel, drawn without end."""

from pipeline import plugins
from pipeline.data.points import Endless
from pipeline.data.toy_densities import sample_pinwheel


@plugins.data_set("pinwheel", task="density", summary="endless, 2 numbers", origin="drawn by the seed")
def pinwheel() -> Endless:
    """A pinwheel."""
    return Endless(sample_pinwheel)
