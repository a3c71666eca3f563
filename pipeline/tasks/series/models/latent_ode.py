"""A latent ODE.

Source: Chen et al. 2018, section 5; with `series.encoder=ode_rnn` Rubanova, Chen & Duvenaud 2019.
"""

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.series import LatentODE
from pipeline.tasks.series.build import latent_ode
from pipeline.tasks.series.config import SeriesConfig


@plugins.model("latent_ode", task="series")
def build(input_shape: tuple[int, ...], outputs: int, solver: SolverConfig, *, config: SeriesConfig) -> LatentODE:
    return latent_ode(input_shape[0], outputs, solver, config)
