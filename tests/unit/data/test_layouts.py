"""Data sets in torchvision's layout, read from files."""

import gzip
import hashlib
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, QMNIST, FashionMNIST

from pipeline.config import ImageConfig
from pipeline.data import DataError, Splits, list_data_sets, load_splits
from pipeline.data.catalogue import layout_of
from pipeline.data.cifar import CifarLayout
from tests.helpers.paths import SAMPLES

IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder, with the sample of Fashion-MNIST in it."""
    shutil.copytree(SAMPLES / "FashionMNIST", tmp_path / "FashionMNIST")
    monkeypatch.setenv("ODENET_DATA", str(tmp_path))
    return tmp_path


def load(name: str) -> Splits:
    return load_splits(ImageConfig(name=name), 0, torch.device("cpu"))


def write_idx(path: Path, array: np.ndarray, element: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, element, array.ndim, *array.shape))
    with path.open("ab") as file:
        file.write(array.astype({8: ">u1", 12: ">i4"}[element]).tobytes())


def test_idx_files_hold_what_torchvision_reads_in_them(folder: Path) -> None:
    splits, official = load("fashion_mnist"), FashionMNIST(folder, train=False)
    assert torch.equal(splits.test.pixels[:, 0], official.data)
    assert torch.equal(splits.test.labels, official.targets)
    assert splits.classes == tuple(FashionMNIST.classes)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "qmnist", "cifar10", "cifar100"])
def test_the_files_of_a_layout_are_those_of_torchvision(name: str) -> None:
    layout = layout_of(name)
    assert layout is not None
    assert layout.torchvision_class in (MNIST, FashionMNIST, QMNIST, CIFAR10, CIFAR100)
    if isinstance(layout, CifarLayout):
        lists = [*layout.torchvision_class.train_list, *layout.torchvision_class.test_list]
        names = [*(file for file, _ in lists), layout.torchvision_class.meta["filename"]]
        assert layout.files() == [f"{layout.torchvision_class.base_folder}/{file}" for file in names]
    else:
        unpacked = [archive.name.removesuffix(".gz") for archive in layout.archives()]
        assert layout.files() == [f"{layout.folder}/raw/{file}" for file in unpacked]


@pytest.mark.parametrize("length", [0, 3, 10, 16, 100_000, 156_815, 156_817])
def test_an_idx_file_not_as_long_as_its_header_says_is_refused_by_name(folder: Path, length: int) -> None:
    path = folder / "FashionMNIST" / "raw" / IMAGES
    path.write_bytes((path.read_bytes() + b"\0")[:length])
    with pytest.raises(DataError, match=f"{IMAGES} is"):
        load("fashion_mnist")
    (status,) = [one for one in list_data_sets() if (one.task, one.name) == ("classification", "fashion_mnist")]
    assert not status.present
    assert IMAGES in status.note


def test_a_compressed_file_under_the_name_of_a_raw_one_is_refused(folder: Path) -> None:
    (folder / "FashionMNIST" / "raw" / IMAGES).write_bytes(b"\x1f\x8b\x08\x00" * 100)
    with pytest.raises(DataError, match=f"{IMAGES} is not an IDX file"):
        load("fashion_mnist")


def test_labels_of_another_split_are_refused(folder: Path) -> None:
    raw = folder / "FashionMNIST" / "raw"
    shutil.copy(raw / "t10k-labels-idx1-ubyte", raw / "train-labels-idx1-ubyte")
    with pytest.raises(DataError, match=r"y_train has shape \(100,\), but 200 images"):
        load("fashion_mnist")


def test_a_stale_copy_of_older_torchvisions_is_not_read(folder: Path) -> None:
    processed = folder / "FashionMNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5)), processed / name)
    assert len(load("fashion_mnist").test) == 100


def test_the_files_go_before_an_npz_of_the_same_name(folder: Path) -> None:
    shutil.copy(SAMPLES / "cifar10.npz", folder / "fashion_mnist.npz")
    assert load("fashion_mnist").train.pixels.shape[1:] == (1, 28, 28)
    (folder / "FashionMNIST" / "raw" / IMAGES).unlink()
    assert load("fashion_mnist").train.pixels.shape[1:] == (3, 32, 32)


def write_qmnist(folder: Path) -> None:
    chance = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 40)):
        labels = chance.integers(1000, size=(count, 8))
        labels[:, 0] = np.arange(count) % 10
        raw = folder / "QMNIST" / "raw"
        write_idx(raw / f"qmnist-{split}-images-idx3-ubyte", chance.integers(256, size=(count, 28, 28)), 8)
        write_idx(raw / f"qmnist-{split}-labels-idx2-int", labels, 12)


def test_qmnist_takes_the_class_from_the_first_column_of_its_labels(folder: Path) -> None:
    write_qmnist(folder)
    splits, official = load("qmnist"), QMNIST(folder, what="test")
    assert len(splits.train) + len(splits.validation) == 60
    assert torch.equal(splits.test.pixels[:, 0], official.data)
    assert splits.test.labels.tolist() == [int(label) for _, label in official] == [*range(10)] * 4


def write_cifar100(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five images a class for training and one for the test, in CIFAR-100's format, their md5 made official."""
    chance = np.random.default_rng(0)
    names = [f"thing {number}" for number in range(100)]
    contents = {"meta": {"fine_label_names": names, "coarse_label_names": ["things"]}}
    for split, count in (("train", 500), ("test", 100)):
        contents[split] = {
            "data": chance.integers(256, size=(count, 3072), dtype=np.uint8),
            "fine_labels": [*range(100)] * (count // 100),
            "coarse_labels": [0] * count,
        }
    base = folder / "cifar-100-python"
    base.mkdir()
    md5 = {}
    for name, content in contents.items():
        (base / name).write_bytes(pickle.dumps(content, protocol=2))
        md5[name] = hashlib.md5((base / name).read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5["meta"]})


