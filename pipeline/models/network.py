"""What every model is: a stem, a body, a head."""

import torch
from torch import Tensor, nn

from pipeline.device.compilation import CompiledInTraining
from pipeline.ode import ODEBlock


class Network(CompiledInTraining):
    """Images to class scores. The two families differ in the body alone.

    All that is between the images and the scores lies in memory as channels_last, which convolutions are quickest with.
    """

    def __init__(self, stem: nn.Module, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.body = body
        self.head = head
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, channels, height, width) in [-1, 1] to unnormalised scores (batch, classes)."""
        apply = self.suited_to(images, _apply)
        features: Tensor = self.body(apply(self.stem, _channels_last(images)))
        if features.requires_grad:
            # The head flattens them, so that what flows back from there is laid out otherwise.
            features.register_hook(_channels_last)
        scores: Tensor = apply(self.head, features)
        return scores

    def ode_blocks(self) -> list[ODEBlock]:
        """The blocks that are solved; none in a residual network."""
        return [module for module in self.modules() if isinstance(module, ODEBlock)]

    def nfe_forward(self) -> int | None:
        """Evaluations of the last forward pass, summed over the ODE blocks; None without one."""
        blocks = self.ode_blocks()
        return sum(block.statistics.nfe_forward for block in blocks) if blocks else None

    def nfe_per_image(self) -> list[int] | None:
        """Evaluations of the last forward pass that each image took part in, summed over the ODE blocks.

        None where the images of a batch share their steps, and without a block.
        """
        counts = [[sample.nfe for sample in block.statistics.samples] for block in self.ode_blocks()]
        return [sum(of_image) for of_image in zip(*counts, strict=True)] if all(counts) and counts else None

    def nfe_backward(self) -> int | None:
        """Evaluations of the last backward pass so far; None where backward makes none of its own."""
        counts = [block.statistics.nfe_backward for block in self.ode_blocks()]
        counted = [count for count in counts if count is not None]
        return sum(counted) if counted else None

    def rejected_steps(self) -> int | None:
        """Rejected steps of the last forward pass, summed over the ODE blocks; None without one."""
        blocks = self.ode_blocks()
        return sum(block.statistics.rejected for block in blocks) if blocks else None


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def _apply(layer: nn.Module, inputs: Tensor) -> Tensor:
    output: Tensor = layer(inputs)
    return output
