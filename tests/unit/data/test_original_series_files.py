"""The readers of PhysioNet 2012 and Human Activity, on tiny files of their formats; and the hopper's."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import hopper
from pipeline.data.errors import DataError
from pipeline.data.human_activity import read_human_activity
from pipeline.data.physionet import CHANNELS, read_physionet

STAY = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Weight,-1
00:07,HR,73
00:07,HR,75
01:30,HR,77
01:30,GCS,15
"""


def test_a_stay_has_its_hours_means_of_repeated_values_and_its_outcome(tmp_path: Path) -> None:
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "132539.txt").write_text(STAY)
    (tmp_path / "Outcomes-a.txt").write_text("RecordID,SAPS-I,In-hospital_death\n132539,6,1\n")
    found = read_physionet(tmp_path)
    (stay,) = found.series
    assert len(CHANNELS) == 37
    assert stay.times.tolist() == [7 / 60, 1.5]
    assert stay.values[:, CHANNELS.index("HR")].tolist() == [74, 77]
    assert np.isnan(stay.values).sum() == 2 * 37 - 3
    assert stay.label == 1


def test_missing_and_damaged_files_of_physionet_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="put the folders set-a, set-b, set-c"):
        read_physionet(tmp_path)
    (tmp_path / "set-a").mkdir()
    with pytest.raises(DataError, match=r"Outcomes-a.txt is missing"):
        read_physionet(tmp_path)
    (tmp_path / "Outcomes-a.txt").write_text("RecordID,In-hospital_death\n1,0\n")
    (tmp_path / "set-a" / "1.txt").write_text("Time,Parameter,Value\nnoon,HR,73\n")
    with pytest.raises(DataError, match=r"1.txt, row 2: 'noon,HR,73' is no time and number"):
        read_physionet(tmp_path)


def test_an_activity_is_a_series_and_ends_where_the_next_begins(tmp_path: Path) -> None:
    path = tmp_path / "ConfLongDemo_JSI.txt"
    second = 10_000_000
    rows = [
        f"A01,010-000-024-033,{10 * second},x,1.0,2.0,3.0,walking",
        f"A01,020-000-032-221,{10 * second + 1},x,4.0,5.0,6.0,walking",
        f"A01,010-000-024-033,{11 * second},x,1.5,2.0,3.0,walking",
        f"A01,010-000-024-033,{12 * second},x,9.0,9.0,9.0,sitting down",
    ]
    path.write_text("\n".join(rows) + "\n")
    found = read_human_activity(path)
    walking, sitting = found.series
    assert walking.times.tolist() == [0, 1]
    assert walking.values[0, [0, 1, 2, 9, 10, 11]].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.classes[walking.label or 0] == "walking"
    assert found.classes[sitting.label or 0] == "sitting"
    path.write_text("A01,010-000-024-033,now,x,1,2,3,walking\n")
    with pytest.raises(DataError, match=r"row 1: .* is no place of a tag"):
        read_human_activity(path)
    with pytest.raises(DataError, match="is missing: put it there"):
        read_human_activity(tmp_path / "other.txt")


def test_simulated_hoppers_are_kept_and_a_damaged_file_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ODENET_DATA", str(tmp_path))
    path, states = hopper.hopper_file(2), np.ones((2, hopper.POINTS, 14), np.float32)
    np.savez(path, states=states, sha256=np.array(hopper._sha256(states)))
    assert np.array_equal(hopper.load_hopper(2), states)
    np.savez(path, states=states + 1, sha256=np.array(hopper._sha256(states)))
    with pytest.raises(DataError, match="its checksum is another"):
        hopper.load_hopper(2)
    path.write_bytes(b"half")
    with pytest.raises(DataError, match="damaged"):
        hopper.load_hopper(2)


def test_without_mujoco_its_extra_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ODENET_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(DataError, match=r"odenet-pipeline\[hopper\]"):
        hopper.load_hopper(1)


def test_fewer_hoppers_are_the_first_of_more() -> None:
    mujoco = pytest.importorskip("mujoco")
    model = mujoco.MjModel.from_xml_path(str(hopper.hopper_model_file()))
    many = hopper.simulate(model, 3)
    assert many.shape == (3, 200, 14)
    assert np.array_equal(hopper.simulate(model, 2), many[:2])
    assert np.isfinite(many).all()
