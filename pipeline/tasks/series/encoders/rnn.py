"""An RNN that reads values backwards and does not know of time.

Source: Chen et al. 2018, section 5.
"""

from pipeline import plugins
from pipeline.series import Encoder
from pipeline.tasks.series.build import build_cell
from pipeline.tasks.series.config import SeriesConfig


@plugins.encoder("rnn")
def build(dimensions: int, latent: int, *, config: SeriesConfig) -> Encoder:
    return Encoder(build_cell("rnn", dimensions, config), latent)
