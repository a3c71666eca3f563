"""An RNN with the gaps of time as inputs."""

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.series import Forecaster
from pipeline.tasks.series.build import forecaster
from pipeline.tasks.series.config import SeriesConfig


@plugins.model("rnn_dt", task="series")
def build(
    input_shape: tuple[int, ...],
    outputs: int,
    solver: SolverConfig,  # noqa: ARG001 - nothing is solved
    *,
    config: SeriesConfig,
) -> Forecaster:
    return forecaster("rnn_dt", input_shape[0], outputs, config)
