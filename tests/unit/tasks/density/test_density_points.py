"""The points of a density: how they are split and prepared, and what is refused before a training begins."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config import ConfigError
from pipeline.data.errors import DataError
from pipeline.plugins.registry import forget, register
from pipeline.tasks.density.config import DensityConfig, DensityData
from pipeline.tasks.density.points import TEST, VALIDATION, find_source, load_points, load_test_points
from pipeline.tasks.density.preprocessing import Preprocessing
from pipeline.tasks.density.task import Density
from pipeline.util.errors import InvalidInput, OdenetError

ROWS = np.random.default_rng(0).normal([1, -2, 30], [1, 0.5, 10], size=(400, 3))


@pytest.fixture
def table(tmp_path: Path) -> str:
    np.savez(tmp_path / "table.npz", x=ROWS)
    return str(tmp_path / "table.npz")


def test_endless_data_have_the_same_test_points_for_every_seed_and_train_on_none_of_them() -> None:
    first, second = (load_points(DensityData(name="two_moons"), seed) for seed in (0, 1))
    assert torch.equal(first.test, second.test)
    assert first.sha256 == second.sha256
    assert (len(first.train), len(first.validation), len(first.test)) == (0, VALIDATION, TEST)
    assert first.sample is not None


def test_a_size_makes_endless_data_finite_by_the_seed() -> None:
    first, again, second = (load_points(DensityData(name="two_moons", size=50), seed) for seed in (0, 0, 1))
    assert first.sample is None
    assert first.train.shape == (50, 2)
    assert torch.equal(first.train, again.train)
    assert not torch.equal(first.train, second.train)


@pytest.mark.parametrize("size", [2000, 3000, 12_000])
def test_what_is_drawn_to_train_with_is_not_what_is_drawn_to_validate_and_test(size: int) -> None:
    data = load_points(DensityData(name="eight_gaussians", size=size), 0)
    trained = {tuple(point) for point in data.train.tolist()}
    assert not trained & {tuple(point) for point in [*data.validation.tolist(), *data.test.tolist()]}


@pytest.mark.parametrize("with_what", [{"dequantise": True}, {"noise": 0.05}])
def test_rows_get_the_noise_that_the_density_was_trained_with(tmp_path: Path, with_what: dict[str, Any]) -> None:
    counts = np.random.default_rng(0).poisson(3.0, size=(500, 2)).astype(float)
    np.savez(tmp_path / "counts.npz", x=counts)
    preprocessing = load_points(DensityData(name=str(tmp_path / "counts.npz"), **with_what), 0).preprocessing
    stored = Preprocessing.from_dict(preprocessing.to_dict(), None)
    assert stored == preprocessing
    noisy = stored.with_noise(counts, 0)
    assert len(np.unique(noisy[:, 0])) == len(noisy)
    assert np.array_equal(noisy, stored.with_noise(counts, 0))
    spread = (noisy - counts).std(0)
    expected = 1 / np.sqrt(12) if "dequantise" in with_what else 0.05 * counts.std(0)
    assert np.allclose(spread, expected, rtol=0.2)


def test_a_heap_that_dequantisation_does_not_spread_is_refused(tmp_path: Path) -> None:
    """As of a measurement that is 0 in a third of the rows."""
    random = np.random.default_rng(0)
    rain = np.where(random.random(3000) < 0.3, 0.0, random.exponential(size=3000))
    path = str(tmp_path / "rain.npz")
    np.savez(path, x=np.stack([rain, random.normal(size=3000)], axis=1))
    with pytest.raises(
        DataError, match=r"'column 0' with one value in up to 30% of the rows.*use data.noise=0.01 inst"
    ):
        load_points(DensityData(name=path, dequantise=True), 0)
    assert load_points(DensityData(name=path, noise=0.01), 0).preprocessing.deviations[0] > 0


def test_the_normalised_target_has_the_nll_of_its_samples() -> None:
    data = load_points(DensityData(name="potential_1"), 0)
    true_nll = data.true_nll()
    assert true_nll is not None
    assert data.log_density is not None
    line = (torch.arange(700, dtype=torch.float64) + 0.5) / 50 - 7
    total = data.log_density(torch.cartesian_prod(line, line)).exp().sum() / 2500
    assert float(total) == pytest.approx(1, abs=1e-3)


def test_a_table_is_split_by_the_seed_but_for_its_test_rows(table: str) -> None:
    first, second = (load_points(DensityData(name=table), seed) for seed in (0, 1))
    assert (len(first.train), len(first.validation), len(first.test)) == (288, 72, 40)
    assert first.sha256 == second.sha256
    assert sorted(map(tuple, first.preprocessing.rows(first.test).round(3))) == sorted(
        map(tuple, second.preprocessing.rows(second.test).round(3))
    )
    assert not torch.equal(first.validation, second.validation)
    assert len(load_points(DensityData(name=table, subset=100), 0).train) == 80


def test_columns_are_standardised_by_the_rows_that_are_trained_and_validated_on(table: str) -> None:
    data = load_points(DensityData(name=table), 0)
    known = torch.cat([data.train, data.validation]).double()
    assert known.mean(0).abs().max() < 1e-6
    assert (known.std(0, unbiased=False) - 1).abs().max() < 1e-6
    rows = data.preprocessing.rows(data.test)
    np.testing.assert_allclose(data.preprocessing.points(rows), data.test, atol=1e-6)
    assert data.preprocessing.log_scale == pytest.approx(sum(map(math.log, data.preprocessing.scale)))
    assert load_points(DensityData(name=table, standardise=False), 0).preprocessing.scale == ()


def test_preprocessing_is_restored_from_what_a_run_records(table: str) -> None:
    for config in (DensityData(name=table), DensityData(name="digits"), DensityData(name="two_moons")):
        preprocessing = load_points(config, 0).preprocessing
        assert Preprocessing.from_dict(preprocessing.to_dict(), config.logit) == preprocessing


def test_repeated_values_are_refused_or_filled_up_as_wide_as_their_gap(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[:, 1] = np.round(rows[:, 1], 1)
    np.savez(tmp_path / "t.npz", x=rows)
    name = str(tmp_path / "t.npz")
    with pytest.raises(DataError, match=r"'column 1' with up to 9.% repeated values"):
        load_points(DensityData(name=name), 0)
    data = load_points(DensityData(name=name, dequantise=True, standardise=False), 0)
    filled = torch.cat([data.train, data.validation, data.test])[:, 1].numpy()
    assert len(np.unique(filled)) == 400
    assert ((filled - np.floor(filled * 10 + 1e-4) / 10) < 0.1 + 1e-4).all()
    noisy = load_points(DensityData(name=name, noise=0.01), 0)
    assert len(np.unique(noisy.train[:, 1])) == len(noisy.train)


def test_digits_have_seventeen_levels_and_other_images_are_made_smaller() -> None:
    data = load_points(DensityData(name="digits"), 0)
    assert data.train.dtype == torch.uint8
    assert int(data.train.max()) == 16
    assert data.preprocessing.dequantisation is not None
    assert data.preprocessing.dequantisation.levels == 17
    assert (len(data.train) + len(data.validation), len(data.test)) == (1437, 360)
    np.testing.assert_array_equal(
        data.preprocessing.rows(data.test), load_points(DensityData(name="digits"), 5).preprocessing.rows(data.test)
    )


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "two_mons"}, InvalidInput, r"not a known data set of densities \(did you mean two_moons\?\)"),
        ({"name": "two_moons", "subset": 10}, ConfigError, "drawn without end: use data.size"),
        ({"name": "digits", "size": 10}, ConfigError, "has rows: use data.subset"),
        ({"name": "digits", "image_size": 14}, ConfigError, "8 × 8: use less"),
        ({"name": "two_moons", "image_size": 14}, ConfigError, "has no images"),
        ({"name": "digits", "subset": 2000}, ConfigError, "has 1437 rows"),
        ({"name": "digits", "subset": 1}, ConfigError, "too few for a data.validation_fraction"),
    ],
)
def test_settings_that_the_data_cannot_have_are_refused(changes: dict[str, object], error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        load_points(DensityData(**changes), 0)  # type: ignore[arg-type]


def test_a_table_without_test_rows_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x_train=ROWS, x_test=ROWS[:0])
    with pytest.raises(DataError, match="no rows to test with"):
        load_points(DensityData(name=str(tmp_path / "t.npz")), 0)


def test_other_test_rows_are_prepared_as_those_that_were_trained_on(table: str, tmp_path: Path) -> None:
    preprocessing = load_points(DensityData(name=table), 0).preprocessing
    np.savez(tmp_path / "more.npz", x=ROWS[:7])
    data = load_test_points(DensityData(name=str(tmp_path / "more.npz")), preprocessing)
    np.testing.assert_allclose(preprocessing.rows(data.test), ROWS[:7], atol=1e-5)
    np.savez(tmp_path / "more.npz", x=ROWS[:, :2])
    with pytest.raises(InvalidInput, match="has 2 columns, but the density is of 3"):
        load_test_points(DensityData(name=str(tmp_path / "more.npz")), preprocessing)
    with pytest.raises(InvalidInput, match="no points of the kind"):
        load_test_points(DensityData(name="digits"), preprocessing)
    with pytest.raises(InvalidInput, match="two_moons has points of a formula, and the density is of a table whose"):
        load_test_points(DensityData(name="two_moons"), preprocessing)


@pytest.mark.parametrize("data", [{}, {"noise": 0.1}])
def test_a_table_that_changed_is_prepared_as_it_was_trained_on(tmp_path: Path, data: dict[str, Any]) -> None:
    path, names = tmp_path / "mine.csv", ["a", "b", "c"]
    pd.DataFrame(ROWS, columns=names).to_csv(path, index=False)
    config = DensityConfig.from_dict({"data": {"name": str(path), **data}, "model": {"architecture": "gaussian"}})
    task = Density()
    trained_on = task.load_data(config)
    trained = task.restore(config, task.facts(config, trained_on), config.solver)
    pd.DataFrame(ROWS, columns=names)[["c", "a", "b"]].to_csv(path, index=False)
    same = task.evaluation_data(trained, None)
    assert torch.equal(same.test, trained_on.test)
    assert same.sha256 == trained_on.sha256
    pd.DataFrame(ROWS * 1000, columns=names).to_csv(path, index=False)
    changed = task.evaluation_data(trained, None)
    assert changed.preprocessing == trained_on.preprocessing
    assert changed.test[:, 2].mean() > 1000
    pd.DataFrame(ROWS[:, :2], columns=names[:2]).to_csv(path, index=False)
    with pytest.raises(InvalidInput, match="has 2 columns, but the density is of 3"):
        task.evaluation_data(trained, None)


def test_matching_a_density_that_is_not_known_is_refused() -> None:
    config = DensityConfig.from_dict({"data": {"name": "pinwheel"}, "flow": {"objective": "matching"}})
    with pytest.raises(ConfigError, match="the density of pinwheel is not known"):
        Density().load_data(config)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"log_density": lambda x: x, "box": [(-5, 5), (1, 2)]}, r"gives the shape \(2, 2\) for x of shape \(2, 2\)"),
        ({"log_density": lambda x: x.sum(1), "box": [(5, -5), (1, 2)]}, "give the lower end first"),
        ({"sample": lambda n: n}, r"sample\(n, random\) of the data set mine fails \(TypeError: .*takes 1 positional"),
        ({"sample": lambda n, random: random.normal(size=(n, 2)), "log_density": len}, r"gives the shape \(\)"),
    ],
)
def test_a_distribution_of_a_plugin_that_cannot_be_asked_is_refused(made: dict[str, object], said: str) -> None:
    register("data set", "mine", lambda: made, takes=(), task="density", summary="")
    try:
        with pytest.raises(OdenetError, match=said):
            find_source("mine", {})
    finally:
        forget(__file__)


@pytest.mark.parametrize("unit", [1e19, 1e200])
def test_values_that_float32_cannot_compute_with_are_refused(unit: float, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 2)) * [1, unit]
    np.savez(tmp_path / "large.npz", x=rows)
    with pytest.raises(DataError, match=r"the column 'column 1' with values beyond 1e\+18: give it in a larger unit"):
        load_points(DensityData(name=str(tmp_path / "large.npz")), 0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"solver": {"reuse_first_step": True}}, "which flows do not have"),
        ({"training": {"precision": "bf16"}}, "above the tolerances"),
        ({"regularisation": {"curvature": 0.1}}, "curvature is not for flows"),
        ({"regularisation": {"end_time_spread": 1.0}}, r"must be below flow\.final_time=1"),
        ({"training": {"compile": True}, "solver": {"control": "sample"}}, "can be compiled"),
    ],
)
def test_settings_that_a_density_cannot_have_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DensityConfig.from_dict(values)


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ({"field": "planar", "probes": 4}, "probes is 4, but the divergence is exact"),
        ({"field": "concat", "trace": "exact", "probes": 2}, "probes is 2, but the divergence is exact"),
    ],
)
def test_probes_where_the_trace_is_exact_are_refused_before_a_run(flow: dict[str, object], said: str) -> None:
    config = DensityConfig.from_dict({"flow": flow})
    task = Density()
    with pytest.raises(InvalidInput, match=said):
        task.facts(config, task.load_data(config))


def test_the_exact_trace_is_refused_where_it_costs_a_hundred_estimates(tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", x=np.random.default_rng(0).normal(size=(300, 220)))
    data = {"name": str(tmp_path / "wide.npz")}
    config = DensityConfig.from_dict({"data": data, "flow": {"field": "concat", "trace": "exact"}})
    task = Density()
    with pytest.raises(InvalidInput, match="costs about 110 times an estimate"):
        task.facts(config, task.load_data(config))
