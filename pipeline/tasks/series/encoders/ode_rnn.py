"""A GRU whose state follows an ODE between observations, backwards.

Source: Rubanova, Chen & Duvenaud 2019, section 3.2.
"""

from pipeline import plugins
from pipeline.series import Encoder
from pipeline.tasks.series.build import build_cell
from pipeline.tasks.series.config import SeriesConfig


@plugins.encoder("ode_rnn")
def build(dimensions: int, latent: int, *, config: SeriesConfig) -> Encoder:
    return Encoder(build_cell("ode_rnn", dimensions, config), latent)