def test_cifar100_has_its_fine_classes_and_channels_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar100(folder, monkeypatch)
    splits = load("cifar100")
    stored = pickle.loads((folder / "cifar-100-python" / "test").read_bytes())  # noqa: S301
    assert splits.test.pixels.shape == (100, 3, 32, 32)
    assert torch.equal(splits.test.pixels.flatten(1), torch.from_numpy(stored["data"]))
    assert splits.test.labels.tolist() == [*range(100)]
    assert splits.classes[99] == "thing 99"


@pytest.mark.parametrize("file", ["train", "test", "meta"])
def test_a_cifar_file_that_is_not_the_official_one_is_never_unpickled(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (folder / "sprung",)

    write_cifar100(folder, monkeypatch)
    (folder / "cifar-100-python" / file).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="cifar-100-python is not the official one"):
        load("cifar100")
    assert not (folder / "sprung").exists()


def note_of(name: str) -> str:
    (status,) = [one for one in list_data_sets() if (one.task, one.name) == ("classification", name)]
    assert not status.present
    return status.note


def test_images_and_labels_in_each_others_place_are_told_by_name_and_hide_no_other_set(folder: Path) -> None:
    raw = folder / "FashionMNIST" / "raw"
    labels = raw / "train-labels-idx1-ubyte"
    images = (raw / IMAGES).read_bytes()
    (raw / IMAGES).write_bytes(labels.read_bytes())
    labels.write_bytes(images)
    assert f"{IMAGES} has no images but an array of shape (200,)" in note_of("fashion_mnist")
    with pytest.raises(DataError, match=r"x_train has shape \(200,\)"):
        load("fashion_mnist")
    assert "digits" in [status.name for status in list_data_sets() if status.present]


def test_labels_of_one_dimension_are_no_qmnist(folder: Path) -> None:
    write_qmnist(folder)
    write_idx(folder / "QMNIST" / "raw" / "qmnist-train-labels-idx2-int", np.zeros(60), 12)
    with pytest.raises(DataError, match=r"the labels of QMNIST have shape \(60,\), and not \(n, 8\)"):
        load("qmnist")


def test_a_link_to_nothing_hides_no_other_set(folder: Path) -> None:
    (folder / "mine.npz").symlink_to("nowhere")
    (folder / "loop.npz").symlink_to("loop.npz")
    assert {"digits", "fashion_mnist"} <= {status.name for status in list_data_sets() if status.present}
    assert "mine.npz" in [status.name for status in list_data_sets() if not status.present]


def test_archives_that_were_laid_into_raw_by_hand_are_verified_and_unpacked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = folder / "FashionMNIST" / "raw"
    expected = load("fashion_mnist").fingerprint
    resources = []
    for file in sorted(raw.iterdir()):
        packed = gzip.compress(file.read_bytes())
        (raw / f"{file.name}.gz").write_bytes(packed)
        resources.append((f"{file.name}.gz", hashlib.md5(packed, usedforsecurity=False).hexdigest()))
        file.unlink()
    order = {name: place for place, (name, _) in enumerate(FashionMNIST.resources)}
    monkeypatch.setattr(FashionMNIST, "resources", sorted(resources, key=lambda resource: order[resource[0]]))
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    damaged = raw / f"{IMAGES}.gz"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + b"x")
    with pytest.raises(DataError, match=rf"{IMAGES}.gz is not the official archive"):
        load("fashion_mnist")
    assert not (raw / IMAGES).exists()
    damaged.write_bytes(whole)
    assert load("fashion_mnist").fingerprint == expected
