"""A data set, split and on the device, ready to be trained on."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.config import ConfigError, DataConfig, ImageConfig
from pipeline.data.catalogue import read
from pipeline.data.download import prepare
from pipeline.data.errors import DataError
from pipeline.data.forms import Forms
from pipeline.data.images import Images
from pipeline.data.stratified import Indices, Labels, TooFewItems, draw, stratified_split
from pipeline.util.errors import brief
from pipeline.util.user_warnings import OdenetWarning


@dataclass(frozen=True)
class Splits:
    """The three splits of a data set.

    Attributes:
        name: of the data set.
        fingerprint: sha256 (hex) of the whole data set's arrays, before subset and split.
        notes: what was done to somebody's data so that they can be trained on, by sentences.
    """

    name: str
    train: Images
    validation: Images
    test: Images
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images as they are stored."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def to(self, device: torch.device) -> "Splits":
        """The same on another device."""
        train, validation, test = (images.to(device) for images in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)


def load_splits(config: ImageConfig, seed: int, device: torch.device) -> Splits:
    """The data set that `config` names, downloaded if need be, split by `seed` and put on `device`.

    Raises:
        InvalidInput: an unknown name, or a subset that is too large or too small.
        DataError: the data set is absent and cannot be downloaded, or is damaged.
    """
    forms = Forms.square(config.image_size, config.test_fraction)
    arrays = read(config.name, prepare(config.name), config.options, forms)
    if len(np.unique(arrays.y_train)) == 1:
        raise DataError(f"all training images of {config.name} are of one class, so there is nothing to tell apart")
    train, validation = _choose(config, arrays.y_train, arrays.classes, seed)
    return Splits(
        name=config.name,
        train=Images.from_arrays(arrays.x_train[train], arrays.y_train[train], device),
        validation=Images.from_arrays(arrays.x_train[validation], arrays.y_train[validation], device),
        test=Images.from_arrays(arrays.x_test, arrays.y_test, device),
        classes=arrays.classes,
        fingerprint=arrays.fingerprint(),
        notes=arrays.notes,
    )


def _choose(config: DataConfig, labels: Labels, names: Sequence[str], seed: int) -> tuple[Indices, Indices]:
    """Which images are for training and which for validation: the subset first, then its split."""
    random_state = seed % 2**32  # the range that numpy takes
    chosen = _subset(config, labels, random_state)
    classes = len(np.unique(labels))

    def too_few(why: str = "") -> ConfigError:
        return ConfigError(
            f"{len(chosen)} training images of {config.name} are too few for a data.validation_fraction of "
            f"{config.validation_fraction:g} with all {classes} classes on both sides{why}; take more images"
        )

    if len(np.unique(labels[chosen])) < classes:
        raise too_few()
    try:
        train, validation = stratified_split(labels[chosen], config.validation_fraction, random_state)
    except TooFewItems as error:
        raise too_few(f" ({error.told(names)})") from error
    lacking = np.setdiff1d(labels[chosen], labels[chosen[validation]])
    if len(lacking):
        said = f"the validation split of {config.name} has no image of {', '.join(brief(names[k]) for k in lacking)}"
        remedy = "use a larger data.validation_fraction, or give more images of them"
        warnings.warn(OdenetWarning(f"{said}: {remedy}"), stacklevel=2)
    return chosen[train], chosen[validation]


def _subset(config: DataConfig, labels: Labels, random_state: int) -> Indices:
    if config.subset is None:
        return np.arange(len(labels))
    if config.subset > len(labels):
        raise ConfigError(f"data.subset is {config.subset} but {config.name} has {len(labels)} training images")
    return draw(len(labels), config.subset, random_state, labels)
