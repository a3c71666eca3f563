"""What every model is: a stem, a body, a head."""

import torch
from torch import Tensor, nn

from pipeline.device.compilation import CompiledInTraining


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


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def _apply(layer: nn.Module, inputs: Tensor) -> Tensor:
    output: Tensor = layer(inputs)
    return output
