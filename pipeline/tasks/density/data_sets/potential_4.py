"""The potential U4 of Rezende & Mohamed 2015, table 1: for density matching."""

from pipeline import plugins
from pipeline.data.points import Target
from pipeline.data.target_densities import BOX, log_potential_4


@plugins.data_set("potential_4", task="density", summary="a density, 2 numbers", origin="a formula")
def potential_4() -> Target:
    """U4."""
    return Target(log_potential_4, BOX)
