"""Images that lie on the training device, and their batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images with their classes, both on one device.

    Attributes:
        pixels: uint8, shape (n, channels, height, width).
        labels: int64, shape (n,).
        numbers: of some images of a split which they are of it, int64, shape (n,); None for a whole one.
    """

    pixels: Tensor
    labels: Tensor
    numbers: Tensor | None = None

    @classmethod
    def from_arrays(cls, images: NDArray[np.uint8], labels: NDArray[np.int64], device: torch.device) -> "Images":
        """The images, of shape (n, height, width, channels), and their labels on `device`."""
        return cls(to_pixels(torch.from_numpy(images).to(device)), torch.from_numpy(labels).to(device))

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Images":
        """The same on another device."""
        return Images(
            self.pixels.to(device), self.labels.to(device), None if self.numbers is None else self.numbers.to(device)
        )


def to_pixels(images: Tensor) -> Tensor:
    """Images of shape (n, height, width, channels) in the order of a network, (n, channels, height, width)."""
    return images.permute(0, 3, 1, 2).contiguous()


def batches(
    images: Images, batch_size: int, generator: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels and labels, `batch_size` images at a time; the last batch has what remains.

    Args:
        generator: a CPU generator that shuffles the images, the same way on every device; without it they
            come in order.
    """
    if generator is None:
        yield from zip(torch.split(images.pixels, batch_size), torch.split(images.labels, batch_size), strict=True)
        return
    order = torch.randperm(len(images), generator=generator).to(images.labels.device)
    for chosen in torch.split(order, batch_size):
        yield images.pixels[chosen], images.labels[chosen]
