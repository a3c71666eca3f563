"""The points of a density: loaded by name, checked, split, and as the flow sees them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config import ConfigError, nearest
from pipeline.data.errors import DataError
from pipeline.data.points import Endless, LogDensity, Rows, Sample, Source, Target
from pipeline.data.tabular import (
    ENDINGS,
    Table,
    check_table,
    find_table,
    gaps,
    order_by_name,
    read_table,
    refuse_heaps,
    refuse_no_numbers,
    with_noise,
)
from pipeline.data.target_grid import TargetGrid
from pipeline.flows import Dequantisation
from pipeline.plugins import registry
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.tasks.density.config import DENSITY, DensityData
from pipeline.tasks.density.preprocessing import Preprocessing
from pipeline.util.array_types import FloatArray
from pipeline.util.errors import InvalidInput, OdenetError, brief, shortened

VALIDATION, TEST = 2000, 10_000
"""Points of the splits of endless data, the same for every seed."""
TEST_SHARE = 0.1
"""Of a table that is not split, the same rows for every seed."""


@dataclass(frozen=True, eq=False)
class DensityPoints:
    """The splits of what a density is learnt from.

    Attributes:
        name: of the data set.
        train: what is trained on: points, or an image's whole numbers (uint8), shape (n, D); of endless data none.
        validation, test: points.
        validation_slope, test_slope: log |dy/dx| of each, which its log-density is added to; zero but for images.
        is_drawn: by a formula, whether once or without end.
        sample: of endless data.
        log_density: of the data, where it is known, and whether up to a constant alone.
        sha256: of validation and test points, and of what there is to train on.
    """

    name: str
    train: Tensor
    validation: Tensor
    validation_slope: Tensor
    test: Tensor
    test_slope: Tensor
    preprocessing: Preprocessing
    sha256: str
    sample: Sample | None = None
    log_density: LogDensity | None = None
    is_drawn: bool = False

    @property
    def dimension(self) -> int:
        return self.preprocessing.dimension

    @property
    def test_items(self) -> int:
        return len(self.test)

    @property
    def device(self) -> torch.device:
        return self.test.device

    def to(self, device: torch.device) -> "DensityPoints":
        names = ("train", "validation", "validation_slope", "test", "test_slope")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def first(self, items: int) -> "DensityPoints":
        """With so many test points alone."""
        return replace(self, test=self.test[:items], test_slope=self.test_slope[:items])

    def test_sha256(self) -> str:
        """Of the test points as the flow sees them: by it the same points are known again."""
        return _sha256(self.test.cpu().numpy(), self.test_slope.cpu().numpy())

    def true_nll(self) -> float | None:
        """Mean of -log p of the test points by the density that they are of, in nats; None where it is unknown."""
        if self.log_density is None or not len(self.test):
            return None
        return -float(self.log_density(self.test).double().mean())


def load_points(config: DensityData, seed: int, known: Preprocessing | None = None) -> DensityPoints:
    """What `config` names, split by the seed, on the CPU.

    Args:
        known: of a trained density, by which a table is prepared instead of by its own rows.

    Raises:
        InvalidInput: an unknown name, or values that do not fit the data, or columns that do not fit what is known.
        DataError: the data are absent, damaged, or can have no density.
    """
    source = find_source(config.name, config.options)
    _refuse_unfit(config, source)
    if isinstance(source, Rows):
        return _of_images(config, source, seed) if source.levels else _of_table(config, source, seed, known)
    return _of_distribution(config, source, seed)


def load_test_points(config: DensityData, preprocessing: Preprocessing) -> DensityPoints:
    """The test points of another data set, prepared as a trained density wants them; of a table that is not split, all.

    Raises:
        InvalidInput: they are not of its kind, or have another number of columns.
        DataError: they cannot be read.
    """
    source, name = find_source(config.name, config.options), config.name
    if isinstance(source, Rows) and not source.levels and preprocessing.dequantisation is None:
        if name.endswith(ENDINGS) and (table := read_table(find_table(name))).test is None:
            source = replace(source, test=table.rows)
        return _test_rows(name, source, preprocessing)
    if preprocessing.scale and not isinstance(source, Rows):
        raise InvalidInput(
            f"{name} has points of a formula, and the density is of a table whose columns were standardised: choose a "
            "table"
        )
    points = load_points(config, 0)
    has_levels = points.preprocessing.dequantisation is not None
    if points.dimension != preprocessing.dimension or has_levels != (preprocessing.dequantisation is not None):
        raise InvalidInput(f"{name} has no points of the kind that the density is of: choose other data")
    return points


def _test_rows(name: str, source: Rows, preprocessing: Preprocessing) -> DensityPoints:
    source = _ordered(name, source, preprocessing)
    refuse_no_numbers(name, source.test, source.columns)
    test, none = preprocessing.points(preprocessing.with_noise(source.test, 0)), torch.zeros(0)
    slope = torch.zeros(len(test))
    return DensityPoints(name, test[:0], test[:0], none, test, slope, preprocessing, _sha256(source.test))


def _ordered(name: str, source: Rows, preprocessing: Preprocessing) -> Rows:
    """With the columns in the order in which they were trained on."""
    if source.test.shape[1] != preprocessing.dimension:
        raise InvalidInput(
            f"{name} has {source.test.shape[1]} columns, but the density is of {preprocessing.dimension}: choose a "
            "table with as many"
        )
    order = order_by_name(name, source.columns, preprocessing.columns)
    held_out = None if source.validation is None else source.validation[:, order]
    columns = preprocessing.columns or source.columns
    return replace(
        source, train=source.train[:, order], test=source.test[:, order], validation=held_out, columns=columns
    )


def find_source(name: str, options: Mapping[str, Any]) -> Source:
    """The rows or the distribution of that name, or of a file.

    Raises:
        InvalidInput: there is none.
        DataError: it cannot be read, or a plug-in gives something else.
    """
    if name.endswith(ENDINGS):
        return _split(read_table(find_table(name)))
    known = registry.names("data set", DENSITY)
    if name not in known:
        raise InvalidInput(
            f"{shortened(name, 100) or brief(name)} is not a known data set of densities{nearest(name, known)}; choose "
            f"from {', '.join(known)}, or name a table: .npz, .csv or .parquet"
        )
    part = registry.find("data set", name, DENSITY)
    made = part.built(**options)
    return made if isinstance(made, Source) else _of_plugin(part, made)


def _of_plugin(part: registry.Part, made: Any) -> Source:
    """What a plug-in's dictionary says."""
    if isinstance(made, Mapping) and "x_train" in made and "x_test" in made:
        arrays = [np.asarray(made[key], np.float64) for key in ("x_train", "x_test")]
        held_out = np.asarray(made["x_validation"], np.float64) if "x_validation" in made else None
        every = [*arrays, *([held_out] if held_out is not None else [])]
        if any(array.ndim != 2 or array.shape[1:] != arrays[0].shape[1:] for array in every):
            raise DataError(
                f"{part.where}: the arrays of the data set {part.name} must have the shape (n, D), of one D"
            )
        width = arrays[0].shape[1]
        names = made.get("columns", [f"column {number}" for number in range(width)])
        if len(names) != width:
            raise DataError(
                f"{part.where}: the data set {part.name} names {len(names)} columns and has {width}: name each of them"
            )
        return Rows(arrays[0], arrays[1], held_out, tuple(map(str, names)))
    if isinstance(made, Mapping) and callable(made.get("sample")):
        drawn = _tried(part, "sample(n, random)", _drawn, part.name, made["sample"], 2, np.random.default_rng(0))
        if callable(made.get("log_density")):
            _refuse_unless_one_each(part, made["log_density"], drawn)
        return Endless(made["sample"], made.get("log_density"))
    if isinstance(made, Mapping) and callable(made.get("log_density")) and len(made.get("box", ())) in (1, 2):
        box = tuple((float(low), float(high)) for low, high in made["box"])
        if any(not low < high for low, high in box):
            raise DataError(f"{part.where}: the box of the data set {part.name} is {box}: give the lower end first")
        _refuse_unless_one_each(part, made["log_density"], torch.tensor(box).T)
        return Target(made["log_density"], box)
    raise DataError(
        f"{part.where}: the data set {part.name} must return a dictionary with x_train and x_test; or with sample, and "
        "perhaps its log_density; or with log_density and its box, the ends of one or two axes"
    )


