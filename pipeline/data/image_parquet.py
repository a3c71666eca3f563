"""Images in Parquet files, in the layout of a hub: a row an image, with its bytes and its label."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.arrays import Arrays
from pipeline.data.errors import DataError
from pipeline.data.forms import Forms, arrays_of_user
from pipeline.data.pictures import Picture, read_pictures
from pipeline.util.errors import brief, shortened

IMAGE, LABEL = "image", "label"
"""The columns, unless there is one alone that can be each."""
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
VALIDATION = ("validation", "valid", "val", "dev")
_FEATURES = b"huggingface"
"""The entry of a file's metadata that has the names of the classes."""


def find_parquet(root: Path) -> list[Path]:
    """The Parquet files in a folder, or in its folder `data`."""
    return sorted(root.glob("*.parquet")) or sorted((root / "data").glob("*.parquet"))


def read_parquet(origin: Path, files: Sequence[Path], forms: Forms) -> Arrays:
    """The images of files whose names begin with their splits, as `test-00000-of-00001.parquet`.

    Raises:
        DataError: they cannot be read, or which columns are meant is not certain.
    """
    notes: list[str] = []
    splits = _splits(files, notes)
    pictures: dict[str, Sequence[Picture]] = {}
    given: dict[str, Any] = {}
    classes: tuple[str, ...] | None = None
    for split, of_split in splits.items():
        found: list[Picture] = []
        labels: list[Any] = []
        for file in of_split:
            images, of_file, named = _read_file(file)
            classes = _same_names(file, classes or (), named or ()) or None
            found += images
            labels += of_file
        pictures[f"x_{split}"], given[f"y_{split}"] = found, np.array(labels)
    given |= read_pictures(origin, pictures, forms.size, notes)
    return arrays_of_user(origin, given, classes, forms).noting(*notes)


def _splits(files: Sequence[Path], notes: list[str]) -> dict[str, list[Path]]:
    """Split -> its files; all of them for training where none says that it is."""
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(_split_of(file), []).append(file)
    if "train" not in found:
        return {"train": list(files)}
    validation = found.pop("validation", [])
    others = found.pop("", [])
    if others:
        raise DataError(f"{others[0]} says of no split that it is of: call it train-… or test-…, or move it away")
    if validation and "test" in found:
        notes.append(f"{validation[0].name} is left out, as validation images are taken of the training's")
    elif validation:
        notes.append(f"{validation[0].name} is the test split, and validation images are taken of the training's")
        found["test"] = validation
    return found


def _split_of(file: Path) -> str:
    first = file.stem.split("-")[0].split("_")[0].lower()
    return "validation" if first in VALIDATION else SPLITS.get(first, "")


def _read_file(file: Path) -> tuple[list[Picture], list[Any], tuple[str, ...] | None]:
    """Its images, their labels, and the names of the classes where it says them."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError:
        raise DataError(
            f"{file} is Parquet, which needs pyarrow: pip install 'odenet-pipeline[parquet]', or give a folder instead"
        ) from None
    try:
        with pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            columns = {one.name: one.type for one in schema}
            image = _image_column(file, columns, pa)
            label = _label_column(file, columns, pa)
            table = opened.read(columns=[image, label])
            labels, cells = table[label].to_pylist(), table[image].to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read as Parquet ({shortened(str(error), 200)}): write it again") from error
    contents: list[Any] = [cell.get("bytes") if isinstance(cell, dict) else cell for cell in cells]
    for number, (content, of_image) in enumerate(zip(contents, labels, strict=True)):
        if not content or of_image is None:
            what = "label" if content else "bytes of an image (a path alone says nothing here)"
            raise DataError(f"row {number} of {file} has no {what}: fill it in, or leave the row out")
    names = _class_names((schema.metadata or {}).get(_FEATURES), label)
    return [Picture(f"image {number} of {file}", content) for number, content in enumerate(contents)], labels, names


def _same_names(file: Path, known: tuple[str, ...], named: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the classes, of this file and those before it; one may have further ones behind those of another."""
    for label, (name, other) in enumerate(zip(named, known, strict=False)):
        if name != other:
            raise DataError(
                f"the label {label} is called {brief(name)} in {file} and {brief(other)} in another of its files: "
                "number the classes alike in all, as datasets' align_labels_with_mapping does"
            )
    return max(known, named, key=len)


def _image_column(file: Path, columns: dict[str, Any], pa: Any) -> str:
    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [name for name, kind in columns.items() if holds_bytes(kind)]
    return _one_of(file, IMAGE, "bytes of images", found, columns)


def _label_column(file: Path, columns: dict[str, Any], pa: Any) -> str:
    def is_label(kind: Any) -> bool:
        if pa.types.is_dictionary(kind):  # as pandas writes categories
            return is_label(kind.value_type)
        return bool(
            pa.types.is_integer(kind)
            or pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_boolean(kind)
        )

    found = [name for name, kind in columns.items() if is_label(kind)]
    if LABEL not in found and LABEL in columns:
        if pa.types.is_floating(columns[LABEL]):  # which are looked at where labels are converted
            return LABEL
        raise DataError(f"the column {LABEL} of {file} has {columns[LABEL]}: give whole numbers or text")
    return _one_of(file, LABEL, "whole numbers or text", found, columns)


def _one_of(file: Path, wanted: str, what: str, found: Sequence[str], columns: Iterable[str]) -> str:
    if wanted in found:
        return wanted
    if len(found) == 1:
        return found[0]
    has = f"several columns of {what}, {', '.join(found)}" if found else f"no column of {what}"
    names = [wanted if name == (found or [""])[0] else name for name in columns]
    line = f"pq.write_table(table.rename_columns({names}), '{file.name}')" if found else f"a column {wanted}"
    raise DataError(f"{file} has {has}, and none is called {wanted}: say which it is, as in {line}")


def _class_names(features: bytes | None, label: str) -> tuple[str, ...] | None:
    """The names of the classes that a file's metadata gives; None where they are not there, or not as expected."""
    try:
        names = json.loads(features or b"{}")["info"]["features"][label]["names"]
    except (ValueError, LookupError, TypeError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
