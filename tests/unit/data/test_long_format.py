"""Series of a user's own files, and what is wrong with some."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data.errors import DataError
from pipeline.data.long_format import read_long_format

TABLE = """series,time,height,weight,label
anna,0,1.0,,tall
anna,2.5,,3.0,tall
bert,10,2.0,4.0,
bert,11,2.5,,
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


def test_a_table_is_read_with_its_gaps_and_labels(tmp_path: Path) -> None:
    found = read_long_format(written(tmp_path, TABLE))
    assert found.channels == ("height", "weight")
    assert found.classes == ("tall",)
    assert [one.name for one in found.series] == ["anna", "bert"]
    anna, bert = found.series
    assert anna.times.tolist() == [0, 2.5]
    assert np.isnan(anna.values).tolist() == [[False, True], [True, False]]
    assert (anna.label, bert.label) == (0, None)


def test_parquet_and_npz_are_read_like_the_table(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE)
    of_csv = read_long_format(path)
    table = pd.read_csv(path)
    table.to_parquet(tmp_path / "mine.parquet")
    assert read_long_format(tmp_path / "mine.parquet").fingerprint() == of_csv.fingerprint()
    np.savez(
        tmp_path / "mine.npz",
        series=table["series"].to_numpy(dtype=str),
        time=table["time"],
        values=table[["height", "weight"]],
        channels=["height", "weight"],
        label=np.array(["tall", "tall", "", ""]),
    )
    assert read_long_format(tmp_path / "mine.npz").fingerprint() == of_csv.fingerprint()


def test_noise_is_for_a_truth_and_not_for_values_that_have_theirs(tmp_path: Path) -> None:
    given = {"series": ["1"] * 3, "time": [0.0, 1.0, 2.0], "truth": [1.0, 2.0, 3.0], "noise": 0.1}
    np.savez(tmp_path / "truth.npz", values=[1.0, np.nan, 3.0], **given)
    assert read_long_format(tmp_path / "truth.npz").noise == 0.1
    np.savez(tmp_path / "noisy.npz", values=[1.1, np.nan, 3.0], **given)
    with pytest.raises(DataError, match="noise, which is added to its truth, beside values that have theirs"):
        read_long_format(tmp_path / "noisy.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,time,x\n1,0,1\n", "no column series"),
        ("series,time\n1,0\n", "no column of values"),
        ("series,time,x\n", "no rows"),
        ("series,time,x\n1,0,1\n1,1,abc\n", "row 3, column x: 'abc' is no number"),
        ("series,time,x\n1,0,1\n1,1,inf\n", "row 3, column x: 'inf' is no number"),
        ("series,time,x\n1,,1\n", "row 2: the time is empty"),
        ("series,time,x\n1,0,1\n2,5,1\n1,0,2\n", "row 4: series 1 has the time 0 twice, in row 2 too"),
        ("series,time,x\n1,3,1\n1,2,2\n", "row 3: series 1 has the time 2 behind 3: sort"),
        ("series,time,x,y\n1,0,1,\n2,0,1,\n", "the channel y is missing throughout"),
        ("series,time,x\n1,0,1\n2,0,\n", "series 2 has no value at any time"),
        ("series,time,x,label\n1,0,1,a\n1,1,1,b\n", "row 3: the label of series 1 changes from a to b"),
        ("series,time,x\n1,0,1\n1,1,1\n1,2,1\n1,9000000,1\n", "over a million times its median gap"),
        ("series,time,x\n1,0,1\n1,1,1,2,3\n", "cannot be read as a table"),
        ("series,time,x,x\n1,0,1,2\n", "has the column x twice"),
        ("series,time,label,x,label\n1,0,a,1,b\n", "has the column label twice"),
        (",series,time,x\n0,1,0,1\n", "has no name for its column 1: .*index=False"),
        ("series,time,x\n1,0,1\n,1,1\n", "row 3: the series is empty"),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_long_format(written(tmp_path, text))


def test_a_file_that_is_not_there_or_pickled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_long_format(tmp_path / "none.csv")
    np.savez(tmp_path / "objects.npz", series=np.array([{}], dtype=object), time=[0.0], values=[1.0])
    with pytest.raises(DataError, match="plain arrays"):
        read_long_format(tmp_path / "objects.npz")


def test_series_with_more_cells_than_headings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("series,time,x\na,0,1,2\na,1,3,4\n")
    with pytest.raises(DataError, match="its rows have more cells than its first line has names"):
        read_long_format(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("cells", "kind", "classes", "labels"),
    [
        ([1, 0, None], "Int64", ("0", "1"), [1, 0, None]),
        ([True, False, None], "boolean", ("False", "True"), [1, 0, None]),
        ([b"up", b"down", None], "object", ("down", "up"), [1, 0, None]),
        (["up", "", None], "object", ("up",), [0, None, None]),
    ],
)
def test_a_label_that_is_missing_in_parquet_is_no_class(
    tmp_path: Path, cells: list[object], kind: str, classes: tuple[str, ...], labels: list[int | None]
) -> None:
    table = pd.DataFrame({"series": list("xyz"), "time": [0.0, 1.0, 2.0], "a": [1.0, 2.0, 3.0]})
    table["label"] = pd.array(cells, dtype=kind)
    table.to_parquet(tmp_path / "t.parquet")
    found = read_long_format(tmp_path / "t.parquet")
    assert found.classes == classes
    assert [one.label for one in found.series] == labels


@pytest.mark.parametrize("column", ["time", "a"])
@pytest.mark.parametrize("kind", ["datetime64[s]", "datetime64[ns]", "timedelta64[us]"])
def test_dates_and_durations_are_refused_whose_unit_would_be_a_guess(tmp_path: Path, column: str, kind: str) -> None:
    table = pd.DataFrame({"series": ["x", "x"], "time": [0.0, 1.0], "a": [1.0, 2.0]})
    table[column] = np.array([1, 2]).astype(kind)
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=rf"the column {column} has dates or durations, .*Timedelta\('1h'\)"):
        read_long_format(tmp_path / "t.parquet")


def test_a_row_in_parquet_that_is_of_no_series_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"series": [1.0, np.nan], "time": [0.0, 1.0], "a": [1.0, 2.0]})
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="row 3: the series is empty"):
        read_long_format(tmp_path / "t.parquet")
