"""A normal distribution with all covariances, fitted in closed form."""

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.flows import Gaussian


@plugins.model("gaussian", task="density")
def gaussian(input_shape: tuple[int, ...], outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
    """It has nothing to set."""
    (dimension,) = input_shape
    return Gaussian(dimension)
