"""A user's own arrays."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import ImageConfig
from pipeline.data import DataError, Splits, load_splits, prepare
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning
from tests.helpers.paths import SAMPLES

SAMPLE = SAMPLES / "cifar10.npz"


@pytest.fixture(autouse=True)
def _empty_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_DATA", str(tmp_path / "data"))


def arrays(**changed: object) -> dict[str, np.ndarray]:
    """A small consistent data set of three classes, with some of its arrays changed; None leaves one out."""
    chance = np.random.default_rng(0)
    good = {
        "x_train": chance.integers(256, size=(30, 6, 5), dtype=np.uint8),
        "y_train": np.arange(30) % 3,
        "x_test": chance.integers(256, size=(6, 6, 5), dtype=np.uint8),
        "y_test": np.arange(6) % 3,
    }
    return {key: value for key, value in {**good, **changed}.items() if value is not None}


def save(path: Path, **changed: object) -> Path:
    np.savez(path, **arrays(**changed))
    return path


def load(path: Path | str) -> Splits:
    return load_splits(ImageConfig(name=str(path)), 0, torch.device("cpu"))


def test_grey_images_get_one_channel_and_classes_their_numbers(tmp_path: Path) -> None:
    splits = load(save(tmp_path / "mine.npz"))
    assert splits.train.pixels.shape == (24, 1, 6, 5)
    assert splits.classes == ("0", "1", "2")


def test_classes_in_the_file_name_the_labels(tmp_path: Path) -> None:
    assert load(save(tmp_path / "mine.npz", classes=np.array(["a", "bee", "c"]))).classes == ("a", "bee", "c")


def test_a_compressed_file_and_small_label_types_serve(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **arrays(y_train=(np.arange(30) % 3).astype(np.uint8)))
    assert load(path).train.labels.dtype == torch.int64


def test_images_stored_in_columns_first_order_are_the_same_images(tmp_path: Path) -> None:
    rows = load(save(tmp_path / "rows.npz"))
    columns = load(save(tmp_path / "columns.npz", x_train=np.asfortranarray(arrays()["x_train"])))
    assert torch.equal(rows.train.pixels, columns.train.pixels)
    assert rows.fingerprint == columns.fingerprint


def test_a_file_is_found_here_and_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    there = save(tmp_path / "data" / "flowers.npz")
    assert prepare("flowers.npz") == there
    monkeypatch.chdir(tmp_path)
    here = save(tmp_path / "flowers.npz")
    assert prepare("flowers.npz") == here


def test_a_known_set_as_npz_without_classes_has_its_own_class_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    stored = np.load(SAMPLE)
    np.savez(tmp_path / "data" / "fashion_mnist.npz", **{k: stored[k] for k in stored if k != "classes"})
    assert load("fashion_mnist").classes[8:] == ("Bag", "Ankle boot")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"there is no file .*absent\.npz"):
        load(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"y_test": None}, "lacks y_test"),
        ({"x_train": None}, "lacks x_train"),
        ({"x_train": np.zeros((30, 30), np.uint8)}, r"x_train has shape \(30, 30\)"),
        ({"x_train": np.zeros((30, 5, 6, 5), np.uint8)}, r"x_train has shape \(30, 5, 6, 5\)"),
        ({"x_test": np.zeros((0, 6, 5), np.uint8)}, "there must be some"),
        ({"x_test": np.zeros((6, 5, 5), np.uint8)}, "6 × 5 × 1 and those of x_test 5 × 5 × 1"),
        ({"y_train": np.arange(29) % 3}, r"y_train has shape \(29,\), but 30 images"),
        ({"y_train": np.zeros((30, 2))}, r"y_train has shape \(30, 2\), but labels are one for each image"),
        ({"y_train": np.linspace(0, 2, 30)}, "y_train must be whole numbers or text, not float64"),
        ({"classes": np.array(["a", "b"])}, "y_train has labels from 0 to 2, but with 2 classes"),
        ({"classes": np.array([1, 2, 3])}, "classes must be a list of text, not int64"),
        ({"classes": np.array(["a", "b", "c"], dtype=object)}, "without arrays of Python objects"),
    ],
)
def test_inconsistent_arrays_are_refused_by_name(tmp_path: Path, changed: dict[str, object], complaint: str) -> None:
    path = save(tmp_path / "mine.npz", **changed)
    with pytest.raises(DataError, match=complaint) as refusal:
        load(path)
    assert str(path) in str(refusal.value)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    path = save(tmp_path / "mine.npz", x_train=np.array([Trap()] * 30, dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        load(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kept", [0, 100, 100_000])
def test_a_cut_off_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.npz"
    path.write_bytes(SAMPLE.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut\.npz cannot be read"):
        load(path)


def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changed.npz"
    shutil.copy(SAMPLE, path)
    with path.open("r+b") as file:
        file.seek(200_000)
        byte = file.read(1)
        file.seek(200_000)
        file.write(bytes([byte[0] ^ 0xFF]))
    with pytest.raises(DataError, match=r"changed\.npz cannot be read"):
        load(path)


def test_a_bare_array_is_not_taken_for_an_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", np.zeros(3))
    (tmp_path / "bare.npy").rename(tmp_path / "bare.npz")
    with pytest.raises(DataError, match=r"bare\.npz cannot be read"):
        load(tmp_path / "bare.npz")


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (["a", "b", "b"], "3 classes have 2 names, so tables cannot tell them apart: 'b' is there more than once"),
        (["a", "b", "c", "d"], "there are 4 names of classes and images of 3"),
    ],
)
def test_names_of_classes_that_were_hardly_meant_are_warned_of(
    tmp_path: Path, classes: list[str], sentence: str
) -> None:
    labels = {"y_train": np.arange(30) % 3, "y_test": np.arange(6) % 3}
    file = save(tmp_path / "mine.npz", **labels, classes=np.array(classes))
    with pytest.warns(OdenetWarning, match=sentence):
        load(file)


def test_images_of_a_single_class_are_nothing_to_train_on(tmp_path: Path) -> None:
    file = save(tmp_path / "mine.npz", y_train=np.zeros(30, int), y_test=np.zeros(6, int))
    with pytest.raises(DataError, match="are of one class, so there is nothing to tell apart"):
        load(file)
