"""Images by name: found or downloaded, split, put on the device, batched and preprocessed there."""

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
