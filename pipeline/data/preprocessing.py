"""From uint8 pixels to what the network sees, on the pixels' own device."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config import ImageConfig

_UPSCALED = 32
_CROPPED = 28


class Preprocessing:
    """How a batch of uint8 pixels becomes float32 in [-1, 1]; by itself they are scaled alone.

    Attributes:
        output_shape: channels, height and width that the network sees.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.output_shape = image_shape

    def for_training(self, pixels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """What training sees of `pixels` (batch, channels, height, width); chance comes from a CPU generator."""
        return self.for_evaluation(pixels)

    def for_evaluation(self, pixels: Tensor) -> Tensor:
        """What validation and test see of `pixels` (batch, channels, height, width)."""
        return _scaled(pixels)


class RandomCrop(Preprocessing):
    """Upscaled to 32 × 32 and cropped to 28 × 28 at random for training; resized to 28 × 28 for evaluation.

    Source: Gładzik, section 4.4.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.output_shape = (image_shape[0], _CROPPED, _CROPPED)

    def for_training(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        images = _resized(_scaled(pixels), _UPSCALED)
        offsets = torch.randint(_UPSCALED - _CROPPED + 1, (2, len(images)), generator=generator)
        top, left = offsets.to(images.device, non_blocking=True)
        windows = images.unfold(2, _CROPPED, 1).unfold(3, _CROPPED, 1)  # (batch, channels, 5, 5, 28, 28)
        return windows[torch.arange(len(images), device=images.device), :, top, left]

    def for_evaluation(self, pixels: Tensor) -> Tensor:
        return _resized(_scaled(pixels), _CROPPED)


def build_preprocessing(config: ImageConfig, image_shape: tuple[int, int, int]) -> Preprocessing:
    """The preprocessing that `config` names, for images of `image_shape` (channels, height, width)."""
    return RandomCrop(image_shape) if config.preprocessing == "random_crop" else Preprocessing(image_shape)


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32) / 127.5 - 1


def _resized(images: Tensor, size: int) -> Tensor:
    # Antialiasing matters where this makes images smaller, and is what image libraries do there.
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
