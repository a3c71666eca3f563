"""A residual network whose layers share their weights: Euler's method for the ODE of `odenet`."""

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.models.time_weights import of_time
from pipeline.tasks.trajectories.config import MapConfig
from pipeline.tasks.trajectories.networks import EulerSteps, Perceptron


@plugins.model("euler", task="trajectories")
def build_euler(
    input_shape: tuple[int],
    outputs: int,
    solver: SolverConfig,  # noqa: ARG001 - its steps are those of the configuration's `layers`
    *,
    config: MapConfig,
) -> nn.Module:
    """`config.layers` steps over [0, T]."""
    assert input_shape == (outputs,)
    function = of_time(Perceptron(outputs, config, sees_time=config.time_weights == "channel"), config)
    return EulerSteps([function], config.layers, config.final_time / config.layers)
