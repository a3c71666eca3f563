"""A data set, split and on the device, ready to be trained on."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from pipeline.config.sections import ConfigError, DataConfig
from pipeline.data.catalogue import read
from pipeline.data.download import prepare
from pipeline.data.images import Images

Indices = NDArray[np.int64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """The three splits of a data set.

    Attributes:
        fingerprint: sha256 (hex) of the whole data set's arrays, before subset and split.
    """

    train: Images
    validation: Images
    test: Images
    classes: tuple[str, ...]
    fingerprint: str


def load_splits(config: DataConfig, seed: int, device: torch.device) -> Splits:
    """The data set that `config` names, downloaded if need be, split by `seed` and put on `device`.

    Raises:
        InvalidInput: an unknown name, or a subset that is too large or too small.
        DataError: the data set is absent and cannot be downloaded, or is damaged.
    """
    arrays = read(config.name, prepare(config.name))
    train, validation = _choose(config, arrays.y_train, seed)
    return Splits(
        train=_on_device(arrays.x_train[train], arrays.y_train[train], device),
        validation=_on_device(arrays.x_train[validation], arrays.y_train[validation], device),
        test=_on_device(arrays.x_test, arrays.y_test, device),
        classes=arrays.classes,
        fingerprint=arrays.fingerprint(),
    )


def _choose(config: DataConfig, labels: Labels, seed: int) -> tuple[Indices, Indices]:
    """Which images are for training and which for validation: the subset first, then its split."""
    random_state = seed % 2**32  # the range that numpy takes
    chosen = _subset(config, labels, random_state)
    classes = len(np.unique(labels))
    too_few = ConfigError(
        f"{len(chosen)} training images of {config.name} are too few for a data.validation_fraction of "
        f"{config.validation_fraction:g} with all {classes} classes on both sides; take more images"
    )
    if len(np.unique(labels[chosen])) < classes:
        raise too_few
    try:
        train, validation = train_test_split(
            chosen, test_size=config.validation_fraction, stratify=labels[chosen], random_state=random_state
        )
    except ValueError as error:  # a class of one image, or a side with fewer images than classes
        raise too_few from error
    return train, validation


def _subset(config: DataConfig, labels: Labels, random_state: int) -> Indices:
    everything = np.arange(len(labels))
    if config.subset is None:
        return everything
    if config.subset > len(labels):
        raise ConfigError(f"data.subset is {config.subset} but {config.name} has {len(labels)} training images")
    drawn: Indices = resample(
        everything, replace=False, n_samples=config.subset, stratify=labels, random_state=random_state
    )
    return drawn


def _on_device(images: NDArray[np.uint8], labels: NDArray[np.int64], device: torch.device) -> Images:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)  # (n, channels, height, width)
    return Images(pixels.to(device).contiguous(), torch.from_numpy(labels).to(device))
