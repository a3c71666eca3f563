"""Flips, crops and cutout of training images."""

from itertools import product

import pytest
import torch
from torch import Tensor

from pipeline.config import ImageConfig
from pipeline.data import build_preprocessing
from pipeline.data.augmentation import cut_out_at_random, mirrored_at_random, shifted_at_random


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    """Of 6 × 9 pixels, none of them black or grey."""
    return 0.1 + 0.8 * torch.rand((200, 2, 6, 9), generator=seeded())


def test_each_image_is_mirrored_or_as_it_was_and_about_half_are(images: Tensor) -> None:
    seen = mirrored_at_random(images, seeded(1))
    mirrored = [torch.equal(one, before.flip(2)) for one, before in zip(seen, images, strict=True)]
    kept = [torch.equal(one, before) for one, before in zip(seen, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 70 < sum(mirrored) < 130


def test_a_shifted_image_is_a_window_of_it_in_black_and_every_place_comes(images: Tensor) -> None:
    seen = shifted_at_random(images, 1, seeded(1))
    assert seen.shape == images.shape
    padded = torch.full((200, 2, 8, 11), -1.0)
    padded[:, :, 1:-1, 1:-1] = images
    places = set()
    for one, whole in zip(seen, padded, strict=True):
        found = [
            place
            for place in product(range(3), range(3))
            if torch.equal(one, whole[:, place[0] : place[0] + 6, place[1] : place[1] + 9])
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) == 9


def test_a_cut_out_square_is_grey_around_a_pixel_and_all_else_as_it_was(images: Tensor) -> None:
    seen = cut_out_at_random(images, 3, seeded(1))
    centres = set()
    for one, before in zip(seen, images, strict=True):
        is_cut = (one == 0).all(0)
        assert torch.equal(one[:, ~is_cut], before[:, ~is_cut])
        rows, columns = is_cut.any(1).nonzero().flatten().tolist(), is_cut.any(0).nonzero().flatten().tolist()
        assert int(is_cut.sum()) == len(rows) * len(columns)
        assert 2 <= len(rows) <= 3
        assert 2 <= len(columns) <= 3
        row = rows[1] if len(rows) == 3 else (0 if rows[0] == 0 else 5)
        column = columns[1] if len(columns) == 3 else (0 if columns[0] == 0 else 8)
        centres.add((row, column))
    assert len(centres) > 45  # of 54


def test_evaluation_sees_images_as_they_are_and_training_the_same_with_the_same_seed() -> None:
    pixels = torch.randint(256, (16, 3, 28, 28), generator=seeded(), dtype=torch.uint8)
    plain = build_preprocessing(ImageConfig(), (3, 28, 28))
    augmented = build_preprocessing(ImageConfig(flip=True, crop_padding=4, cutout=8), (3, 28, 28))
    assert augmented.output_shape == plain.output_shape
    assert torch.equal(augmented.for_evaluation(pixels), plain.for_evaluation(pixels))
    first, again, other = (augmented.for_training(pixels, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_they_follow_a_random_crop() -> None:
    pixels = torch.randint(256, (16, 1, 28, 28), generator=seeded(), dtype=torch.uint8)
    config = ImageConfig(preprocessing="random_crop", cutout=8)
    seen = build_preprocessing(config, (1, 28, 28)).for_training(pixels, seeded(1))
    cropped = build_preprocessing(ImageConfig(preprocessing="random_crop"), (1, 28, 28)).for_training(pixels, seeded(1))
    assert torch.equal(torch.where(seen == 0, cropped, seen), cropped)
    assert bool((seen == 0).any())
