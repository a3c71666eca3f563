"""Images in the forms in which people have them: what is converted is said, what is ambiguous refused with the line."""

import io
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile

from pipeline.config import ConfigError, ImageConfig
from pipeline.data import DataError, Images, Splits, load_splits, prepare
from pipeline.data.arrays import checked_arrays
from pipeline.data.catalogue import list_data_sets
from pipeline.data.image_files import read_images
from pipeline.data.pictures import Picture, PictureError
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning

pq = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(autouse=True)
def _empty_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_DATA", str(tmp_path / "data"))


def pixels(number: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images of which each differs from all others, with black and white among them."""
    drawn = np.random.default_rng(seed).integers(256, size=(number, *shape), dtype=np.uint8)
    drawn[:, 0, 0], drawn[:, -1, -1] = 0, 255
    return drawn


def load(name: Path | str, **config: Any) -> Splits:
    return load_splits(ImageConfig(name=str(name), validation_fraction=0.25, **config), 0, torch.device("cpu"))


def everything(splits: Splits) -> dict[bytes, str]:
    """Each image -> the name of its class, whichever split it is of."""
    return {
        image.numpy().tobytes(): splits.classes[int(label)]
        for part in (splits.train, splits.validation, splits.test)
        for image, label in zip(part.pixels, part.labels, strict=True)
    }


# Arrays


def arrays(**changed: Any) -> dict[str, Any]:
    """24 training and 6 test images of three classes, as `.npz` files have them; None leaves one out."""
    good = {
        "x_train": pixels(24, 6, 5, 3),
        "y_train": np.arange(24) % 3,
        "x_test": pixels(6, 6, 5, 3, seed=1),
        "y_test": np.arange(6) % 3,
    }
    return {key: value for key, value in {**good, **changed}.items() if value is not None}


def saved(folder: Path, **changed: Any) -> Path:
    np.savez(folder / "mine.npz", **arrays(**changed))
    return folder / "mine.npz"


def both(convert: Callable[[NDArray[Any]], NDArray[Any]], kind: str = "x") -> dict[str, NDArray[Any]]:
    return {key: convert(array) for key, array in arrays().items() if key.startswith(kind)}


NO_WORD: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("changed", "notes"),
    [
        (both(lambda x: x), NO_WORD),
        (both(lambda x: x / 255), ("numbers from 0 to 1 became whole ones from 0 to 255",)),
        (both(lambda x: (x / 255).astype(np.float32)), ("numbers from 0 to 1 became whole ones from 0 to 255",)),
        (both(lambda x: x.astype(np.int64)), ("whole numbers from 0 to 255, stored as int64, became uint8",)),
        (both(lambda x: x.astype(np.float32)), ("whole numbers from 0 to 255, stored as float32, became uint8",)),
        (both(lambda x: np.moveaxis(x, 3, 1)), ("channels, which came first, were put last",)),
        (
            both(lambda x: np.moveaxis(x, 3, 1) / 255),
            ("channels, which came first, were put last", "numbers from 0 to 1 became whole ones from 0 to 255"),
        ),
    ],
)
def test_images_are_the_same_in_whichever_form_they_come(
    tmp_path: Path, changed: dict[str, Any], notes: tuple[str, ...]
) -> None:
    plain = load(saved(tmp_path))
    splits = load(saved(tmp_path, **changed))
    assert splits.fingerprint == plain.fingerprint
    assert splits.notes == notes


def test_grey_images_with_their_one_channel_first_and_truth_values_are_taken(tmp_path: Path) -> None:
    grey = {key: array[..., :1] for key, array in both(lambda x: x).items()}
    first = {key: np.moveaxis(array, 3, 1) for key, array in grey.items()}
    assert load(saved(tmp_path, **first)).fingerprint == load(saved(tmp_path, **grey)).fingerprint
    is_bright = {key: array[..., 0] > 127 for key, array in grey.items()}
    splits = load(saved(tmp_path, **is_bright))
    assert set(splits.train.pixels.unique().tolist()) == {0, 255}
    assert splits.notes == ("truth values became 0 and 255",)


@pytest.mark.parametrize(
    ("labels", "classes", "notes"),
    [
        (lambda y: y, ("0", "1", "2"), NO_WORD),
        (lambda y: y[:, None], ("0", "1", "2"), NO_WORD),
        (lambda y: y + 1, ("1", "2", "3"), ("the labels 1, 2, 3 became 0 to 2, and are the names of the classes",)),
        (
            lambda y: y * 10 - 5,
            ("-5", "5", "15"),
            ("the labels -5, 5, 15 became 0 to 2, and are the names of the classes",),
        ),
        (lambda y: np.array(CLASSES)[y], CLASSES, ("the labels 'cat', 'dog', 'owl' became 0 to 2",)),
        (lambda y: np.array(CLASSES).astype("S")[y], CLASSES, ("the labels 'cat', 'dog', 'owl' became 0 to 2",)),
        (lambda y: np.array(["2", "9", "10"])[y], ("2", "9", "10"), ("the labels '2', '9', '10' became 0 to 2",)),
        (lambda y: y.astype(np.float32), ("0", "1", "2"), ("labels stored as float32 became whole numbers",)),
        (lambda y: np.eye(3)[y], ("0", "1", "2"), ("rows of 3 with a single 1 became the place of the 1",)),
    ],
)
def test_labels_are_the_same_classes_in_whichever_form_they_come(
    tmp_path: Path, labels: Callable[[NDArray[Any]], NDArray[Any]], classes: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    splits = load(saved(tmp_path, **both(labels, "y")))
    assert splits.classes == classes
    assert splits.notes == notes
    assert splits.fingerprint == load(saved(tmp_path)).fingerprint


def test_names_of_classes_are_in_the_order_of_labels_from_0_or_from_1_and_say_what_text_means(tmp_path: Path) -> None:
    names = np.array(["owl", "cat", "dog"])
    from_0 = load(saved(tmp_path, classes=names))
    from_1 = load(saved(tmp_path, classes=names, **both(lambda y: y + 1, "y")))
    as_text = load(saved(tmp_path, classes=names, **both(lambda y: names[y], "y")))
    assert from_0.classes == from_1.classes == as_text.classes == ("owl", "cat", "dog")
    assert from_0.fingerprint == from_1.fingerprint == as_text.fingerprint
    assert (from_0.notes, from_1.notes, as_text.notes) == ((), ("labels from 1 to 3 became 0 to 2",), ())


def test_a_class_with_one_image_is_named_and_one_that_validation_lacks_is_warned_of(tmp_path: Path) -> None:
    labels = np.array([0] * 402 + [1] * 402 + [2] * 2)
    images = np.random.default_rng(0).integers(256, size=(806, 4, 4), dtype=np.uint8)
    test = {"x_test": images[:6], "y_test": np.arange(6) % 3}
    names = np.array(["cat", "dog", "owl"])
    lone = {"classes": names, "x_train": images[:805], "y_train": labels[:805]}
    with pytest.raises(DataError, match=r"on both sides \(the smallest, 'owl', has 1\)"):
        load(saved(tmp_path, **lone, x_test=None, y_test=None))
    with pytest.raises(ConfigError, match=r"on both sides \(the smallest, 'owl', has 1\)"):
        load(saved(tmp_path, **lone, **test))
    file = saved(tmp_path, classes=names, x_train=images, y_train=labels, **test)
    with pytest.warns(OdenetWarning, match=r"has no image of 'owl':"):
        load_splits(ImageConfig(name=str(file), validation_fraction=0.1), 0, torch.device("cpu"))


def test_arrays_with_a_reversed_axis_or_that_cannot_be_written_are_taken(tmp_path: Path) -> None:
    given = arrays()
    reversed_axis = {key: value[..., ::-1] if key.startswith("x") else value for key, value in given.items()}
    fixed = {key: np.array(value) for key, value in given.items()}
    for value in fixed.values():
        value.flags.writeable = False
    for images, first in ((reversed_axis, given["x_test"][..., ::-1]), (fixed, given["x_test"])):
        checked = checked_arrays(tmp_path, classes=None, **images)
        found = Images.from_arrays(checked.x_test, checked.y_test, torch.device("cpu"))
        assert np.array_equal(found.pixels.permute(0, 2, 3, 1).numpy(), first)


def test_a_test_split_is_made_of_the_training_images_the_same_for_every_seed(tmp_path: Path) -> None:
    file = saved(tmp_path, x_test=None, y_test=None)
    splits = load(file)
    assert splits.notes == ("5 of 24 images were held out as the test split, the same for every seed",)
    other = load_splits(ImageConfig(name=str(file), validation_fraction=0.25), 7, torch.device("cpu"))
    assert torch.equal(other.test.pixels, splits.test.pixels)
    assert not torch.equal(other.train.pixels, splits.train.pixels)
    whole = arrays()
    assert everything(splits) == {
        np.moveaxis(image, 2, 0).tobytes(): str(label)
        for image, label in zip(whole["x_train"], whole["y_train"], strict=True)
    }
    assert len(everything(splits)) == 24
    assert sorted(splits.test.labels.tolist()) in ([0, 0, 1, 1, 2], [0, 0, 1, 2, 2], [0, 1, 1, 2, 2])
    assert len(load(file, test_fraction=0.5).test) == 12


def test_images_for_a_validation_are_said_to_be_left_out(tmp_path: Path) -> None:
    held_out = {"x_val": pixels(6, 6, 5, 3, seed=2), "y_val": np.arange(6) % 3}
    said = "x_val is left out, as validation images are taken of x_train"
    assert load(saved(tmp_path, **held_out)).notes == (said,)
    alone = load(saved(tmp_path, **held_out, x_test=None, y_test=None))
    assert alone.notes[0] == f"{said}; call it x_test to be tested on it"


def test_a_share_for_the_test_is_said_to_have_no_effect_where_there_is_a_test_split(tmp_path: Path) -> None:
    file = saved(tmp_path)
    splits = load(file, test_fraction=0.5)
    assert "data.test_fraction=0.5 has no effect, as they have a test split" in splits.notes
    assert splits.notes[1:] == load(file).notes or splits.notes[:-1] == load(file).notes


@pytest.mark.parametrize(
    ("changed", "sentence", "line"),
    [
        (
            both(lambda x: x / 127.5 - 1),
            "are float64 from -1 to 1, and pixels are uint8 from 0 to 255, or numbers from 0 to 1",
            "x_train = ((x_train + 1) * 127.5).round().astype('uint8')",
        ),
        (both(lambda x: x * 0.9), "are float64 from 0 to 229.5", "x_train = x_train.round().astype('uint8')"),
        (
            both(lambda x: x / 255 * 1.0001),
            "are float64 from 0 to 1.0001",
            "x_train = (x_train.clip(0, 1) * 255).round().astype('uint8')",
        ),
        (
            both(lambda x: x / 10),
            "are float64 from 0 to 25.5",
            "x_train = (x_train * (255 / 25.5)).round().astype('uint8')",
        ),
        (
            both(lambda x: x.astype(np.uint16) * 257),
            "are uint16 from 0 to 65535",
            "x_train = (x_train * (255 / 65535)).round().astype('uint8')",
        ),
        (
            both(lambda x: x.astype(np.int64) // 16),
            "are int64 from 0 to 15",
            "x_train = (x_train * (255 / 15)).round().astype('uint8')",
        ),
        (
            both(lambda x: x / 51 - 2.0),
            "are float64 from -2 to 3",
            "x_train = ((x_train - -2) * (255 / 5)).round().astype('uint8')",
        ),
        (both(lambda x: x.reshape(len(x), -1)[:, :75]), "images as rows", "x_train = x_train.reshape(-1, 3, 5, 5)"),
        (
            both(lambda x: np.concatenate([x, x[..., :1]], 3)),
            "of 4 channels, and images have 1 or 3",
            "x_train = x_train[..., :3]",
        ),
        (
            both(lambda x: np.moveaxis(np.concatenate([x, x[..., :1]], 3), 3, 1)),
            "of 4 channels, and images have 1 or 3",
            "x_train = x_train[:, :3]",
        ),
        (
            both(lambda x: np.where(x == 255, np.nan, x / 255.0)),
            "have values that are no numbers",
            "x_train = np.nan_to_num(x_train)",
        ),
        (
            {"y_test": np.array([0, 1, 2, 3, 4, 3])},
            "y_test has the label 3, which is none of the classes",
            "keep = np.isin(y_test, y_train); x_test, y_test = x_test[keep], y_test[keep]",
        ),
        (
            {"classes": np.array(CLASSES), **both(lambda y: y * 4, "y")},
            "y_train has labels from 0 to 8, but with 3 classes they must be 0 to 2, or 1 to 3",
            "y_train = np.unique(y_train, return_inverse=True)[1]",
        ),
    ],
)
def test_what_can_be_meant_in_several_ways_is_refused_with_a_line_that_converts_it(
    tmp_path: Path, changed: dict[str, Any], sentence: str, line: str
) -> None:
    file = saved(tmp_path, **changed)
    with pytest.raises(DataError, match=re.escape(sentence)) as refused:
        load(file)
    assert line in str(refused.value)
    assert str(file) in str(refused.value)
    given = dict(np.load(file))
    for name in ("train", "test"):  # what is said is done, and then it can be read
        if not line.startswith("keep") or name == "train":
            exec(line.replace("_train", f"_{name}") if not line.startswith("keep") else line, {"np": np}, given)  # noqa: S102
    if "reshape" in line:
        given |= {f"y_{name}": given[f"y_{name}"] for name in ("train", "test")}
    given = {key: value for key, value in given.items() if key in ("x_train", "y_train", "x_test", "y_test", "classes")}
    assert len(load(saved(tmp_path, **given)).classes) == 3


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_the_line_for_signed_numbers_does_what_it_says_with_few_bits(tmp_path: Path, dtype: type) -> None:
    span = np.iinfo(dtype)
    signed = both(lambda x: (x * ((span.max - span.min) / 255) + span.min).round().astype(dtype))
    with pytest.raises(DataError) as refused:
        load(saved(tmp_path, **signed))
    (line,) = re.findall(r"as in (.*) where", str(refused.value))
    given = dict(signed)
    exec(line, {}, given)  # noqa: S102
    assert np.array_equal(given["x_train"], arrays()["x_train"])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"x_test": arrays()["x_test"] / 255}, "x_train is uint8 and x_test is float64: save both in one way"),
        ({"y_test": np.array(["0", "1", "2"] * 2)}, "y_train is int64 and y_test is <U1: save both in one way"),
        ({"x_train": arrays()["x_train"].astype(str), "x_test": arrays()["x_test"].astype(str)}, "must be numbers"),
        (
            {"x_test": None, "y_test": None, "y_train": np.array([0] * 23 + [1])},
            "has no test split, and 24 images are too few to hold 20% of them out with every class on both sides",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=re.escape(sentence)):
        load(saved(tmp_path, **changed))


def test_bytes_that_are_dark_throughout_are_taken_and_said_to_be(tmp_path: Path) -> None:
    splits = load(saved(tmp_path, **both(lambda x: x // 16)))
    assert int(splits.train.pixels.max()) == 15
    assert "they are dark, 15 at the brightest where 255 is white" in splits.notes[0]
    assert "x_train = (x_train * (255 / 15)).round().astype('uint8')" in splits.notes[0]
    assert load(saved(tmp_path)).notes == ()


def test_arrays_that_a_network_is_asked_about_are_taken_likewise(tmp_path: Path) -> None:
    images = pixels(4, 6, 5, 3)
    wanted = read_images([saved_as(tmp_path, x=images)], (3, 6, 5)).pixels
    for form in (images / 255, np.moveaxis(images, 3, 1), images.astype(np.int32)):
        assert torch.equal(read_images([saved_as(tmp_path, x=form)], (3, 6, 5)).pixels, wanted)
    with pytest.raises(InvalidInput, match=r"x are float64 from -1 to 1"):
        read_images([saved_as(tmp_path, x=images / 127.5 - 1)], (3, 6, 5))


def saved_as(folder: Path, **given: Any) -> Path:
    np.savez(folder / "asked.npz", **given)
    return folder / "asked.npz"


def test_the_list_of_data_sets_says_what_such_a_file_has(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    first = {key: np.moveaxis(array, 3, 1) for key, array in both(lambda x: x).items()}
    np.savez(tmp_path / "data" / "first.npz", **arrays(**first))
    np.savez(tmp_path / "data" / "whole.npz", **arrays(x_test=None, y_test=None))
    listed = {status.name: status.images for status in list_data_sets()}
    assert (listed["first.npz"], listed["whole.npz"]) == ("24 + 6, 3 × 6 × 5", "24, 3 × 6 × 5")


# Folders


def write_folder(root: Path, counts: Mapping[str, int], seed: int = 0, ending: str = ".png", **options: Any) -> None:
    """A folder for each class, with so many images of 6 × 5."""
    for place, (name, number) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index, image in enumerate(pixels(number, 6, 5, 3, seed=10 * seed + place)):
            Image.fromarray(image).save(root / name / f"{index}{ending}", **options)


EVEN = dict.fromkeys(CLASSES, 10)


def test_a_folder_for_each_class_is_a_data_set_with_a_test_split_of_its_own(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", EVEN)
    splits = load(tmp_path / "pets")
    assert splits.classes == CLASSES
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 6, 6)
    assert splits.image_shape == (3, 6, 5)
    expected = {
        np.moveaxis(image, 2, 0).tobytes(): name
        for place, name in enumerate(CLASSES)
        for image in pixels(10, 6, 5, 3, seed=place)
    }
    assert everything(splits) == expected
    assert splits.notes == ("6 of 30 images were held out as the test split, the same for every seed",)


@pytest.mark.parametrize(
    ("folders", "note"),
    [
        (("train", "test"), None),
        (("Train", "Test"), None),
        (("train", "val"), "the folder val is the test split, and validation images are taken of train"),
        (("train", "test", "valid"), "the folder valid is left out, as validation images are taken of train"),
    ],
)
def test_folders_for_splits_are_the_splits(tmp_path: Path, folders: Sequence[str], note: str | None) -> None:
    for seed, folder in enumerate(folders):
        write_folder(tmp_path / "pets" / folder, dict.fromkeys(CLASSES, (8, 3, 4)[seed]), seed)
    splits = load(tmp_path / "pets")
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (24, 9)
    assert splits.notes == ((note,) if note else ())
    assert set(everything(splits).values()) == set(CLASSES)
    tested = {image.numpy().tobytes() for image in splits.test.pixels}
    assert np.moveaxis(pixels(3, 6, 5, 3, seed=10)[0], 2, 0).tobytes() in tested


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    write_folder(tmp_path / "numbers", {"10": 10, "9": 10, "1": 10})
    assert load(tmp_path / "numbers").classes == ("1", "9", "10")


def test_png_and_jpeg_are_read_alike_and_others_are_said_to_be_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", EVEN)
    write_folder(tmp_path / "more", {"cat": 4}, ending=".JPG", format="JPEG", quality=95)
    for index, file in enumerate((tmp_path / "more" / "cat").iterdir()):
        file.rename(tmp_path / "pets" / "cat" / f"photo{index}.JPG")
    (tmp_path / "pets" / "cat" / "moving.gif").write_bytes(b"GIF89a")
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("of a person")
    (tmp_path / "pets" / "cat" / "._0.png").write_bytes(b"of a Mac")
    splits = load(tmp_path / "pets")
    assert list(everything(splits).values()).count("cat") == 14
    assert splits.notes[0] == ("1 pictures in cat that are neither PNG nor JPEG, such as moving.gif, were left out")


def test_grey_images_stay_grey_unless_one_of_them_has_colours(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for index in range(5):
            Image.fromarray(pixels(1, 6, 5, seed=index)[0]).save(tmp_path / "grey" / name / f"{index}.png")
    assert load(tmp_path / "grey").image_shape == (1, 6, 5)
    Image.fromarray(pixels(1, 6, 5, 3)[0]).save(tmp_path / "grey" / "a" / "colour.png")
    mixed = load(tmp_path / "grey")
    assert mixed.image_shape == (3, 6, 5)
    assert mixed.notes[0] == "10 of 11 images are grey and became RGB as the others"


def test_grey_pictures_with_a_palette_are_grey_and_coloured_ones_are_not(tmp_path: Path) -> None:
    grey = Image.fromarray(pixels(1, 6, 5)[0])
    grey.convert("P").save(tmp_path / "grey.png")
    Image.fromarray(pixels(1, 6, 5, 3)[0]).quantize(8).save(tmp_path / "colours.png")
    looked = {name: Picture(name, tmp_path / name).look() for name in ("grey.png", "colours.png")}
    assert looked == {"grey.png": ((6, 5), True), "colours.png": ((6, 5), False)}
    assert np.array_equal(Picture("grey.png", tmp_path / "grey.png").read(1)[0][..., 0], np.asarray(grey))


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    write_folder(tmp_path / "vehicles", dict.fromkeys(("train", "bus", "car"), 10))
    vehicles = load(tmp_path / "vehicles")
    assert vehicles.classes == ("bus", "car", "train")
    assert vehicles.notes[0] == "the folder train is taken for a class, as those beside it are"


@pytest.mark.parametrize("others", [("test1",), ("test", "extra"), ("valid_images",), ()])
def test_pictures_of_splits_without_classes_are_not_taken_for_classes(tmp_path: Path, others: Sequence[str]) -> None:
    write_folder(tmp_path / "pets", dict.fromkeys(("train", *others), 10))
    if not others:
        (tmp_path / "pets" / ".hidden").mkdir()
    with pytest.raises(DataError, match="train has no folders with images, and each class is one"):
        load(tmp_path / "pets")


def test_the_size_of_a_png_is_known_from_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (6, 5)).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _image: pytest.fail("it was decoded"))
    assert Picture("a.png", tmp_path / "a.png").look() == ((5, 6), False)


def test_images_of_several_sizes_are_refused_with_the_setting_that_resizes_them(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", EVEN)
    Image.new("RGB", (20, 30), "white").save(tmp_path / "pets" / "dog" / "large.png")
    with pytest.raises(DataError) as refused:
        load(tmp_path / "pets")
    assert str(refused.value) == (
        f"the images of {tmp_path / 'pets'} have 2 sizes, from 6 × 5 to 30 × 20: have them resized to one, as with "
        "data.image_size=32"
    )
    splits = load(tmp_path / "pets", image_size=4)
    assert splits.image_shape == (3, 4, 4)
    assert splits.notes[0] == "31 of 31 images were resized to 4 × 4"


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_photo_stands_as_the_camera_says(tmp_path: Path, ending: str) -> None:
    write_folder(tmp_path / "pets", EVEN)
    lying = Image.new("RGB", (6, 5), "black")  # 5 × 6 pixels, which are 6 × 5 once they stand
    lying.paste((255, 255, 255), (0, 0, 3, 5))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "pets" / "owl" / f"photo.{ending}", exif=exif, quality=100)
    splits = load(tmp_path / "pets")
    assert splits.image_shape == (3, 6, 5)
    parts = torch.cat([splits.train.pixels, splits.validation.pixels, splits.test.pixels])
    (photo,) = [image for image in parts if bool((image[:, :2] > 200).all())]
    assert bool((photo[:, 4:] < 50).all())


def test_a_photo_with_further_pictures_behind_it_stands_as_the_camera_says(tmp_path: Path) -> None:
    lying, exif = Image.new("RGB", (6, 5), "white"), Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "photo.jpg", "MPO", exif=exif, save_all=True, append_images=[Image.new("RGB", (3, 2))])
    picture = Picture("photo.jpg", tmp_path / "photo.jpg")
    assert picture.look() == ((6, 5), False)
    assert picture.read(3)[0].shape == (6, 5, 3)


def test_a_picture_that_is_large_is_read_in_silence_and_one_that_is_too_large_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    picture = Picture("a.png", tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture.look() == ((30, 30), False)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(PictureError, match=r"a\.png is too large to be read .*: save it smaller"):
        picture.look()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_a_png_says_is_transparent_lies_on_black(tmp_path: Path, mode: str) -> None:
    white = 255 if mode == "L" else (255, 255, 255)
    image = Image.new(mode, (2, 1), "white")
    image.putpixel((1, 0), 40 if mode == "L" else (40, 40, 40))
    image.save(tmp_path / "a.png", transparency=white)
    pixels_read, _ = Picture("a.png", tmp_path / "a.png").read(1)
    assert pixels_read[..., 0].tolist() == [[0, 40]]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda root: (root / "cat" / "3.png").write_bytes(b"no picture"),
            r"cat/3\.png cannot be read as a PNG or JPEG",
        ),
        (
            lambda root: (root / "empty").mkdir(),
            r"the folder .*empty has no PNG or JPEG files, and each class is a folder",
        ),
        (
            lambda root: (root / "cat" / "inner").mkdir(),
            r"cat/inner is a folder where images of the class cat are meant",
        ),
        (lambda root: Image.new("I;16", (5, 6)).save(root / "cat" / "deep.png"), r"deep\.png has 16 bits per channel"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_by_the_file(
    tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    write_folder(tmp_path / "pets", EVEN)
    spoil(tmp_path / "pets")
    with pytest.raises(DataError, match=sentence):
        load(tmp_path / "pets")


def test_a_class_that_the_training_has_not_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets" / "train", EVEN)
    write_folder(tmp_path / "pets" / "test", {"cat": 2, "wolf": 2})
    with pytest.raises(DataError, match=r"pets/test has a class wolf, which .*pets/train has not: remove or add it"):
        load(tmp_path / "pets")


def test_a_folder_is_found_by_its_path_and_in_the_data_folder_and_hides_no_known_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "data" / "pets", EVEN)
    assert prepare("pets") == tmp_path / "data" / "pets"
    write_folder(tmp_path / "digits", EVEN)
    monkeypatch.chdir(tmp_path)
    assert load("digits").image_shape == (1, 8, 8)
    assert load("digits/").image_shape == (3, 6, 5)
    with pytest.raises(
        InvalidInput, match=r"is not a known data set.*, or name an \.npz or a \.parquet file, or a folder"
    ):
        load("nothing")


def test_a_folder_without_folders_is_refused_with_the_layout(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    with pytest.raises(
        DataError, match=r"flat has no folders with images, and each class is one: FOLDER/CLASS/image\.png"
    ):
        load(tmp_path / "flat")


# Parquet


def encoded(image: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(
    file: Path,
    number: int,
    seed: int = 0,
    labels: Sequence[Any] = (0, 1, 2),
    names: Sequence[str] | None = CLASSES,
    **more: Any,
) -> Path:
    """A file as a hub has it: a column of structs with bytes and paths, one of labels, the names in its metadata."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"bytes": encoded(image), "path": f"{k}.png"} for k, image in enumerate(pixels(number, 6, 5, 3, seed=seed))
    ]
    columns = {"image": images, "label": [labels[k % len(labels)] for k in range(number)], **more}
    table = pa.table({key: values for key, values in columns.items() if values is not None})
    if names is not None:
        features = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, file)
    return file


