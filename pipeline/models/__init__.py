"""The papers' networks."""

import warnings

from pipeline.config.sections import ConfigError, ModelConfig, SolverConfig
from pipeline.models.complex import build_complex
from pipeline.models.gladzik import build_gladzik
from pipeline.models.network import Network
from pipeline.models.simple import build_simple
from pipeline.util.user_warnings import OdenetWarning

__all__ = ["BatchNormalisationWarning", "Network", "build_model"]

_BUILDERS = {"simple": build_simple, "complex": build_complex, "gladzik": build_gladzik}


class BatchNormalisationWarning(OdenetWarning):
    """A solve through batch normalisation: every evaluation also moves its running statistics."""


def build_model(config: ModelConfig, solver: SolverConfig, image_shape: tuple[int, int, int], classes: int) -> Network:
    """The network that `config` describes, with weights from torch's global random state.

    Args:
        image_shape: (channels, height, width) of the preprocessed images.
        classes: number of scores per image.

    Raises:
        ConfigError: values that do not go together.
    """
    is_odenet = config.body == "odenet"
    if config.time_channel and not is_odenet:
        raise ConfigError("model.time_channel is True, but a residual network has no time (model.body=resnet)")
    if is_odenet and config.normalisation == "batch":
        warnings.warn(
            "batch normalisation inside an ODE block ended in a step size underflow in Bijsterbosch 2020, "
            "section 7.1.3; model.normalisation=group did not",
            BatchNormalisationWarning,
            stacklevel=2,
        )
    return _BUILDERS[config.architecture](config, solver, image_shape, classes)
