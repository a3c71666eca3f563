"""An ODE of a perceptron.

Source: Dupont et al. 2019, appendix B.
"""

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.models.time_weights import of_time
from pipeline.ode import ODEBlock
from pipeline.tasks.trajectories.config import MapConfig
from pipeline.tasks.trajectories.networks import Perceptron


@plugins.model("odenet", task="trajectories")
def build_odenet(input_shape: tuple[int], outputs: int, solver: SolverConfig, *, config: MapConfig) -> nn.Module:
    """From z(0) to z(T), both of the width `outputs`."""
    assert input_shape == (outputs,)
    field = of_time(Perceptron(outputs, config, sees_time=config.time_weights == "channel"), config)
    return ODEBlock(field, config.final_time, solver)
