"""Bijsterbosch's complex architecture: three stages of convolution, pooling, normalisation, activation.

Source: Bijsterbosch 2020, section 7.3.2 and table 7.5. For grey images the widths 48, 128, 256 and a first kernel of
5 × 5 are inferred: the plain choice that rounds to the table.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline import plugins
from pipeline.config import ConfigError, NetworkConfig, SolverConfig
from pipeline.device.compilation import CompiledInTraining
from pipeline.models.layers import ACTIVATIONS, Convolution, PadChannels, build_head, build_normalisation
from pipeline.models.network import Network
from pipeline.models.pooling import HalvingMaxPool
from pipeline.models.time_weights import of_time
from pipeline.ode import ODEBlock


class Stage(nn.Module):
    """Convolution, max pooling by 2, normalisation, activation; `residual` adds the input before the pooling."""

    def __init__(self, config: NetworkConfig, inputs: int, outputs: int, kernel: int, residual: bool) -> None:
        super().__init__()
        self.convolution = Convolution(inputs, outputs, config.time_weights == "channel", kernel=kernel)
        self.identity = PadChannels(outputs - inputs) if residual else None
        # 28 -> 14 -> 7 -> 4: an odd size is rounded up, or the counts of the table do not come out.
        self.pooling = HalvingMaxPool()
        self.normalisation = build_normalisation(config, outputs)
        self.activation = ACTIVATIONS[config.activation]()

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        output: Tensor = self.convolution(t, z)
        if self.identity is not None:
            output = output + self.identity(z)
        output = self.activation(self.normalisation(self.pooling(output)))
        return output  # noqa: RET504 - typed above, an Any otherwise


class Stages(nn.Module):
    """The three stages, (batch, widths[0], H, W) to (batch, widths[3], H/8, W/8), rounded up."""

    def __init__(self, config: NetworkConfig, widths: tuple[int, ...], first_kernel: int, residual: bool) -> None:
        super().__init__()
        kernels = (first_kernel, 3, 3)
        self.stages = nn.ModuleList(
            Stage(config, inputs, outputs, kernel, residual)
            for (inputs, outputs), kernel in zip(pairwise(widths), kernels, strict=True)
        )

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        for stage in self.stages:
            z = stage(t, z)
        return z


@dataclass(frozen=True)
class CompactState:
    """The state of the complex ODE-Net: an image padded with zero channels, without what stays zero and is not read.

    The field reads the first `read` of the `channels`, and moves no element outside the upper left corner, whatever the
    channel. So the channels that it reads are kept whole, of the others the corner alone: as one row an image, in
    channels_last. That is 36 times less than all for MNIST's images, and of the same ODE.

    Attributes:
        size, corner_size: height and width.
    """

    channels: int
    read: int
    size: tuple[int, int]
    corner_size: tuple[int, int]

    @property
    def implicit_zeros(self) -> int:
        """Elements of an image's state that are not kept."""
        return (self.channels - self.read) * (prod(self.size) - prod(self.corner_size))

    def pack(self, image: Tensor, corner: Tensor) -> Tensor:
        """The channels that are read, (batch, read, height, width), and the others' corner to (batch, elements)."""
        return torch.cat([part.permute(0, 2, 3, 1).flatten(1) for part in (image, corner)], dim=1)

    def unpack(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The two that `pack` was given."""
        image, corner = z.tensor_split([self.read * prod(self.size)], dim=1)
        return (
            image.unflatten(1, (*self.size, self.read)).permute(0, 3, 1, 2),
            corner.unflatten(1, (*self.corner_size, self.channels - self.read)).permute(0, 3, 1, 2),
        )


class Pack(nn.Module):
    """Images (batch, channels, height, width) to the state that the ODE begins with."""

    def __init__(self, state: CompactState) -> None:
        super().__init__()
        self.state = state

    def forward(self, images: Tensor) -> Tensor:
        state = self.state
        image = functional.pad(images, (0, 0, 0, 0, 0, state.read - images.shape[1]))
        return state.pack(image, images.new_zeros(len(images), state.channels - state.read, *state.corner_size))


class CornerField(nn.Module):
    """The stages as a field: what they make of the channels that it reads is how the corner moves."""

    def __init__(self, stages: Stages, state: CompactState) -> None:
        super().__init__()
        self.stages = stages
        self.state = state

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        image, _ = self.state.unpack(z)
        # One time for all, or with control per sample one for each row.
        moves: Tensor = self.stages(t.view(-1, 1, 1, 1), image)
        height, width = (whole - part for whole, part in zip(self.state.size, self.state.corner_size, strict=True))
        return self.state.pack(
            functional.pad(moves[:, : self.state.read], (0, width, 0, height)), moves[:, self.state.read :]
        )


class Corner(nn.Module):
    """The corner of all channels, (batch, channels, height, width): what is left when the padding is cropped away."""

    def __init__(self, state: CompactState) -> None:
        super().__init__()
        self.state = state

    def forward(self, z: Tensor) -> Tensor:
        image, corner = self.state.unpack(z)
        height, width = self.state.corner_size
        return torch.cat([image[:, :, :height, :width], corner], dim=1)


class WithoutTime(CompiledInTraining):
    """A function of (t, z) as a layer of z alone, at t = 0."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        return self.suited_to(z, _evaluate_at_zero)(self.function, z)


def _evaluate_at_zero(function: nn.Module, z: Tensor) -> Tensor:
    output: Tensor = function(z.new_zeros(()), z)
    return output


@plugins.model("complex")
def build_complex(
    input_shape: tuple[int, int, int], outputs: int, solver: SolverConfig, *, config: NetworkConfig
) -> Network:
    """The complex ODE-Net, whose state is the padded image, or its ResNet.

    Raises:
        ConfigError: a choice that this architecture does not have.
    """
    for key, value, fixed in (
        ("blocks", config.blocks, 1),
        ("stride", config.stride or 1, 1),
        ("activation_before", config.activation_before, "none"),
    ):
        if value != fixed:
            raise ConfigError(f"model.{key} is {value}, but the complex architecture has only {fixed}")
    image_channels, height, width = input_shape
    is_grey = image_channels == 1
    widths = (config.channels or (48 if is_grey else 64), 128, 256)
    kernel = 5 if is_grey else 3
    size = (-(-height // 8), -(-width // 8))
    features = widths[-1] * size[0] * size[1]
    head = build_head(nn.Flatten(), features=features, outputs=outputs, dropout=config.dropout)
    if config.body == "resnet":
        stages = Stages(config, (image_channels, *widths), kernel, residual=True)
        return Network(nn.Identity(), WithoutTime(stages), head)
    read = image_channels + config.augment
    if read > widths[-1]:
        raise ConfigError(
            f"model.augment is {config.augment}, but the state has only {widths[-1] - image_channels} zero channels"
        )
    state = CompactState(widths[-1], read, (height, width), size)
    field = CornerField(Stages(config, (read, *widths), kernel, residual=False), state)
    block = ODEBlock(of_time(field, config), config.final_time, solver, state.implicit_zeros)
    return Network(Pack(state), nn.Sequential(block, Corner(state)), head)
