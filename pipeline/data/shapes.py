"""The size of a data set's images, without the images."""

import torch

from pipeline.config import ImageConfig
from pipeline.data.preprocessing import build_preprocessing
from pipeline.data.splits import load_splits
from pipeline.plugins import registry


def network_input(config: ImageConfig) -> tuple[tuple[int, int, int], int]:
    """(channels, height, width) of the images that the network sees, and the number of classes.

    A data set that says its shape need not be there; another one is read.

    Raises:
        OdenetError: the data set cannot be read, or is unknown.
    """
    is_known = config.name in registry.names("data set", config.task)
    known = registry.find("data set", config.name, config.task).facts if is_known else {}
    shape, classes = known.get("shape"), known.get("classes")
    if shape is None or classes is None:
        splits = load_splits(config, 0, torch.device("cpu"))
        channels, height, width = splits.train.pixels.shape[1:]
        shape, classes = (channels, height, width), len(splits.classes)
    return build_preprocessing(config, shape).output_shape, classes
