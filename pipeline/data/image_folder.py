"""A folder of images with a folder for each class, as torchvision's `ImageFolder` has it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Arrays
from pipeline.data.errors import DataError
from pipeline.data.forms import Forms, arrays_of_user
from pipeline.data.image_parquet import find_parquet, read_parquet
from pipeline.data.labels import in_order
from pipeline.data.pictures import Picture, by_format, read_pictures, told_of_others, visible_files

TRAIN = ("train", "training")
TEST = ("test", "testing")
VALIDATION = ("val", "valid", "validation")
LAYOUT = "FOLDER/CLASS/image.png, or FOLDER/train/CLASS/image.png and FOLDER/test/CLASS/image.png"


def read_folder(root: Path, forms: Forms) -> Arrays:
    """The images in the folders of a folder, which are the classes; or its Parquet files, in a hub's layout.

    Where there are a folder `train` and one `test`, they are the splits, and classes lie in them; with a folder `val`
    instead of `test` it is the test split.

    Raises:
        DataError: there are no such images, or they cannot be read; with what there is.
    """
    if files := find_parquet(root):
        return read_parquet(root, files, forms)
    notes: list[str] = []
    splits = _splits(root, notes)
    classes = in_order(folder.name for folder in _folders(splits["train"]))
    pictures: dict[str, Sequence[Picture]] = {}
    labels: dict[str, Sequence[str]] = {}
    for split, folder in splits.items():
        found = {name: _pictures(folder / name, notes) for name in in_order(one.name for one in _folders(folder))}
        pictures[f"x_{split}"] = [picture for of_class in found.values() for picture in of_class]
        labels[f"y_{split}"] = [name for name, of_class in found.items() for _ in of_class]
    for split, folder in splits.items():
        if strangers := set(labels[f"y_{split}"]) - set(classes):
            raise DataError(f"{folder} has a class {min(strangers)}, which {splits['train']} has not: remove or add it")
    pixels = read_pictures(root, pictures, forms.size, notes)
    given = {**pixels, **{key: np.array(names) for key, names in labels.items()}}
    arrays = arrays_of_user(root, given, tuple(classes), forms)
    return arrays.noting(*notes)


def _splits(root: Path, notes: list[str]) -> dict[str, Path]:
    """The folders with the classes of each split that there is."""
    folders = {folder.name.lower(): folder for folder in _folders(root)}
    train, test, validation = (
        next((folders[name] for name in names if name in folders), None) for names in (TRAIN, TEST, VALIDATION)
    )
    if train is None:
        return {"train": root}
    if _is_a_class(train, folders):
        notes.append(f"the folder {train.name} is taken for a class, as those beside it are")
        return {"train": root}
    if test is not None:
        if validation is not None:
            notes.append(f"the folder {validation.name} is left out, as validation images are taken of {train.name}")
        return {"train": train, "test": test}
    if validation is not None:
        notes.append(f"the folder {validation.name} is the test split, and validation images are taken of {train.name}")
        return {"train": train, "test": validation}
    return {"train": train}


def _is_a_class(train: Path, folders: Mapping[str, Path]) -> bool:
    """Whether a folder of that name has images itself, as those beside it have, none of which is called as a split."""
    others = [name for name in folders if name != train.name.lower()]
    are_splits = any(name.startswith((*TRAIN, *TEST, *VALIDATION)) for name in others)
    return bool(others) and not are_splits and not any(one.is_dir() for one in visible_files(train))


def _folders(folder: Path) -> list[Path]:
    found = [one for one in folder.iterdir() if one.is_dir() and not one.name.startswith((".", "__"))]
    if not found:
        raise DataError(f"{folder} has no folders with images, and each class is one: {LAYOUT}")
    return found


def _pictures(folder: Path, notes: list[str]) -> list[Picture]:
    """Those of one class, by their names."""
    files = visible_files(folder)
    if inner := next((file for file in files if file.is_dir()), None):
        raise DataError(f"{inner} is a folder where images of the class {folder.name} are meant: {LAYOUT}")
    found, others = by_format(files)
    if not found:
        has = f", and each class is a folder: {LAYOUT}"
        if others:
            has = f"; it has {told_of_others(others)}: convert them"
        raise DataError(f"the folder {folder} has no PNG or JPEG files{has}")
    if others:
        notes.append(
            f"{len(others)} pictures in {folder.name} that are neither PNG nor JPEG, such as {others[0].name}, were "
            "left out"
        )
    return [Picture(str(file), file) for file in found]
