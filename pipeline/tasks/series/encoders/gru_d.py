"""A GRU whose state decays between observations, backwards.

Source: Che et al. 2018.
"""

from pipeline import plugins
from pipeline.series import Encoder
from pipeline.tasks.series.build import build_cell
from pipeline.tasks.series.config import SeriesConfig


@plugins.encoder("gru_d")
def build(dimensions: int, latent: int, *, config: SeriesConfig) -> Encoder:
    return Encoder(build_cell("gru_d", dimensions, config), latent)
