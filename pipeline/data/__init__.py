"""Images by name: found or downloaded, split, put on the device, batched and preprocessed there."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.data.catalogue import DataSetStatus, list_data_sets
    from pipeline.data.download import prepare
    from pipeline.data.errors import DataError
    from pipeline.data.images import Images, batches
    from pipeline.data.preprocessing import Preprocessing, build_preprocessing
    from pipeline.data.splits import Splits, load_splits

__all__ = [
    "DataError",
    "DataSetStatus",
    "Images",
    "Preprocessing",
    "Splits",
    "batches",
    "build_preprocessing",
    "list_data_sets",
    "load_splits",
    "prepare",
]

_MODULES = {
    "DataError": "errors",
    "DataSetStatus": "catalogue",
    "Images": "images",
    "Preprocessing": "preprocessing",
    "Splits": "splits",
    "batches": "images",
    "build_preprocessing": "preprocessing",
    "list_data_sets": "catalogue",
    "load_splits": "splits",
    "prepare": "download",
}
"""Imported when they are asked for: to list the data sets needs no torch, which takes a second to import."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeline.data' has no attribute {name!r}")
    return getattr(import_module(f"pipeline.data.{_MODULES[name]}"), name)
