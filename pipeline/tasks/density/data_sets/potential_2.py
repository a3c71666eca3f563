"""The potential U2 of Rezende & Mohamed 2015, table 1: for density matching."""

from pipeline import plugins
from pipeline.data.points import Target
from pipeline.data.target_densities import BOX, log_potential_2


@plugins.data_set("potential_2", task="density", summary="a density, 2 numbers", origin="a formula")
def potential_2() -> Target:
    """U2."""
    return Target(log_potential_2, BOX)
