"""The test split of another data set, for a trained network; and images without labels."""

import numpy as np
import torch
from torch import Tensor

from pipeline.config import ImageConfig
from pipeline.data import Images, Preprocessing, Splits, build_preprocessing, prepare
from pipeline.data.catalogue import read
from pipeline.data.forms import Forms
from pipeline.util.errors import InvalidInput


def load_test_split(
    config: ImageConfig, preprocessing: Preprocessing, classes: tuple[str, ...], forms: Forms
) -> Splits:
    """The data set `config.name`, downloaded if need be, as the network can take it: its test split alone.

    Args:
        preprocessing, classes: of the network. Classes of its names, in another order or fewer, are put into its own.
        forms: without a `test_fraction` all images that are not split are asked about.

    Raises:
        InvalidInput: an unknown name, images of another shape, or another number of classes with other names.
        DataError: the data set is absent and cannot be downloaded, or is damaged.
    """
    name, wanted = config.name, preprocessing.output_shape
    arrays = read(name, prepare(name), config.options, forms)
    _, height, width, channels = arrays.x_test.shape
    if build_preprocessing(config, (channels, height, width)).output_shape != wanted:
        raise InvalidInput(
            f"the images of {name} are {channels} × {height} × {width}, but the network takes "
            f"{' × '.join(map(str, wanted))}: choose a data set of that size"
        )
    labels, names, notes = arrays.y_test, arrays.classes, list(arrays.notes)
    if names != classes and set(names) <= set(classes) and len(set(names)) == len(names):
        few = f"there are {len(names)} of the network's {len(classes)} classes"
        other = few if len(names) < len(classes) else "the classes come in another order than the network's"
        notes.append(f"{other}: they are matched by their names")
        labels, names = np.array([classes.index(one) for one in names])[labels], classes
    if len(names) != len(classes):
        raise InvalidInput(
            f"{name} has {len(names)} classes, but the network knows {len(classes)}: "
            "choose a data set with as many, or with classes of the network's names"
        )
    images = Images.from_arrays(arrays.x_test, labels, torch.device("cpu"))
    none = Images(images.pixels[:0], images.labels[:0])
    return Splits(name, none, none, images, names, arrays.fingerprint(), tuple(notes))


def without_labels(pixels: Tensor) -> Images:
    """Images whose classes nobody knows."""
    return Images(pixels, torch.zeros(len(pixels), dtype=torch.int64, device=pixels.device))
