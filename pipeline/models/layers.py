"""The pieces that the architectures share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import ConfigError, NetworkConfig, SolverConfig
from pipeline.device.compilation import CompiledInTraining
from pipeline.models.time_weights import of_time
from pipeline.ode import ODEBlock

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def build_normalisation(config: NetworkConfig, width: int, default_groups: int | None = None) -> nn.Module:
    """The normalisation that a block uses, for `width` channels.

    Raises:
        ConfigError: `model.groups` does not divide `width`.
    """
    if config.normalisation == "none":
        return nn.Identity()
    if config.normalisation == "batch":
        return nn.BatchNorm2d(width)
    groups = config.groups or default_groups or nearest_divisor(width, 6)
    if width % groups:
        raise ConfigError(
            f"model.groups is {groups}, which does not divide the {width} channels of a block; "
            f"it must be one of {', '.join(map(str, divisors(width)))}"
        )
    return GroupNormalisation(groups, width)


class GroupNormalisation(nn.GroupNorm):
    """Group normalisation in float32 at least, whatever autocast hands over: in bfloat16 it is slow on a CPU."""

    shares: Tensor
    """What each channel has of the mean over another's group, shape (channels, channels)."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__(groups, width)
        members = width // groups
        shares = torch.block_diag(*torch.full((groups, members, members), 1 / members))
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        return self._scaled_and_shifted(z) if torch.compiler.is_compiling() else super().forward(z)

    def _scaled_and_shifted(self, z: Tensor) -> Tensor:
        """The same, written for a compiler: of moments that each channel has for itself, then over its group.

        So it never leaves the layout of channels_last, as torch's own does on the way back, and it computes with whole
        vectors of channels, as it cannot where an element must find its group first.
        """
        variances, means = torch.var_mean(z, (2, 3), correction=0)
        mean = self._over_groups(means)
        variance = self._over_groups(variances + (means - mean).square())
        scale = torch.rsqrt(variance + self.eps) * self.weight
        shift = self.bias - mean * scale
        return z * scale[:, :, None, None] + shift[:, :, None, None]

    def _over_groups(self, of_channels: Tensor) -> Tensor:
        """The mean over each channel's group, shape (batch, channels)."""
        return (of_channels[:, None, :] * self.shares).sum(-1)  # no product of matrices: autocast would round it


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def nearest_divisor(number: int, target: int) -> int:
    """The divisor of `number` nearest to `target`, the larger of two equally near."""
    return min(divisors(number), key=lambda d: (abs(d - target), -d))


class Convolution(nn.Module):
    """3 × 3 convolution inside a block that keeps height and width; takes t so that it may see it as a channel."""

    def __init__(self, inputs: int, outputs: int, time_channel: bool, bias: bool = True, kernel: int = 3) -> None:
        super().__init__()
        self.time_channel = time_channel
        self.convolution = nn.Conv2d(inputs + time_channel, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        if self.time_channel:
            # In the layout of the images: what is merely expanded has none, and the whole would get torch's usual one.
            time = t.to(z.dtype).expand(z.shape[0], 1, *z.shape[2:]).contiguous(memory_format=torch.channels_last)
            z = torch.cat([time, z], dim=1)
        output: Tensor = self.convolution(z)
        return output


class PadChannels(nn.Module):
    """Zero channels behind the given ones: the augmented dimensions of Dupont et al. 2019."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, z: Tensor) -> Tensor:
        padded = functional.pad(z, (0, 0, 0, 0, 0, self.channels))
        # The layout of a single channel says nothing, and padding takes it for torch's usual one.
        return padded.contiguous(memory_format=torch.channels_last)


class ResidualBlock(CompiledInTraining):
    """z + f(z), with the same kind of f as an ODE block's field: one Euler step of size one."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        return self.suited_to(z, _euler_step)(self.function, z)


def _euler_step(function: nn.Module, z: Tensor) -> Tensor:
    output: Tensor = z + function(z.new_zeros(()), z)
    return output


def build_head(*layers: nn.Module, features: int, outputs: int, dropout: float) -> nn.Sequential:
    """Layers, and a linear one behind them, which in training does not see a share `dropout` of its features."""
    left_out = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, *left_out, nn.Linear(features, outputs))


def build_body(build_function: Callable[[], nn.Module], solver: SolverConfig, config: NetworkConfig) -> nn.Sequential:
    """The blocks of a body, each around a function of its own: ODE blocks behind the padding, or residual ones."""
    functions = (build_function() for _ in range(config.blocks))
    if config.body == "resnet":
        return nn.Sequential(*map(ResidualBlock, functions))
    blocks = (ODEBlock(of_time(function, config), config.final_time, solver) for function in functions)
    return nn.Sequential(PadChannels(config.augment), *blocks)
