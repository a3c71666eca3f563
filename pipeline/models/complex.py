"""Bijsterbosch's complex architecture: three stages of convolution, pooling, normalisation, activation.

Source: Bijsterbosch 2020, section 7.3.2 and table 7.5. For grey images the widths 48, 128, 256 and a first kernel of
5 × 5 are inferred: the plain choice that rounds to the table.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from pipeline.compilation import CompiledInTraining
from pipeline.config import ConfigError, ModelConfig, SolverConfig
from pipeline.models.layers import ACTIVATIONS, Convolution, PadChannels, build_normalisation
from pipeline.models.network import Network
from pipeline.ode import ODEBlock


class Stage(nn.Module):
    """Convolution, max pooling by 2, normalisation, activation; `residual` adds the input before the pooling."""

    def __init__(self, config: ModelConfig, inputs: int, outputs: int, kernel: int, residual: bool) -> None:
        super().__init__()
        self.convolution = Convolution(inputs, outputs, config.time_channel, kernel=kernel)
        self.identity = PadChannels(outputs - inputs) if residual else None
        # 28 -> 14 -> 7 -> 4: an odd size is rounded up, or the counts of the table do not come out.
        self.pooling = nn.MaxPool2d(2, ceil_mode=True)
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

    def __init__(self, config: ModelConfig, widths: tuple[int, ...], first_kernel: int, residual: bool) -> None:
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


class PaddedStages(nn.Module):
    """The stages as a field: sees the image's channels and `augment` of the zero ones, pads its output back."""

    def __init__(self, stages: Stages, inputs: int) -> None:
        super().__init__()
        self.stages = stages
        self.inputs = inputs

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        derivative = self.stages(t, z[:, : self.inputs])  # (batch, 256, height / 8, width / 8)
        height, width = z.shape[2:]
        return functional.pad(derivative, (0, width - derivative.shape[3], 0, height - derivative.shape[2]))


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


class Crop(nn.Module):
    """The upper left corner: what is left when the field's padding is cropped away."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :, : self.height, : self.width]


def build_complex(
    config: ModelConfig, solver: SolverConfig, image_shape: tuple[int, int, int], classes: int
) -> Network:
    """The complex ODE-Net, whose state is the padded image itself, or its ResNet.

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
    image_channels, height, width = image_shape
    is_grey = image_channels == 1
    widths = (config.channels or (48 if is_grey else 64), 128, 256)
    kernel = 5 if is_grey else 3
    size = (-(-height // 8), -(-width // 8))
    head = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * size[0] * size[1], classes))
    if config.body == "resnet":
        stages = Stages(config, (image_channels, *widths), kernel, residual=True)
        return Network(nn.Identity(), WithoutTime(stages), head)
    inputs = image_channels + config.augment
    if inputs > widths[-1]:
        raise ConfigError(
            f"model.augment is {config.augment}, but the state has only {widths[-1] - image_channels} zero channels"
        )
    field = PaddedStages(Stages(config, (inputs, *widths), kernel, residual=False), inputs)
    body = nn.Sequential(ODEBlock(field, config.final_time, solver), Crop(*size))
    return Network(PadChannels(widths[-1] - image_channels), body, head)
