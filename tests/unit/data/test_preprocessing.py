"""What the network sees of the pixels."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from pipeline.config import ImageConfig
from pipeline.data import Preprocessing, build_preprocessing
from pipeline.util.errors import InvalidInput


def random_pixels(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def random_crop(channels: int, size: int) -> Preprocessing:
    return build_preprocessing(ImageConfig(preprocessing="random_crop"), (channels, size, size))


def reference(pixels: Tensor, size: int) -> Tensor:
    """What torchvision's own resize makes of the pixels."""
    return resize(pixels / 127.5 - 1, [size, size], InterpolationMode.BILINEAR, antialias=True)


def test_plain_pixels_run_from_minus_one_to_one() -> None:
    pixels = torch.tensor([[[[0, 51], [204, 255]]]], dtype=torch.uint8)
    preprocessing = build_preprocessing(ImageConfig(), (1, 2, 2))
    seen = preprocessing.for_training(pixels, torch.Generator())
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen, torch.tensor([[[[-1, -0.6], [0.6, 1]]]]))
    assert torch.equal(seen, preprocessing.for_evaluation(pixels))
    assert preprocessing.output_shape == (1, 2, 2)


def test_pixels_that_are_no_bytes_are_refused_with_the_line_that_converts_them() -> None:
    pixels = random_pixels(2, 1, 28, 28)
    for preprocessing in (build_preprocessing(ImageConfig(), (1, 28, 28)), random_crop(1, 28)):
        with pytest.raises(InvalidInput, match=r"are of torch\.float32: give a uint8 tensor") as refused:
            preprocessing.for_evaluation(pixels / 255)
        line = re.findall(r", or (.*) of numbers from 0 to 1", str(refused.value))[0]
        assert torch.equal(eval(line, {"pixels": pixels / 255, "torch": torch}), pixels)  # noqa: S307


@pytest.mark.parametrize("name", ["plain", "random_crop"])
def test_pixels_that_are_no_tensor_are_refused_by_their_type(name: Any) -> None:
    preprocessing = build_preprocessing(ImageConfig(preprocessing=name), (1, 2, 2))
    pixels: Any = np.zeros((1, 1, 2, 2), np.uint8)
    with pytest.raises(InvalidInput, match="the pixels are of the type ndarray: give a uint8 tensor from 0 to 255"):
        preprocessing.for_evaluation(pixels)


def test_random_crops_are_windows_of_the_upscaled_image_each_with_its_own_place() -> None:
    pixels = random_pixels(64, 3, 28, 28)
    preprocessing = random_crop(3, 28)
    seen = preprocessing.for_training(pixels, torch.Generator().manual_seed(1))
    assert seen.shape[1:] == preprocessing.output_shape == (3, 28, 28)
    places = set()
    for image, crop in zip(reference(pixels, 32), seen, strict=True):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.allclose(image[:, top : top + 28, left : left + 28], crop, atol=1e-6)
        ]
        assert len(found) == 1
        places.update(found)
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))
    assert len(places) > 15  # of 25: height and width are drawn apart


def test_random_crops_repeat_with_the_generator() -> None:
    pixels, preprocessing = random_pixels(16, 1, 28, 28), random_crop(1, 28)
    first, again, other = (
        preprocessing.for_training(pixels, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_evaluation_resizes_as_torchvision_does() -> None:
    for size in (8, 28, 32):
        pixels = random_pixels(4, 3, size, size)
        torch.testing.assert_close(random_crop(3, size).for_evaluation(pixels), reference(pixels, 28))


def test_preprocessed_pixels_stay_between_minus_one_and_one() -> None:
    pixels = random_pixels(32, 1, 8, 8)
    assert random_crop(1, 8).for_training(pixels, torch.Generator()).abs().max() <= 1 + 1e-6
