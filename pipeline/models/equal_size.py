"""Networks of equal size: the width at which one has as many parameters in its body as another."""

from dataclasses import replace

import torch

from pipeline.config import NetworkConfig, SolverConfig
from pipeline.models.build import build_model
from pipeline.models.network import Network

WIDEST = 4096


def body_parameters(config: NetworkConfig, input_shape: tuple[int, int, int]) -> int:
    """Of the blocks alone, without the stem and the head."""
    with torch.random.fork_rng(devices=()):
        network = build_model(config, SolverConfig(), input_shape, 2)
    assert isinstance(network, Network)
    return sum(parameter.numel() for parameter in network.body.parameters())


def channels_of_equal_size(config: NetworkConfig, parameters: int, input_shape: tuple[int, int, int]) -> int:
    """The `model.channels` with which the body of `config` comes nearest to so many parameters.

    Args:
        input_shape: (channels, height, width) of the preprocessed images.

    Raises:
        ConfigError: values that do not go together.
    """

    def size(channels: int) -> int:
        return body_parameters(replace(config, channels=channels, groups=None), input_shape)

    low, high = 1, 2
    while size(high) < parameters and high < WIDEST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < parameters else (low, middle)
    return min((low, high), key=lambda channels: abs(size(channels) - parameters))
