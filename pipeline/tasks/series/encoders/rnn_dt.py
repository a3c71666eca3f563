"""An RNN that reads values and the gaps between them, backwards."""

from pipeline import plugins
from pipeline.series import Encoder
from pipeline.tasks.series.build import build_cell
from pipeline.tasks.series.config import SeriesConfig


@plugins.encoder("rnn_dt")
def build(dimensions: int, latent: int, *, config: SeriesConfig) -> Encoder:
    return Encoder(build_cell("rnn_dt", dimensions, config), latent)
