"""From uint8 pixels to what the network sees, on the pixels' own device."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config import ConfigError, ImageConfig
from pipeline.data.augmentation import cut_out_at_random, mirrored_at_random, random_windows, shifted_at_random
from pipeline.util.errors import InvalidInput

_UPSCALED = 32
_CROPPED = 28


class Preprocessing:
    """How a batch of uint8 pixels becomes float32 in [-1, 1]; by itself they are scaled alone.

    Attributes:
        output_shape: channels, height and width that the network sees.
        takes_any_size: whether images of every height and width become that.
    """

    takes_any_size = False

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.output_shape = image_shape

    def for_training(self, pixels: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """What training sees of `pixels` (batch, channels, height, width); chance comes from a CPU generator."""
        return self.for_evaluation(pixels)

    def for_evaluation(self, pixels: Tensor) -> Tensor:
        """What validation and test see of `pixels`, uint8 of shape (batch, channels, height, width).

        Raises:
            InvalidInput: they are of another type.
        """
        return _scaled(pixels)


class RandomCrop(Preprocessing):
    """Upscaled to 32 × 32 and cropped to 28 × 28 at random for training; resized to 28 × 28 for evaluation.

    Source: Gładzik, section 4.4.
    """

    takes_any_size = True

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.output_shape = (image_shape[0], _CROPPED, _CROPPED)

    def for_training(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        return random_windows(_resized(_scaled(pixels), _UPSCALED), (_CROPPED, _CROPPED), generator)

    def for_evaluation(self, pixels: Tensor) -> Tensor:
        return _resized(_scaled(pixels), _CROPPED)


class Augmented(Preprocessing):
    """Another preprocessing, whose training images are changed at random; evaluation sees them as they are."""

    def __init__(self, preprocessing: Preprocessing, config: ImageConfig) -> None:
        super().__init__(preprocessing.output_shape)
        self._preprocessing, self._config = preprocessing, config
        self.takes_any_size = preprocessing.takes_any_size
        side = min(self.output_shape[1:])
        for name in ("crop_padding", "cutout"):
            if (pixels := getattr(config, name)) >= side:
                raise ConfigError(f"data.{name} is {pixels}, which must be below the {side} pixels of the images' side")

    def for_training(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        images = self._preprocessing.for_training(pixels, generator)
        if self._config.flip:
            images = mirrored_at_random(images, generator)
        if self._config.crop_padding:
            images = shifted_at_random(images, self._config.crop_padding, generator)
        if self._config.cutout:
            images = cut_out_at_random(images, self._config.cutout, generator)
        return images

    def for_evaluation(self, pixels: Tensor) -> Tensor:
        return self._preprocessing.for_evaluation(pixels)


def build_preprocessing(config: ImageConfig, image_shape: tuple[int, int, int]) -> Preprocessing:
    """The preprocessing that `config` names, for images of `image_shape` (channels, height, width).

    Raises:
        ConfigError: what is to be changed of a training image is as large as the image.
    """
    plain = RandomCrop(image_shape) if config.preprocessing == "random_crop" else Preprocessing(image_shape)
    is_augmented = config.flip or config.crop_padding or config.cutout
    return Augmented(plain, config) if is_augmented else plain


def _scaled(pixels: Tensor) -> Tensor:
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8:  # numbers from 0 to 1 would all be nearly black
        what = f"of {pixels.dtype}" if isinstance(pixels, Tensor) else f"of the type {type(pixels).__name__}"
        raise InvalidInput(
            f"the pixels are {what}: give a uint8 tensor from 0 to 255, as torch.as_tensor(pixels) of a NumPy array, "
            "or torch.as_tensor(255 * pixels).round().to(torch.uint8) of numbers from 0 to 1"
        )
    return pixels.to(torch.float32) / 127.5 - 1


def _resized(images: Tensor, size: int) -> Tensor:
    # Antialiasing matters where this makes images smaller, and is what image libraries do there.
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
