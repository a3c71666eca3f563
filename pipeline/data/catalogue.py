"""The data sets of images that have a name, and where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import nearest
from pipeline.data.arrays import Arrays
from pipeline.data.errors import DataError
from pipeline.data.forms import Forms, arrays_of_user
from pipeline.data.layout import TorchvisionLayout
from pipeline.data.npz import describe_npz, read_npz
from pipeline.plugins import registry
from pipeline.util.errors import InvalidInput, brief, shortened
from pipeline.util.paths import data_folder

TASK = registry.DEFAULT_TASK
FILES = (".npz", ".parquet")
"""Endings of the files that have images."""
LONGEST_NAME = 200
"""Characters up to which any folder can be called something."""


@dataclass(frozen=True)
class DataSetStatus:
    """One line of the list of data sets."""

    name: str
    present: bool
    where: Path | None
    images: str
    """Training and test items and their size, as channels × height × width: '60000 + 10000, 1 × 28 × 28'."""
    note: str
    task: str = TASK


def layout_of(name: str) -> TorchvisionLayout | None:
    """The layout of a data set that is downloaded; None for one that a function makes, or an `.npz`."""
    build = registry.find("data set", name, TASK).build if name in registry.names("data set", TASK) else None
    return build if isinstance(build, TorchvisionLayout) else None


def find(name: str) -> Path | None:
    """Where data set `name` lies: a folder, a file, or the file whose function makes it; None: to be downloaded.

    Raises:
        InvalidInput: `name` is neither known nor a file or a folder that is there.
    """
    if name.endswith(FILES):
        return _find_file(name)
    known = registry.names("data set", TASK)
    if name not in known:
        if (folder := _find_folder(name)) is not None:
            return folder
        if "/" in name:
            raise InvalidInput(f"there is no folder {shortened(name, 100)}, neither here nor in {data_folder()}")
        raise InvalidInput(
            f"{shortened(name, 100) or brief(name)} is not a known data set{nearest(name, known)}; "
            f"choose from {', '.join(known)}, or name an .npz or a .parquet file, or a folder of images; a plug-in's "
            "is known with --plugin FILE"
        )
    layout, root = layout_of(name), data_folder()
    if layout is None:
        return Path(registry.find("data set", name, TASK).where.rpartition(":")[0])
    if not layout.missing(root):
        return root / layout.folder
    npz = root / f"{name}.npz"
    return npz if npz.is_file() else None


def is_of_user(name: str) -> bool:
    """Whether a data set is a file or a folder of somebody's own, and none that has a name."""
    return name.endswith(FILES) or name not in registry.names("data set", TASK)


def read(name: str, where: Path, options: Mapping[str, Any] | None = None, forms: Forms = Forms()) -> Arrays:  # noqa: B008 - frozen
    """The arrays of data set `name`, which `find` found at `where`.

    Args:
        options: of a plug-in's data set.
        forms: what is open where images do not come as arrays that are split.

    Raises:
        DataError: what lies there is damaged or inconsistent.
    """
    layout = layout_of(name)
    try:
        if where.suffix == ".npz":
            return read_npz(where, layout.classes if layout else None, forms)
        if layout is not None:
            return layout.read(where.parent)
        if not is_of_user(name):
            return _made(name, where, options or {}, forms)
        # Here, as to list the data sets needs no library of pictures.
        from pipeline.data.image_folder import read_folder
        from pipeline.data.image_parquet import read_parquet

        return read_folder(where, forms) if where.is_dir() else read_parquet(where, [where], forms)
    except OSError as error:
        raise DataError(f"{name} cannot be read from {where}: {error.strerror or error}") from error


def list_data_sets() -> list[DataSetStatus]:
    """The known data sets, present or not: images, every other `.npz` in the data folder, and those of other tasks."""
    known = registry.names("data set", TASK)
    others = [path.name for path in sorted(data_folder().glob("*.npz")) if path.stem not in known]
    of_other_tasks = [
        (name, task)
        for name in registry.names("data set")
        for task in registry.tasks_of("data set", name)
        if task != TASK
    ]
    return [
        _status_or_reason(name, task) for name, task in [*((name, TASK) for name in [*known, *others]), *of_other_tasks]
    ]


def _status_or_reason(name: str, task: str) -> DataSetStatus:
    """One bad data set, whatever is wrong with it, hides no other."""
    try:
        return _status(name) if task == TASK else _status_of_other_task(name, task)
    except Exception as error:
        return DataSetStatus(name, False, None, "", shortened(f"it cannot be read ({error})", 300), task)


def _status_of_other_task(name: str, task: str) -> DataSetStatus:
    part = registry.find("data set", name, task)
    facts = part.facts
    where = facts["where"]() if facts["where"] else None
    return DataSetStatus(name, not facts["where"] or where is not None, where, facts["summary"], facts["origin"], task)


def _status(name: str) -> DataSetStatus:
    where, layout = find(name), layout_of(name)
    if where is None:
        return DataSetStatus(
            name, False, None, layout.images if layout else "", f"odenet data prepare {name} downloads it"
        )
    try:
        if where.suffix == ".npz":
            return DataSetStatus(name, True, where, describe_npz(where), "arrays in an .npz")
        if layout is not None:
            return DataSetStatus(name, True, where, layout.describe(where.parent), "torchvision's layout")
        part = registry.find("data set", name, TASK)
        note = "comes with scikit-learn" if part.is_shipped else "made by a plug-in"
        return DataSetStatus(name, True, where, part.facts["summary"], note)
    except (DataError, OSError) as error:
        return DataSetStatus(name, False, where, "", str(error))


def _made(name: str, where: Path, options: Mapping[str, Any], forms: Forms) -> Arrays:
    """What the function of a data set makes, checked."""
    part = registry.find("data set", name, TASK)
    made = part.build(**options)
    if isinstance(made, Arrays):
        return made
    needed = ("x_train", "y_train", "x_test", "y_test")
    if not isinstance(made, Mapping) or any(key not in made for key in needed):
        raise DataError(f"{part.where}: the data set {name} must return a dictionary with {', '.join(needed)}")
    arrays = {key: np.asarray(made[key]) for key in needed}
    classes = tuple(map(str, made["classes"])) if "classes" in made else None
    checked = arrays_of_user(where, arrays, classes, forms)
    _refuse_unless_as_declared(part, checked)
    return checked


def _refuse_unless_as_declared(part: registry.Part, made: Arrays) -> None:
    """What it says of itself without being read, models are built by."""
    height, width, channels = made.x_train.shape[1:]
    found = {"shape": (channels, height, width), "classes": len(made.classes)}
    for what, is_so in found.items():
        declared = part.facts.get(what)
        if declared is not None and (tuple(declared) if what == "shape" else declared) != is_so:
            raise DataError(
                f"{part.where}: the data set {part.name} has {what}={is_so}, but says {declared}: correct it"
            )


def _find_file(name: str) -> Path:
    for path in (Path(name).expanduser(), data_folder() / name):
        if path.is_file():
            return path.absolute()
    raise InvalidInput(f"there is no file {name}, neither here nor in {data_folder()}")


def _find_folder(name: str) -> Path | None:
    if not name.strip() or len(name) > LONGEST_NAME or "\0" in name:
        return None
    folders = (Path(name).expanduser(), data_folder() / name)
    return next((path.absolute() for path in folders if path.is_dir()), None)
