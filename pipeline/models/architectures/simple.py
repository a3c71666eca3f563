"""Bijsterbosch's simple architecture: one convolution, one kind of block, one linear layer.

Source: Bijsterbosch 2020, section 7.3.1 and table 7.4. The kernel of the stem is 3 × 3, which alone reproduces the
parameter counts of the table (the text says 1 × 1).
"""

from collections.abc import Callable

from torch import Tensor, nn

from pipeline import plugins
from pipeline.config import NetworkConfig, SolverConfig
from pipeline.models.layers import ACTIVATIONS, Convolution, build_body, build_head, build_normalisation
from pipeline.models.network import Network


class SimpleFunction(nn.Module):
    """Convolution, normalisation, activation."""

    def __init__(self, config: NetworkConfig, width: int) -> None:
        super().__init__()
        self.convolution = Convolution(width, width, config.time_weights == "channel")
        self.normalisation = build_normalisation(config, width)
        self.activation = ACTIVATIONS[config.activation]()

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        output: Tensor = self.activation(self.normalisation(self.convolution(t, z)))
        return output


@plugins.model("simple")
def build_simple(
    input_shape: tuple[int, int, int], outputs: int, solver: SolverConfig, *, config: NetworkConfig
) -> Network:
    """The simple ODE-Net or ResNet; the ResNet is as wide as the ODE-Net's augmented state."""
    return build_around(lambda width: SimpleFunction(config, width), input_shape, outputs, solver, config)


def build_around(
    build_function: Callable[[int], nn.Module],
    input_shape: tuple[int, int, int],
    outputs: int,
    solver: SolverConfig,
    config: NetworkConfig,
) -> Network:
    """The simple architecture's stem and head around another function of (t, z) in its blocks.

    Args:
        build_function: channels of the state -> the function.
    """
    image_channels, height, width = input_shape
    channels = config.channels or (64 if image_channels == 1 else 256)
    state_channels = channels + config.augment
    stride = config.stride or 2
    stem_channels = channels if config.body == "odenet" else state_channels
    stem = nn.Sequential(
        nn.Conv2d(image_channels, stem_channels, 3, stride=stride, padding=1),
        ACTIVATIONS[config.activation_before](),
    )
    body = build_body(lambda: build_function(state_channels), solver, config)
    features = state_channels * -(-height // stride) * -(-width // stride)
    head = build_head(nn.Flatten(), features=features, outputs=outputs, dropout=config.dropout)
    return Network(stem, body, head)
