"""A GRU whose state follows an ODE between observations (Rubanova, Chen & Duvenaud 2019, section 3.1)."""

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.series import Forecaster
from pipeline.tasks.series.build import forecaster
from pipeline.tasks.series.config import SeriesConfig


@plugins.model("ode_rnn", task="series")
def build(
    input_shape: tuple[int, ...],
    outputs: int,
    solver: SolverConfig,  # noqa: ARG001 - its gaps take an Euler step each
    *,
    config: SeriesConfig,
) -> Forecaster:
    return forecaster("ode_rnn", input_shape[0], outputs, config)
