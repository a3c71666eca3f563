"""The points of an experiment: checked, split, on one device."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config import ConfigError
from pipeline.plugins import registry
from pipeline.tasks.trajectories.config import PointsConfig

NAMES = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Points:
    """The splits.

    Attributes:
        x: points of a split, (n, dimension).
        y: where they are to go, (n, dimension), or a number for each, (n,).
    """

    x_train: Tensor
    y_train: Tensor
    x_validation: Tensor
    y_validation: Tensor
    x_test: Tensor
    y_test: Tensor
    sha256: str

    @property
    def dimension(self) -> int:
        """Of the points."""
        return self.x_train.shape[1]

    @property
    def is_map(self) -> bool:
        """Whether it is said where the points go."""
        return self.y_train.dim() == 2

    @property
    def test_items(self) -> int:
        return len(self.x_test)

    @property
    def device(self) -> torch.device:
        return self.x_test.device

    def to(self, device: torch.device) -> "Points":
        moved: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if name != "sha256"}
        return replace(self, **moved)


def load_points(config: PointsConfig, seed: int) -> Points:
    """The data set that `config` names, split by `seed`, on the CPU.

    Raises:
        ConfigError: there are fewer points than are asked for.
        PluginError: a plug-in's data set gives something else.
    """
    part = registry.find("data set", config.name, config.task)
    arrays = checked(part, part.built(**config.options))
    training = torch.from_numpy(np.random.default_rng(seed).permutation(len(arrays["x_train"])))
    if config.subset is not None and config.subset > len(training):
        raise ConfigError(f"data.subset is {config.subset} but {config.name} has {len(training)} training points")
    training = training[: config.subset]
    held_out = round(config.validation_fraction * len(training))
    if not 0 < held_out < len(training):
        raise ConfigError(
            f"{len(training)} training points of {config.name} are too few for a data.validation_fraction of "
            f"{config.validation_fraction:g} with points on both sides; take more points"
        )
    validation, training = training[:held_out], training[held_out:]
    x, y = arrays["x_train"], arrays["y_train"]
    sha256 = hashlib.sha256(b"".join(arrays[name].numpy().tobytes() for name in NAMES)).hexdigest()
    return Points(x[training], y[training], x[validation], y[validation], arrays["x_test"], arrays["y_test"], sha256)


def checked(part: registry.Part, made: Any) -> dict[str, Tensor]:
    """The four arrays of float32, which fit each other.

    Raises:
        PluginError: they do not.
    """

    def wrong(reason: str) -> registry.PluginError:
        return registry.PluginError(f"{part.where}: the data set {part.name} {reason}")

    if not isinstance(made, Mapping) or set(NAMES) - made.keys():
        raise wrong(f"must return a dictionary with {', '.join(NAMES)}")
    try:
        arrays = {name: torch.as_tensor(np.asarray(made[name], np.float32)) for name in NAMES}
    except (TypeError, ValueError) as error:
        raise wrong(f"must return arrays of numbers ({error})") from error
    x, y = arrays["x_train"], arrays["y_train"]
    if x.dim() != 2 or 0 in x.shape or (y.shape != x.shape and y.shape != x.shape[:1]):
        raise wrong(
            f"has x_train of shape {tuple(x.shape)} and y_train of {tuple(y.shape)}: points are (n, dimension), and "
            "y_train is either (n, dimension), where they go, or (n,), a number for each"
        )
    for name, like in (("x_test", x), ("y_test", y)):
        if (
            arrays[name].shape[1:] != like.shape[1:]
            or len(arrays[name]) != len(arrays["x_test"])
            or not len(arrays[name])
        ):
            raise wrong(f"has {name} of shape {tuple(arrays[name].shape)}, which does not fit the training points")
    for name, values in arrays.items():
        if not values.isfinite().all():
            raise wrong(f"has values in {name} that are no finite numbers")
    return arrays
