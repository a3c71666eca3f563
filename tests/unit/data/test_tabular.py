"""Tables of a user's own: what is read, and what is refused in a sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data.errors import DataError
from pipeline.data.tabular import check_table, find_table, gaps, order_by_name, read_table, write_table
from pipeline.util.errors import InvalidInput

ROWS = np.random.default_rng(0).normal(size=(200, 3))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_is_read_with_its_columns(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    frame.to_csv(path, index=False) if ending == ".csv" else frame.to_parquet(path)
    table = read_table(path)
    assert table.columns == ("a", "b", "c")
    np.testing.assert_allclose(table.rows, ROWS, rtol=1e-12)
    assert table.test is None


def test_an_npz_is_one_array_or_split_already(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, x=ROWS)
    assert read_table(path).columns == ("column 0", "column 1", "column 2")
    np.savez(path, x_train=ROWS[:100], x_validation=ROWS[100:150], x_test=ROWS[150:], columns=["a", "b", "c"])
    table = read_table(path)
    assert table.columns == ("a", "b", "c")
    assert table.validation is not None
    assert table.test is not None
    assert [len(table.rows), len(table.validation), len(table.test)] == [100, 50, 50]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y": ROWS}, "neither x nor x_train"),
        ({"x": ROWS[:, 0]}, r"of shape \(200,\)"),
        ({"x": np.array([["a", "b"]])}, "must be numbers"),
        ({"x_train": ROWS, "x_test": ROWS[:, :2]}, "2 and 3 columns"),
        ({"x": ROWS, "columns": np.array(["a"])}, "3 columns and 1 names"),
        ({"x": np.array([[{}]], dtype=object)}, "cannot be read as a table"),
    ],
)
def test_an_npz_that_is_no_table_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / "t.npz")


def test_columns_of_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("height,city\n1.5,Oslo\n2.5,Rome\n")
    with pytest.raises(DataError, match="the column 'city' of text"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2,3\n4,5,6\n", "its rows have more cells than its first line has names"),
        ("a;b\n100,1;-0,2\n101,1;0,2\n", "its rows have more cells than its first line has names"),
        ("a,b\n1,2\n4,5,6\n", "Expected 2 fields in line 3, saw 3"),
        ("0.5,-1.5\n1,2\n3,4\n", "begins with the columns '0.5', '-1.5', which looks like a row"),
        ("a,b\n", "has no rows"),
    ],
)
def test_a_csv_that_would_be_misread_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / "t.csv")


def test_headings_that_pandas_gave_are_names(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv").columns == ("0", "1", "2")


def test_columns_are_found_by_their_names_where_both_have_some() -> None:
    assert order_by_name("t.csv", ("b", " a"), ("a", "b")) == [1, 0]
    assert order_by_name("t.csv", ("column 2", "column 1"), ("column 1", "column 2")) == [1, 0]
    for given, wanted in ((("a", "b"), ("a", "b")), (("column 0", "column 1"), ("a", "b")), (("a", "b"), ())):
        assert order_by_name("t.csv", given, wanted) == slice(None)
    with pytest.raises(
        InvalidInput, match=r"t\.csv has the columns 'a', 'c', but the model was trained on the columns"
    ):
        order_by_name("t.csv", ("a", "c"), ("a", "b"))


def test_a_file_that_is_no_table_and_one_that_is_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(InvalidInput, match=r"there is no file gone\.csv"):
        find_table("gone.csv")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.full(200, 2.0), "'b' with one value in all rows, where a density is infinite"),
        (np.where(np.arange(200) == 7, np.nan, ROWS[:, 1]), "'b' with values that are no numbers"),
        (np.where(np.arange(200) == 7, np.inf, ROWS[:, 1]), "'b' with values that are no numbers"),
        (np.round(ROWS[:, 1]), "'b' with up to 9.% repeated values.*data.dequantise=True, or data.noise"),
    ],
)
def test_a_column_that_can_have_no_density_is_named(column: np.ndarray, said: str) -> None:
    rows = ROWS.copy()
    rows[:, 1] = column
    with pytest.raises(DataError, match=said):
        check_table("my.csv", rows, ("a", "b", "c"), may_repeat=False)


def test_repeated_values_may_be_where_noise_is_added_and_continuous_ones_always() -> None:
    check_table("my.csv", ROWS, ("a", "b", "c"), may_repeat=False)
    check_table("my.csv", np.round(ROWS), ("a", "b", "c"), may_repeat=True)


def test_the_gap_of_repeated_values_is_the_smallest_and_of_others_none() -> None:
    rows = np.column_stack([np.round(ROWS[:, 0], 1), ROWS[:, 1]])
    assert gaps(rows) == pytest.approx([0.1, 0])


@pytest.mark.parametrize("ending", [".npz", ".csv"])
def test_what_is_written_is_read_again(tmp_path: Path, ending: str) -> None:
    write_table(tmp_path / f"t{ending}", ROWS, ("a", "b", "c"))
    table = read_table(tmp_path / f"t{ending}")
    assert table.columns == ("a", "b", "c")
    np.testing.assert_allclose(table.rows, ROWS, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"), [("a,a\n1,2\n", "has the column a twice"), (",a\n0,2\n", "has no name for its column 1")]
)
def test_columns_to_which_pandas_would_give_names_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv")


def test_a_single_array_that_is_called_an_archive_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "t.npz").open("wb") as file:
        np.save(file, ROWS)
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_table(tmp_path / "t.npz")
