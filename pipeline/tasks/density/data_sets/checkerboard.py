"""A checkerboard, drawn without end."""

from pipeline import plugins
from pipeline.data.points import Endless
from pipeline.data.toy_densities import sample_checkerboard


@plugins.data_set("checkerboard", task="density", summary="endless, 2 numbers", origin="drawn by the seed")
def checkerboard() -> Endless:
    """A checkerboard."""
    return Endless(sample_checkerboard)
