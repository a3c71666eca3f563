"""The potential U3 of Rezende & Mohamed 2015, table 1: for density matching."""

from pipeline import plugins
from pipeline.data.points import Target
from pipeline.data.target_densities import BOX, log_potential_3


@plugins.data_set("potential_3", task="density", summary="a density, 2 numbers", origin="a formula")
def potential_3() -> Target:
    """U3."""
    return Target(log_potential_3, BOX)
