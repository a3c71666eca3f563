"""The size of a data set's images, without the images."""

import torch

from pipeline.config.sections import DataConfig
from pipeline.data.preprocessing import build_preprocessing
from pipeline.data.splits import load_splits

_GREY, _COLOUR = (1, 28, 28), (3, 32, 32)
OFFICIAL: dict[str, tuple[tuple[int, int, int], int]] = {
    "digits": ((1, 8, 8), 10),
    "mnist": (_GREY, 10),
    "qmnist": (_GREY, 10),
    "fashion_mnist": (_GREY, 10),
    "cifar10": (_COLOUR, 10),
    "cifar100": (_COLOUR, 100),
}
"""(channels, height, width) and number of classes of the data sets that have a name."""


def network_input(config: DataConfig) -> tuple[tuple[int, int, int], int]:
    """(channels, height, width) of the images that the network sees, and the number of classes.

    A data set that has a name need not be there; an `.npz` is read.

    Raises:
        OdenetError: the `.npz` cannot be read, or the data set is unknown.
    """
    if config.name in OFFICIAL:
        shape, classes = OFFICIAL[config.name]
    else:
        splits = load_splits(config, 0, torch.device("cpu"))
        channels, height, width = splits.train.pixels.shape[1:]
        shape, classes = (channels, height, width), len(splits.classes)
    return build_preprocessing(config, shape).output_shape, classes