def test_a_parquet_file_of_a_hub_is_a_data_set_with_its_names(tmp_path: Path) -> None:
    splits = load(write_parquet(tmp_path / "pets.parquet", 24))
    assert splits.classes == CLASSES
    expected = {np.moveaxis(image, 2, 0).tobytes(): CLASSES[k % 3] for k, image in enumerate(pixels(24, 6, 5, 3))}
    assert everything(splits) == expected
    assert splits.notes == ("5 of 24 images were held out as the test split, the same for every seed",)


@pytest.mark.parametrize("folder", ["", "data"])
def test_the_files_of_a_folder_are_its_splits(tmp_path: Path, folder: str) -> None:
    for seed, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        write_parquet(tmp_path / "pets" / folder / f"{name}.parquet", 12, seed)
    splits = load(tmp_path / "pets")
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (24, 12)
    assert splits.notes == ()
    write_parquet(tmp_path / "pets" / folder / "validation-00000-of-00001.parquet", 6, 5)
    assert load(tmp_path / "pets").notes == (
        "validation-00000-of-00001.parquet is left out, as validation images are taken of the training's",
    )


def test_files_that_number_the_classes_otherwise_are_refused_and_one_may_know_fewer(tmp_path: Path) -> None:
    write_parquet(tmp_path / "pets" / "train.parquet", 24)
    write_parquet(tmp_path / "pets" / "test.parquet", 6, 1, labels=(0, 1), names=CLASSES[:2])
    assert load(tmp_path / "pets").classes == CLASSES
    write_parquet(tmp_path / "pets" / "test.parquet", 6, 1, labels=(0, 1), names=("cat", "owl"))
    with pytest.raises(DataError, match=r"the label 1 is called 'dog' in .*train\.parquet and 'owl' in another of its"):
        load(tmp_path / "pets")


