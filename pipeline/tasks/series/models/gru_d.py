"""A GRU whose state decays between observations (Che et al. 2018)."""

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.series import Forecaster
from pipeline.tasks.series.build import forecaster
from pipeline.tasks.series.config import SeriesConfig


@plugins.model("gru_d", task="series")
def build(
    input_shape: tuple[int, ...],
    outputs: int,
    solver: SolverConfig,  # noqa: ARG001 - nothing is solved
    *,
    config: SeriesConfig,
) -> Forecaster:
    return forecaster("gru_d", input_shape[0], outputs, config)
