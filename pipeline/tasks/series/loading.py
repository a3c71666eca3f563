"""Data sets of series by name, or from a user's file."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.config import nearest
from pipeline.data.errors import DataError
from pipeline.data.long_format import ENDINGS, read_long_format
from pipeline.data.series_set import SeriesSet, checked, from_mapping
from pipeline.plugins import registry
from pipeline.tasks.series.config import SeriesDataConfig
from pipeline.util.errors import InvalidInput, brief, shortened
from pipeline.util.paths import data_folder, named_path


def load_series_set(config: SeriesDataConfig, *, may_lack_channels: bool = False) -> SeriesSet:
    """The data set that `config.name` names.

    Args:
        may_lack_channels: see `pipeline.data.series_set.checked`.

    Raises:
        InvalidInput: there is none of this name.
        DataError: it is missing, or not what a model can learn from.
    """
    name = config.name
    if name.endswith(ENDINGS):
        return read_long_format(_find_file(name), may_lack_channels=may_lack_channels)
    known = registry.names("data set", "series")
    if name not in known:
        raise InvalidInput(
            f"{shortened(name, 100) or brief(name)} is not a known data set of series{nearest(name, known)}; choose "
            f"from {', '.join(known)}, or name a .csv, .parquet or .npz file"
        )
    part = registry.find("data set", name, "series")
    made = part.built(**config.options)
    if isinstance(made, Mapping):
        made = from_mapping(name, made)
    if not isinstance(made, SeriesSet):
        raise DataError(f"{part.where}: the data set {name} must return a dictionary with series, time and values")
    return checked(name, made, may_lack_channels=may_lack_channels)


def _find_file(name: str) -> Path:
    for path in (named_path(name, "file of series"), data_folder() / name):
        if path.is_file():
            return path
    raise InvalidInput(f"there is no file {name}, neither here nor in {data_folder()}: correct its name")
