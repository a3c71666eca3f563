"""A residual network: layers of their own weights, whose trajectories may cross."""

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.tasks.trajectories.config import MapConfig
from pipeline.tasks.trajectories.networks import EulerSteps, Perceptron


@plugins.model("resnet", task="trajectories")
def build_resnet(
    input_shape: tuple[int],
    outputs: int,
    solver: SolverConfig,  # noqa: ARG001 - nothing is solved
    *,
    config: MapConfig,
) -> nn.Module:
    """z + f_k(z) for each of `config.layers` perceptrons."""
    assert input_shape == (outputs,)
    functions = [Perceptron(outputs, config, sees_time=False) for _ in range(config.layers)]
    return EulerSteps(functions, config.layers, 1.0)
