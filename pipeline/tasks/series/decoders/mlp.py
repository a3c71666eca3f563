"""A network of one hidden layer."""

from pipeline import plugins
from pipeline.series import Decoder
from pipeline.tasks.series.config import SeriesConfig


@plugins.decoder("mlp")
def build(latent: int, dimensions: int, *, config: SeriesConfig) -> Decoder:
    return Decoder(latent, dimensions, (config.decoder_hidden,))
