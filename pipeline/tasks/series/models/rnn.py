"""An RNN that does not know when the observations were."""

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.series import Forecaster
from pipeline.tasks.series.build import forecaster
from pipeline.tasks.series.config import SeriesConfig


@plugins.model("rnn", task="series")
def build(
    input_shape: tuple[int, ...],
    outputs: int,
    solver: SolverConfig,  # noqa: ARG001 - nothing is solved
    *,
    config: SeriesConfig,
) -> Forecaster:
    return forecaster("rnn", input_shape[0], outputs, config)
