"""The configuration of trajectories."""

from dataclasses import dataclass, field
from typing import Literal

from pipeline.config import Config, ConfigError, DataConfig, ModelConfig, RegularisationConfig, Section, option
from pipeline.config.sections import (
    LARGEST_NUMBER,
    TimeWeights,
    refuse_unsolvable_states,
    refuse_unsolvable_time_weights,
)

SHIPPED_MODELS = ("odenet", "resnet", "euler")
"""Parts without options, known here so that checking a configuration does not import torch."""


@dataclass(frozen=True)
class PointsConfig(DataConfig):
    """Which points."""

    task = "trajectories"
    name: str = "g1d"
    """g1d, identity1d, spheres, reflection2d, or a data set of a plug-in."""

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        self._choose_part("name", "options", ("data set",))


@dataclass(frozen=True)
class MapConfig(ModelConfig):
    """What moves the points."""

    task = "trajectories"
    architecture: str = "odenet"
    """odenet: dz/dt = f(t, z). resnet: z + f_k(z), layer after layer. euler: z + (T / layers) f(t_k, z), the same f in
    every step. Or a model or field of a plug-in."""
    hidden: int | None = option(None, at_least=1, at_most=100_000)
    """Width of the two hidden layers of f; without it 16 for points of one dimension, 32 for others."""
    activation: Literal["relu", "tanh", "softplus"] = "relu"
    """Between the layers of f."""
    augment: int = option(0, at_least=0, at_most=100_000)
    """Zero dimensions beside those of the points."""
    layers: int = option(5, at_least=1, at_most=1000)
    """Layers of the ResNet, or steps of Euler's method."""
    final_time: float = option(1.0, above=0, at_most=LARGEST_NUMBER)
    """T of the solve over [0, T]."""
    time_weights: TimeWeights = "none"
    """How the weights of f depend on t, in odenet and euler; with channel f sees t as one more input."""
    time_terms: int | None = option(None, at_least=1, at_most=1000)
    """Terms, intervals, rank or hidden units of `time_weights`."""

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        self._choose_part("architecture", "options", ("model", "field"), SHIPPED_MODELS)


@dataclass(frozen=True)
class TrajectoriesConfig(Config):
    """The configuration of trajectories."""

    data: PointsConfig = field(default_factory=PointsConfig)
    model: MapConfig = field(default_factory=MapConfig)
    regularisation: RegularisationConfig = field(default_factory=RegularisationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.regularisation.refuse_unless_below(self.model.final_time)
        refuse_unsolvable_states(self.model, self.solver)
        refuse_unsolvable_time_weights(self.model.time_weights, self.solver)
        # The named configuration of crossings has channel, which a residual network does without.
        if self.model.architecture == "resnet" and self.model.time_weights not in ("none", "channel"):
            raise ConfigError(
                f"model.time_weights is {self.model.time_weights}, but a residual network has no time "
                "(model.architecture=resnet): leave it out"
            )
        if self.training.compile is True:
            raise ConfigError("training.compile is True, but these small networks are not compiled: use auto or False")


CONFIG = TrajectoriesConfig