def test_a_test_file_whose_labels_nobody_knows_is_to_be_left_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "pets" / "train.parquet", 24)
    write_parquet(tmp_path / "pets" / "test.parquet", 6, 1, labels=(-1,))
    with pytest.raises(DataError, match=r"y_test has the label -1, .*: leave such images out, or the file of a test"):
        load(tmp_path / "pets")


def test_labels_may_be_text_and_columns_be_called_otherwise_where_there_is_one_of_each(
    tmp_path: Path,
) -> None:
    file = write_parquet(tmp_path / "pets.parquet", 24, labels=CLASSES, names=None)
    assert load(file).classes == CLASSES
    assert "the labels 'cat', 'dog', 'owl' became 0 to 2" in load(file).notes
    pq.write_table(pq.read_table(file).rename_columns(["img", "species"]), file)
    assert load(file).classes == CLASSES
    categories = pa.array(CLASSES * 8).dictionary_encode()
    pq.write_table(pa.table({"image": pq.read_table(file)["img"], "label": categories}), file)
    assert load(file).classes == CLASSES, "as pandas writes categories"
    pq.write_table(pa.table({"image": pq.read_table(file)["image"], "label": [0.0, 1.0, 2.0] * 8}), file)
    assert load(file).classes == ("0", "1", "2")
    pq.write_table(pa.table({"img": pq.read_table(file)["image"], "species": list(CLASSES) * 8}), file)
    cells = [cell["bytes"] for cell in pq.read_table(file)["img"].to_pylist()]
    pq.write_table(pa.table({"img": cells, "species": pq.read_table(file)["species"]}), file)
    assert load(file).classes == CLASSES


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"label": None, "fine": [0, 1, 2] * 8, "coarse": [0, 1] * 12},
            "has several columns of whole numbers or text, fine, coarse, and none is called label: say which it is, as "
            "in pq.write_table(table.rename_columns(['image', 'label', 'coarse']), 'pets.parquet')",
        ),
        ({"image": None, "width": [0.5] * 24}, "has no column of bytes of images"),
        ({"label": [0, 1, None] * 8}, "row 2 of"),
        ({"label": [b"x"] * 24, "image": None}, "the column label of"),
        (
            {"image": [{"bytes": b"no picture", "path": "a.png"}] * 24},
            "pets.parquet cannot be read as a PNG or JPEG image",
        ),
    ],
)
def test_a_parquet_file_that_is_none_of_images_is_refused(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=re.escape(sentence)):
        load(write_parquet(tmp_path / "pets.parquet", 24, names=None, **more))


def test_a_file_that_is_no_parquet_and_one_of_no_split_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pets.parquet").write_bytes(b"PAR1 it says")
    with pytest.raises(DataError, match=r"pets\.parquet cannot be read as Parquet \(.*\): write it again"):
        load(tmp_path / "pets.parquet")
    for name in ("train-0", "others"):
        write_parquet(tmp_path / "pets" / f"{name}.parquet", 12)
    with pytest.raises(DataError, match=r"others\.parquet says of no split that it is of: call it train-… or test-…"):
        load(tmp_path / "pets")
