"""Data sets by name, split by seed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import ConfigError, ImageConfig
from pipeline.data import Images, Splits, batches, list_data_sets, load_splits
from pipeline.util.errors import InvalidInput
from tests.helpers.paths import SAMPLES

CIFAR10_SAMPLE = "11810a0ef61dadc8fa3c20b1fedb6faff5bf2f6cdcc0ebfc26ec3625c5a69138"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_DATA", str(SAMPLES))


def load(seed: int = 0, **options: object) -> Splits:
    return load_splits(ImageConfig(**options), seed, CPU)


def per_class(images: Images) -> list[int]:
    return images.labels.bincount().tolist()


def rows(images: Images) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.pixels}


def test_digits_are_there_without_a_download() -> None:
    splits = load()
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [1149, 288, 360]
    assert splits.train.pixels.shape == (1149, 1, 8, 8)
    assert splits.train.pixels.dtype == torch.uint8
    assert splits.train.labels.dtype == torch.int64
    assert splits.train.pixels.max() == 255
    assert splits.classes == tuple("0123456789")


def test_fashion_mnist_is_read_from_its_idx_files_with_its_own_class_names() -> None:
    splits = load(name="fashion_mnist")
    assert splits.train.pixels.shape == (160, 1, 28, 28)
    assert len(splits.test) == 100
    # The first test image of Fashion-MNIST is an ankle boot.
    assert splits.classes[splits.test.labels[0]] == "Ankle boot"


def test_cifar10_is_read_from_an_npz_in_the_data_folder_with_channels_first() -> None:
    splits = load(name="cifar10")
    assert splits.train.pixels.shape == (80, 3, 32, 32)
    assert splits.train.pixels.is_contiguous()
    stored = np.load(SAMPLES / "cifar10.npz")
    assert torch.equal(splits.test.pixels[3, 2], torch.from_numpy(stored["x_test"][3, :, :, 2]))
    assert splits.classes[:2] == ("airplane", "automobile")


def test_the_three_splits_share_no_image_and_lose_none() -> None:
    splits = load(name="fashion_mnist")
    parts = [rows(splits.train), rows(splits.validation), rows(splits.test)]
    assert len(set.union(*parts)) == sum(len(part) for part in parts) == 300


def test_images_keep_their_labels_through_the_split() -> None:
    stored = np.load(SAMPLES / "cifar10.npz")
    label_of = dict(zip((image.tobytes() for image in stored["x_train"]), stored["y_train"], strict=True))
    splits = load(name="cifar10", subset=50)
    for part in (splits.train, splits.validation):
        for pixels, label in zip(part.pixels, part.labels, strict=True):
            assert label_of[pixels.permute(1, 2, 0).numpy().tobytes()] == label


def test_validation_has_its_fraction_of_every_class() -> None:
    splits = load(name="cifar10", validation_fraction=0.3)
    assert per_class(splits.validation) == [3] * 10
    assert per_class(splits.train) == [7] * 10


def test_the_same_seed_splits_the_same_way_and_another_seed_another_way() -> None:
    first, again, other = (load(seed, name="fashion_mnist", subset=100) for seed in (1, 1, 2))
    assert torch.equal(first.train.pixels, again.train.pixels)
    assert torch.equal(first.validation.labels, again.validation.labels)
    assert rows(first.validation) != rows(other.validation)
    assert rows(first.train) | rows(first.validation) != rows(other.train) | rows(other.validation)


def test_no_seed_changes_the_test_split_or_the_fingerprint() -> None:
    first, other = load(0), load(1, subset=500)
    assert torch.equal(first.test.pixels, other.test.pixels)
    assert first.fingerprint == other.fingerprint


def test_the_fingerprint_is_that_of_the_stored_arrays() -> None:
    # sha256 of the four arrays of tests/samples/cifar10.npz, one after the other.
    assert load(name="cifar10").fingerprint == CIFAR10_SAMPLE


def test_a_seed_of_any_size_will_do() -> None:
    assert len(load(2**40).train) == 1149


def test_a_subset_is_stratified_before_validation_is_split_off() -> None:
    splits = load(name="cifar10", subset=50)
    assert per_class(splits.train) == [4] * 10
    assert per_class(splits.validation) == [1] * 10


def test_a_subset_may_be_nearly_or_exactly_the_whole() -> None:
    for subset in (197, 200):
        splits = load(name="fashion_mnist", subset=subset)
        assert len(splits.train) + len(splits.validation) == subset


def test_a_subset_larger_than_the_data_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"data\.subset is 70000 but fashion_mnist has 200 training images"):
        load(name="fashion_mnist", subset=70000)


@pytest.mark.parametrize("options", [{"subset": 5}, {"subset": 30}, {"validation_fraction": 0.99}])
def test_too_few_images_to_have_every_class_on_both_sides_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"images of fashion_mnist are too few .* 10 classes"):
        load(name="fashion_mnist", **options)


def test_an_unknown_name_is_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(InvalidInput, match=r"fashion_mnits is not .* \(did you mean fashion_mnist\?\)"):
        load(name="fashion_mnits")


def test_the_list_says_what_is_known_and_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for sample in (SAMPLES / "cifar10.npz", SAMPLES / "FashionMNIST"):
        (tmp_path / sample.name).symlink_to(sample)
    (tmp_path / "flowers.npz").symlink_to(SAMPLES / "cifar10.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    monkeypatch.setenv("ODENET_DATA", str(tmp_path))
    listed = {status.name: status for status in list_data_sets() if status.task == "classification"}
    known = ["cifar10", "cifar100", "digits", "fashion_mnist", "mnist", "qmnist"]
    assert list(listed) == [*known, "broken.npz", "flowers.npz"]
    present = [name for name, status in listed.items() if status.present]
    assert present == ["cifar10", "digits", "fashion_mnist", "flowers.npz"]
    assert listed["fashion_mnist"].images == "200 + 100, 1 × 28 × 28"
    assert listed["cifar10"].images == listed["flowers.npz"].images == "100 + 30, 3 × 32 × 32"
    assert listed["cifar10"].where == tmp_path / "cifar10.npz"
    assert "broken.npz cannot be read" in listed["broken.npz"].note
    assert "odenet data prepare mnist" in listed["mnist"].note


def test_the_list_needs_no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_DATA", str(tmp_path / "absent"))
    of_images = [status for status in list_data_sets() if status.task == "classification"]
    assert [status.name for status in of_images if status.present] == ["digits"]
    assert not (tmp_path / "absent").exists()


def numbered(count: int) -> Images:
    return Images(torch.arange(count, dtype=torch.uint8).reshape(count, 1, 1, 1), torch.arange(count))


def test_batches_come_in_order_and_the_last_one_has_what_remains() -> None:
    images = numbered(10)
    sizes = [len(labels) for _, labels in batches(images, 4)]
    assert sizes == [4, 4, 2]
    assert torch.cat([labels for _, labels in batches(images, 4)]).tolist() == list(range(10))


def test_a_generator_shuffles_images_and_labels_together_and_repeats_itself() -> None:
    def epoch(seed: int) -> list[int]:
        pairs = list(batches(numbered(50), 8, torch.Generator().manual_seed(seed)))
        for pixels, labels in pairs:
            assert torch.equal(pixels.flatten(), labels.to(torch.uint8))
        return torch.cat([labels for _, labels in pairs]).tolist()

    assert sorted(epoch(0)) == list(range(50))
    assert epoch(0) == epoch(0) != epoch(1)