def _refuse_unless_one_each(part: registry.Part, log_density: LogDensity, rows: Tensor) -> None:
    values = _tried(part, "log_density(x)", log_density, rows)
    shape = tuple(getattr(values, "shape", ()))
    if shape != (len(rows),):
        raise DataError(
            f"{part.where}: log_density(x) of the data set {part.name} gives the shape {shape} for x of shape "
            f"{tuple(rows.shape)}: give a number a row, shape ({len(rows)},)"
        )


def _tried(part: registry.Part, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a plug-in's function gives; that it cannot be called so is found before a run begins."""
    try:
        with naming_plugin_failures():
            return function(*arguments)
    except OdenetError:
        raise
    except Exception as error:  # it does not take these arguments
        raise DataError(
            f"{part.where}: {what} of the data set {part.name} fails ({type(error).__name__}: {error})"
        ) from error


def _refuse_unfit(config: DensityData, source: Source) -> None:
    """Settings that the data cannot have."""
    is_rows, name = isinstance(source, Rows), config.name
    if config.size is not None and is_rows:
        raise ConfigError(f"data.size is for data without end, and {name} has rows: use data.subset")
    if config.subset is not None and not is_rows:
        raise ConfigError(f"data.subset is for rows, and {name} is drawn without end: use data.size")
    if config.image_size is not None and (not isinstance(source, Rows) or source.image_shape is None):
        raise ConfigError(f"data.image_size is {config.image_size}, and {name} has no images: leave it out")


# Distributions

TRAINING = 1
"""The stream of what is drawn to train with, beside those of validation and test, whose seed is always 0."""


def _of_distribution(config: DensityData, source: Endless | Target, seed: int) -> DensityPoints:
    sample, log_density = (source.sample, source.log_density) if isinstance(source, Endless) else _normalised(source)
    random = np.random.default_rng(0)
    validation, test = (_drawn(config.name, sample, n, random) for n in (VALIDATION, TEST))
    train = torch.zeros(0, test.shape[1])
    if config.size is not None:
        train = _drawn(config.name, sample, config.size, np.random.default_rng([seed, TRAINING]))
    return DensityPoints(
        name=config.name,
        train=train,
        validation=validation,
        validation_slope=torch.zeros(len(validation)),
        test=test,
        test_slope=torch.zeros(len(test)),
        preprocessing=Preprocessing(test.shape[1]),
        sha256=_sha256(validation.numpy(), test.numpy()),
        sample=sample if config.size is None else None,
        log_density=log_density,
        is_drawn=True,
    )


def _normalised(target: Target) -> tuple[Sample, LogDensity]:
    grid = TargetGrid.of(target)
    return grid.sample, lambda x: target.log_density(x) - grid.log_normaliser


def _drawn(name: str, sample: Sample, n: int, random: np.random.Generator) -> Tensor:
    points = np.asarray(sample(n, random))
    if points.ndim != 2 or len(points) != n or points.dtype.kind != "f" or not np.isfinite(points).all():
        raise DataError(
            f"{name} must give {n} points, finite numbers of shape ({n}, D), not {points.dtype} of shape {points.shape}"
        )
    return torch.from_numpy(points.astype(np.float32))


# Rows


def _split(table: Table) -> Rows:
    """A table with its own test rows, or a tenth of it by a seed that is always the same."""
    if table.test is not None:
        return Rows(table.rows, table.test, table.validation, columns=table.columns)
    order = np.random.default_rng(0).permutation(len(table.rows))
    tests = round(TEST_SHARE * len(order))
    return Rows(table.rows[order[tests:]], table.rows[order[:tests]], columns=table.columns)


def _of_table(config: DensityData, source: Rows, seed: int, known: Preprocessing | None) -> DensityPoints:
    if known is not None:
        source = _ordered(config.name, source, known)
    train, validation = _parted(config, source, seed)
    test = source.test
    widths: FloatArray = np.zeros(0)
    deviations: FloatArray = np.zeros(0)
    if not len(test):
        raise DataError(f"{config.name} has no rows to test with: give x_test some, or a table of ten rows at least")
    if not source.is_published:
        everything = np.concatenate([train, validation])
        check_table(config.name, everything, source.columns, config.dequantise or config.noise > 0)
        refuse_no_numbers(f"the test rows of {config.name}", test, source.columns)
        widths = gaps(everything) if config.dequantise else np.zeros(everything.shape[1])
        if config.noise == 0:
            refuse_heaps(config.name, everything, source.columns, widths)
        deviations = config.noise * everything.std(0)
        if known is not None and known.widths:  # earlier versions did not store them
            widths, deviations = np.array(known.widths), np.array(known.deviations)
        random = np.random.default_rng(0)
        train, validation, test = (with_noise(part, widths, deviations, random) for part in (train, validation, test))
    elif config.dequantise or config.noise:
        raise ConfigError(f"{config.name} is prepared as published: leave out data.dequantise and data.noise")
    rows, is_scaled = np.concatenate([train, validation]), config.standardise and not source.is_published
    preprocessing = known or Preprocessing(
        rows.shape[1],
        source.columns,
        tuple(rows.mean(0).tolist()) if is_scaled else (),
        tuple(rows.std(0).tolist()) if is_scaled else (),
        widths=tuple(widths.tolist()),
        deviations=tuple(deviations.tolist()),
    )
    points = [preprocessing.points(part) for part in (train, validation, test)]
    return _with_splits(config.name, source, points, preprocessing)


def _parted(config: DensityData, source: Rows, seed: int) -> tuple[Any, Any]:
    """The rows to train with and those held out, by the seed; fewer of both with `data.subset`."""
    random = np.random.default_rng(seed)
    rows = source.train
    if config.subset is not None and config.subset > len(rows):
        raise ConfigError(f"data.subset is {config.subset} but {config.name} has {len(rows)} rows to train with")
    chosen = random.permutation(len(rows))[: config.subset]
    if source.validation is not None:
        held_out = source.validation
        if config.subset is not None:
            most = max(1, round(config.subset * config.validation_fraction))
            held_out = held_out[random.permutation(len(held_out))[:most]]
        return rows[chosen], held_out
    held = round(config.validation_fraction * len(chosen))
    if held < 1 or held >= len(chosen):
        raise ConfigError(
            f"{len(chosen)} rows of {config.name} are too few for a data.validation_fraction of "
            f"{config.validation_fraction:g}: take more rows"
        )
    return rows[chosen[held:]], rows[chosen[:held]]


def _of_images(config: DensityData, source: Rows, seed: int) -> DensityPoints:
    assert source.levels is not None
    assert source.image_shape is not None
    train, validation = _parted(config, source, seed)
    shape, size = source.image_shape, config.image_size
    parts = [torch.from_numpy(np.asarray(part)) for part in (train, validation, source.test)]
    if size is not None and size > shape[1]:
        raise ConfigError(
            f"data.image_size is {size}, and the images of {config.name} are {shape[1]} × {shape[2]}: use less"
        )
    if size is not None:
        parts, shape = [_smaller(part, shape, size) for part in parts], (shape[0], size, size)
    preprocessing = Preprocessing(
        parts[0].shape[1], dequantisation=Dequantisation(source.levels, config.logit), image_shape=shape
    )
    return _with_splits(config.name, source, parts, preprocessing)


def resized(source: Rows, size: int | None) -> Rows:
    """The test rows of images of so many pixels across; others as they are."""
    if size is None or source.image_shape is None or size >= source.image_shape[1]:
        return source
    return replace(source, test=_smaller(torch.from_numpy(np.asarray(source.test)), source.image_shape, size).numpy())


def _smaller(images: Tensor, shape: tuple[int, int, int], size: int) -> Tensor:
    """Means of pixels, rounded to whole numbers, shape (n, channels · size²)."""
    pixels = images.reshape(-1, *shape).float()
    return functional.adaptive_avg_pool2d(pixels, size).round().to(torch.uint8).flatten(1)


def _with_splits(name: str, source: Rows, parts: list[Tensor], preprocessing: Preprocessing) -> DensityPoints:
    """Of the parts for training, validation and test; those of images get their noise by one seed for all runs."""
    train, *others = parts
    slopes = [torch.zeros(len(part)) for part in others]
    if source.levels is not None:
        generator = torch.Generator().manual_seed(0)
        drawn = [preprocessing.dequantised(part, generator) for part in others]
        others, slopes = [points for points, _ in drawn], [slope for _, slope in drawn]
    whole = [part for part in (source.train, source.validation, source.test) if part is not None]
    sha256 = _sha256(*(np.asarray(part) for part in whole))
    return DensityPoints(name, train, others[0], slopes[0], others[1], slopes[1], preprocessing, sha256)


def _sha256(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
