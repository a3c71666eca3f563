"""A neural spline flow, of Durkan et al. 2019."""

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.flows import SplineFlow
from pipeline.tasks.density.config import FlowConfig

LAYERS, HIDDEN = 5, 2


@plugins.model("spline_nf", task="density")
def spline_nf(input_shape: tuple[int, ...], outputs: int, solver: SolverConfig, *, config: FlowConfig) -> nn.Module:  # noqa: ARG001
    """Coupling layers of splines, by zuko."""
    (dimension,) = input_shape
    return SplineFlow(dimension, config.layers or LAYERS, config.width, config.hidden or HIDDEN)
