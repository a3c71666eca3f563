"""Eight normal distributions, drawn without end."""

from pipeline import plugins
from pipeline.data.points import Endless
from pipeline.data.toy_densities import log_eight_gaussians, sample_eight_gaussians


@plugins.data_set("eight_gaussians", task="density", summary="endless, 2 numbers", origin="drawn by the seed")
def eight_gaussians() -> Endless:
    """Eight normal distributions."""
    return Endless(sample_eight_gaussians, log_eight_gaussians)
