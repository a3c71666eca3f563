"""Two modes on a line: for density matching in one dimension."""

from pipeline import plugins
from pipeline.data.points import Target
from pipeline.data.target_densities import LINE, log_two_modes


@plugins.data_set("two_modes", task="density", summary="a density, 1 number", origin="a formula")
def two_modes() -> Target:
    """Two modes."""
    return Target(log_two_modes, LINE)
