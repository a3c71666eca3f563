"""Gładzik's family, after Chen's: downsampling, pre-activation blocks, pooled classification.

Source: Gładzik 2019, section 4.1; Chen et al. 2018, whose published code has 32 groups over 64 channels.
"""

from torch import Tensor, nn

from pipeline import plugins
from pipeline.config import ConfigError, NetworkConfig, SolverConfig
from pipeline.models.layers import (
    ACTIVATIONS,
    Convolution,
    GroupNormalisation,
    build_body,
    build_head,
    build_normalisation,
    nearest_divisor,
)
from pipeline.models.network import Network


class PreActivation(nn.Module):
    """Twice (normalisation, activation, convolution); as a field with one more normalisation at the end."""

    def __init__(self, config: NetworkConfig, width: int, is_field: bool) -> None:
        super().__init__()
        groups = nearest_divisor(width, 32)
        self.normalisation_1 = build_normalisation(config, width, groups)
        self.convolution_1 = Convolution(width, width, config.time_weights == "channel", bias=is_field)
        self.normalisation_2 = build_normalisation(config, width, groups)
        self.convolution_2 = Convolution(width, width, config.time_weights == "channel", bias=is_field)
        self.normalisation_3 = build_normalisation(config, width, groups) if is_field else nn.Identity()
        self.activation = ACTIVATIONS[config.activation]()

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        z = self.convolution_1(t, self.activation(self.normalisation_1(z)))
        z = self.convolution_2(t, self.activation(self.normalisation_2(z)))
        output: Tensor = self.normalisation_3(z)
        return output


@plugins.model("gladzik")
def build_gladzik(
    input_shape: tuple[int, int, int], outputs: int, solver: SolverConfig, *, config: NetworkConfig
) -> Network:
    """Gładzik's ODE-Net or ResNet with `config.blocks` blocks.

    Raises:
        ConfigError: a choice that this architecture does not have, or images too small for its downsampling.
    """
    if config.stride is not None:
        raise ConfigError(f"model.stride is {config.stride}, but the gladzik architecture's stem is fixed")
    image_channels, height, width = input_shape
    if min(height, width) < 6:
        raise ConfigError(
            f"the gladzik architecture needs images of at least 6 × 6, not {height} × {width}: use "
            "model.architecture=simple"
        )
    channels = config.channels or 64
    state_channels = channels + config.augment

    def normalise(width: int) -> nn.Module:
        return GroupNormalisation(nearest_divisor(width, 32), width)

    stem_channels = channels if config.body == "odenet" else state_channels
    stem = nn.Sequential(
        nn.Conv2d(image_channels, channels, 3),
        normalise(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 4, stride=2, padding=1),
        normalise(channels),
        nn.ReLU(),
        nn.Conv2d(channels, stem_channels, 4, stride=2, padding=1),
        ACTIVATIONS[config.activation_before](),
    )
    body = build_body(lambda: PreActivation(config, state_channels, config.body == "odenet"), solver, config)
    head = build_head(
        *(normalise(state_channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        features=state_channels,
        outputs=outputs,
        dropout=config.dropout,
    )
    return Network(stem, body, head)
