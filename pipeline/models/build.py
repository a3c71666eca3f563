"""The network that a configuration names."""

import inspect
import warnings

from torch import nn

from pipeline.config import ConfigError, ModelConfig, NetworkConfig, SolverConfig
from pipeline.models.architectures.simple import build_around
from pipeline.plugins import registry
from pipeline.util.user_warnings import OdenetWarning


class BatchNormalisationWarning(OdenetWarning):
    """A solve through batch normalisation: every evaluation also moves its running statistics."""


def build_model(
    config: NetworkConfig, solver: SolverConfig, input_shape: tuple[int, int, int], outputs: int
) -> nn.Module:
    """The network that `config` describes, with weights from torch's global random state.

    Args:
        input_shape: (channels, height, width) of the preprocessed images.
        outputs: number of scores per image, one a class.

    Raises:
        ConfigError: values that do not go together.
    """
    is_odenet = config.body == "odenet"
    if config.time_weights != "none" and not is_odenet:
        raise ConfigError(
            f"model.time_weights is {config.time_weights}, but a residual network has no time (model.body=resnet)"
        )
    if is_odenet and config.normalisation == "batch":
        warnings.warn(
            "batch normalisation inside an ODE block ended in a step size underflow in Bijsterbosch 2020, "
            "section 7.1.3; model.normalisation=group did not",
            BatchNormalisationWarning,
            stacklevel=2,
        )
    part = named_part(config)
    if part.kind == "field":
        if config.time_weights == "channel":
            raise ConfigError(
                f"model.time_weights is channel, but the plug-in's field {part.name} is given t and sees it or not: "
                "use none, or another one, such as fourier"
            )
        return build_around(lambda width: built_field(config, width), input_shape, outputs, solver, config)
    return build_named(config, solver, input_shape, outputs)


def build_named(config: ModelConfig, solver: SolverConfig, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The registered model that `config.architecture` names, with its options, whichever task it is for.

    Args:
        input_shape: of one input, without the batch.
        outputs: how many numbers it gives for an input.

    Raises:
        PluginError: it is no module.
    """
    part = named_part(config)
    shared = {"config": config} if "config" in inspect.signature(part.build).parameters else {}
    return _module(part, part.built(input_shape, outputs, solver, **shared, **config.options))


def built_field(config: ModelConfig, width: int) -> nn.Module:
    """The registered field that `config.architecture` names, with its options, for a state of so many channels.

    Raises:
        PluginError: it is no module.
    """
    part = named_part(config)
    return _module(part, part.built(width, **config.options))


def named_part(config: ModelConfig) -> registry.Part:
    """The model or the field that `config.architecture` names."""
    is_field = config.architecture in registry.names("field", config.task)
    return registry.find("field" if is_field else "model", config.architecture, config.task)


def _module(part: registry.Part, built: object) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise registry.PluginError(
            f"{part.where}: the {part.kind} {part.name} returned a {type(built).__name__}; return a torch.nn.Module"
        )
    return built
