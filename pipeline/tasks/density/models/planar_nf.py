"""A planar normalizing flow, of Rezende & Mohamed 2015."""

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.flows import Normal, PlanarFlow
from pipeline.tasks.density.config import FlowConfig

LAYERS = 64


@plugins.model("planar_nf", task="density")
def planar_nf(input_shape: tuple[int, ...], outputs: int, solver: SolverConfig, *, config: FlowConfig) -> nn.Module:  # noqa: ARG001
    """Layers that lead where their log-determinant is wanted: to the base for likelihoods, to the data for matching."""
    (dimension,) = input_shape
    leads = "to data" if config.objective == "matching" else "to base"
    return PlanarFlow(dimension, config.layers or LAYERS, leads=leads, base=Normal(dimension, config.base_sd))  # type: ignore[arg-type]
