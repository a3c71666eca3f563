"""POWER and the other published tables, from small files of their formats."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.data import published_tables
from pipeline.data.errors import DataError
from pipeline.data.power import DAY, MEASURED, find_power, prepare_power, read_power
from pipeline.data.power import ORIGINAL as POWER_FILE
from pipeline.flows import Gaussian


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ODENET_DATA", str(tmp_path))
    return tmp_path


def lay(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def measured(minutes: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    values = pd.DataFrame(random.random((minutes, 7)).round(3), columns=list(MEASURED))
    times = pd.date_range("2006-12-16 17:24", periods=minutes, freq="min")
    return values.assign(Date=times.strftime("%d/%m/%Y"), Time=times.strftime("%H:%M:%S"), whole=times.astype(str))


def test_the_original_file_and_the_package_with_filled_gaps_give_the_same_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, gap = measured(2 * DAY), slice(DAY + 10, DAY + 60)
    original = table.copy().astype(dict.fromkeys(MEASURED, object))
    original.loc[original.index[gap], list(MEASURED)] = "?"
    original[["Date", "Time", *MEASURED]].to_csv(folder / POWER_FILE, sep=";", index=False)
    from_original = read_power()
    (folder / POWER_FILE).unlink()
    packaged = table.copy()
    packaged.loc[packaged.index[gap], list(MEASURED)] = table.loc[table.index[10:60], list(MEASURED)].to_numpy()
    packaged.rename(columns={"whole": "date_time"})[["date_time", *MEASURED]].to_csv(folder / "p.csv", index=False)
    monkeypatch.setattr("pipeline.data.power.find_power", lambda: folder / "p.csv")
    from_package = read_power()
    assert sum(len(part) for part in (from_original.train, from_original.test)) > 2 * DAY * 0.8
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(from_original, name), getattr(from_package, name))


def test_power_is_split_and_standardised_as_published() -> None:
    rows = prepare_power(np.random.default_rng(0).random((1000, 8)))
    assert rows.validation is not None
    assert [len(rows.train), len(rows.validation), len(rows.test)] == [810, 90, 100]
    known = np.concatenate([rows.train, rows.validation])
    np.testing.assert_allclose(known.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(known.std(0), 1, atol=1e-12)


def test_a_file_of_power_that_is_something_else_is_refused_with_where_it_is_from(folder: Path) -> None:
    lay(folder / POWER_FILE, "a;b\n1;2\n")
    with pytest.raises(DataError, match=r"is not the household's power consumption .*archive\.ics\.uci"):
        read_power()


@pytest.mark.slow
@pytest.mark.skipif(find_power() is None, reason="needs POWER: pip install 'odenet-pipeline[power]'")
def test_a_gaussian_scores_on_power_what_papamakarios_et_al_print() -> None:
    rows = read_power()
    assert rows.validation is not None
    assert [len(rows.train), len(rows.validation), len(rows.test)] == [1_659_900, 184_433, 204_925]
    density = Gaussian(6).fit(torch.from_numpy(rows.train))
    found = float(density.log_prob(torch.from_numpy(rows.test).float()).value.detach().double().mean())
    assert found == pytest.approx(-7.73, abs=0.03)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("miniboone", "miniboone/data.npy"),
        ("hepmass", "hepmass/1000_train.csv"),
        ("gas", "gas/ethylene_CO.txt"),
        ("bsds300", "BSDS300/BSDS300.hdf5"),
    ],
)
def test_a_missing_original_file_is_asked_for_by_name_and_address(folder: Path, name: str, file: str) -> None:
    with pytest.raises(DataError, match=rf"{name} is not here: there is no {file} in {folder} .*https://"):
        getattr(published_tables, f"read_{name}")()


def test_miniboone_is_split_in_its_order(folder: Path) -> None:
    (folder / "miniboone").mkdir()
    np.save(folder / "miniboone" / "data.npy", np.random.default_rng(0).normal(3, 2, (1000, 43)))
    rows = published_tables.read_miniboone()
    assert rows.validation is not None
    assert [rows.train.shape, rows.validation.shape, rows.test.shape] == [(810, 43), (90, 43), (100, 43)]


def test_hepmass_has_the_signal_alone_without_repeated_columns(folder: Path) -> None:
    random = np.random.default_rng(0)
    for file, extra in (("1000_train.csv", 0), ("1000_test.csv", 1)):
        rows = np.column_stack([np.arange(400) % 2, random.normal(size=(400, 4)), random.normal(size=(400, extra))])
        rows[:, 2] = random.integers(0, 2, 400)
        header = ",".join(["# label", *(f"f{k}" for k in range(4 + extra))])
        lay(folder / "hepmass" / file, header + "\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    rows = published_tables.read_hepmass()
    assert rows.validation is not None
    assert [rows.train.shape, rows.validation.shape, rows.test.shape] == [(180, 3), (20, 3), (200, 3)]


def test_gas_leaves_out_sensors_that_others_tell(folder: Path) -> None:
    random = np.random.default_rng(0)
    sensors = random.normal(size=(500, 16))
    sensors[:, 8:] = sensors[:, :8] + 0.01 * random.normal(size=(500, 8))
    table = np.column_stack([np.arange(500), np.zeros((500, 2)), sensors])
    lay(
        folder / "gas" / "ethylene_CO.txt", "Time (seconds), CO\n" + "\n".join(" ".join(map(str, row)) for row in table)
    )
    rows = published_tables.read_gas()
    assert [rows.train.shape, rows.test.shape] == [(405, 8), (50, 8)]


def test_a_damaged_original_file_is_refused(folder: Path) -> None:
    lay(folder / "miniboone" / "data.npy", "nothing")
    with pytest.raises(DataError, match="is not what it should be"):
        published_tables.read_miniboone()
