"""Images changed at random, each in its own way, on their own device; chance comes from a generator of the CPU.

So a generator draws the same on every device. Images are of shape (batch, channels, height, width) in [-1, 1].
"""

import torch
from torch import Tensor
from torch.nn import functional

BLACK, GREY = -1.0, 0.0


def mirrored_at_random(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images, about half of them mirrored left to right."""
    is_mirrored = torch.rand(len(images), generator=generator).to(images.device, non_blocking=True) < 0.5
    return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def shifted_at_random(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Windows as large as the images, at random places of the images with `padding` black pixels around them.

    Source: He et al. 2016, section 4.2.
    """
    padded = functional.pad(images, (padding, padding, padding, padding), value=BLACK)
    return random_windows(padded, (images.shape[2], images.shape[3]), generator)


def random_windows(images: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A window of `size` (height, width) of each image, which is as much larger in one direction as in the other."""
    height, width = size
    places = images.shape[2] - height + 1
    top, left = torch.randint(places, (2, len(images)), generator=generator).to(images.device, non_blocking=True)
    windows = images.unfold(2, height, 1).unfold(3, width, 1)  # (batch, channels, places, places, height, width)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def cut_out_at_random(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """The images with a grey square around a random pixel of each, as much of it as lies within.

    Source: DeVries & Taylor 2017, *Cutout*, section 3.2.
    """
    height, width = images.shape[2:]
    centres = (torch.rand((2, len(images)), generator=generator) * torch.tensor([[height], [width]])).long()
    rows, columns = (centres - side // 2).to(images.device, non_blocking=True)
    is_cut = _covered(rows, side, height)[:, None, :, None] & _covered(columns, side, width)[:, None, None, :]
    return images.masked_fill(is_cut, GREY)


def _covered(starts: Tensor, length: int, size: int) -> Tensor:
    """Which of `size` places lie in the stretches of `length` from `starts` on, shape (batch, size)."""
    places = torch.arange(size, device=starts.device)
    return (places >= starts[:, None]) & (places < starts[:, None] + length)
