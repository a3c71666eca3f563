"""Labels as people have them, as whole numbers from 0 with the names of their classes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.errors import DataError
from pipeline.util.errors import brief

NAMED = 4
"""Labels that a note names before it only gives the first and the last."""


def convert_labels(
    origin: Path, given: Mapping[str, NDArray[Any]], names: tuple[str, ...] | None, notes: list[str]
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Labels by the names of their arrays as int64 from 0, and the names of their classes.

    Text, numbers from 1 or with gaps, truth values, whole numbers stored with a point and rows with a single 1 are
    taken.

    Args:
        given: `y_train`, whose labels are the classes, and perhaps `y_test`.
        names: of the classes in the order of their labels; without it the labels are the names.
        notes: is given a sentence for what was done.

    Raises:
        DataError: labels that can be meant in several ways, or a test label that no training image has.
    """
    flat = {key: _flat(origin, key, array, notes) for key, array in given.items()}
    kinds = {array.dtype.kind for array in flat.values()}
    if len(kinds) > 1:
        said = " and ".join(f"{key} is {array.dtype}" for key, array in flat.items())
        raise DataError(f"{origin}: {said}: save both in one way")
    present, known = np.unique(flat["y_train"]), list[Any]()
    if kinds == {"U"}:
        known = list(names) if names is not None else in_order(present.tolist())
        if names is None:
            notes.append(f"the labels {_listed(known)} became {_numbers(len(known))}")
    elif names is None:
        known = present.tolist()
        if known != list(range(len(known))):
            notes.append(f"the labels {_listed(known)} became {_numbers(len(known))}, and are the names of the classes")
    else:
        known = _numbered(origin, present, names, notes)
    return {key: _positions(origin, key, array, known) for key, array in flat.items()}, names or tuple(map(str, known))


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of their labels: by the alphabet, or as numbers where all of them are numbers."""
    found = sorted(names)
    return sorted(found, key=int) if all(name.isascii() and name.isdecimal() for name in found) else found


def _numbered(origin: Path, present: NDArray[Any], names: tuple[str, ...], notes: list[str]) -> list[int]:
    """The whole numbers that the names stand for, in their order."""
    lowest, highest = int(present[0]), int(present[-1])
    if lowest >= 0 and highest < len(names):
        return list(range(len(names)))
    if lowest == 1 and highest == len(names):
        notes.append(f"labels from 1 to {highest} became {_numbers(highest)}")
        return list(range(1, highest + 1))
    line = "y_train = np.unique(y_train, return_inverse=True)[1]"
    raise DataError(
        f"{origin}: y_train has labels from {lowest} to {highest}, but with {len(names)} classes they must be 0 to "
        f"{len(names) - 1}, or 1 to {len(names)}: number them so, as in {line} where the names are in their order"
    )


def _positions(origin: Path, name: str, labels: NDArray[Any], known: list[Any]) -> NDArray[np.int64]:
    """The place of each label among the known ones."""
    places = {label: place for place, label in enumerate(known)}
    distinct, inverse = np.unique(labels, return_inverse=True)
    missing = [label for label in distinct.tolist() if label not in places]
    if missing:
        remedy = "correct it"
        if name == "y_test" and (origin.suffix == ".parquet" or origin.is_dir()):
            remedy = "leave such images out, or the file of a test split whose labels nobody knows"
        elif name == "y_test":
            line = "keep = np.isin(y_test, y_train); x_test, y_test = x_test[keep], y_test[keep]"
            remedy = f"leave such images out, as in {line}"
        raise DataError(f"{origin}: {name} has the label {brief(missing[0])}, which is none of the classes: {remedy}")
    found = np.array([places[label] for label in distinct.tolist()], dtype=np.int64)
    return found[inverse.reshape(-1)]


def _flat(origin: Path, name: str, labels: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """One label an image, whole numbers or text."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.size and _is_one_hot(labels):
        _note(notes, f"rows of {labels.shape[1]} with a single 1 became the place of the 1")
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or not labels.size:
        raise DataError(f"{origin}: {name} has shape {labels.shape}, but labels are one for each image, (n,)")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind in "fu" and not (np.abs(labels.astype(np.float64)) < 2.0**53).all():
        raise DataError(f"{origin}: {name} has labels that are no whole numbers below 2**53: correct them")
    if labels.dtype.kind == "b" or (labels.dtype.kind == "f" and (labels == np.rint(labels)).all()):
        _note(notes, f"labels stored as {labels.dtype} became whole numbers")
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "u":
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iU":
        raise DataError(f"{origin}: {name} must be whole numbers or text, not {labels.dtype}")
    return labels


def _is_one_hot(labels: NDArray[Any]) -> bool:
    if labels.dtype.kind not in "biuf":
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _note(notes: list[str], sentence: str) -> None:
    if sentence not in notes:  # of the other split
        notes.append(sentence)


def _listed(labels: list[Any]) -> str:
    words = [brief(label) if isinstance(label, str) else str(label) for label in labels]
    return ", ".join(words) if len(words) <= NAMED else f"{words[0]} to {words[-1]}"


def _numbers(count: int) -> str:
    return f"0 to {count - 1}" if count > 2 else "0 and 1"
