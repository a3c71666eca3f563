"""Irregular time series from the command line: trained, resumed, repeated, evaluated, asked, compared, searched."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odenet.main import main
from pipeline.comparison.compare import compare
from pipeline.dashboard.board import config_columns
from pipeline.runs.alike import find_alike
from pipeline.runs.load_model import load_model
from pipeline.runs.query import Runs
from pipeline.runs.stored_parts import config_of
from pipeline.util.nested import flatten
from tests.helpers import training
from tests.helpers.broken_off import killed_and_resumed
from tests.helpers.pages import files_of, run_example, write_files
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.usefixtures("store_home")
SMALL = {"name": "spirals", "observed": 20, "subset": 40, "options": {"count": 80}}


def train(name: str, draws_figures: bool = False, **sections: dict[str, Any]) -> int:
    data = SMALL | sections.pop("data", {})
    small = {"max_epochs": 3, "device": "cpu"} | sections.pop("training", {})
    series = {"test_samples": 4} | sections.pop("series", {})
    updates = {"data": data, "training": small, "series": series, **sections}
    outcome = training.train([name], updates, draws_figures)
    assert outcome.status == "COMPLETED", outcome.error
    return outcome.run_id


@pytest.fixture(scope="module")
def latent() -> int:
    return train("latent_ode", draws_figures=True)


@pytest.fixture(scope="module")
def recurrent() -> int:
    return train("rnn_dt", draws_figures=True)


def test_a_run_has_its_scores_figures_and_errors(latent: int) -> None:
    run = Runs().get(latent)
    test = run.info["test"]
    assert run.task == "series"
    assert run.document["result"] == test["rmse"]
    assert {"rmse_truth_inside", "elbo", "kl", "importance_bound", "coverage_90", "nfe_forward"} <= test.keys()
    names = {entry["name"] for entry in run.document["artifacts"]}
    assert {"predictions.npz", "trajectories.png", "latent_plane.png", "z0_varied.png", "plane.png"} <= names
    assert {"observed_share.png", "learning_curves.png"} <= names


def test_a_run_is_repeated_to_the_bit(latent: int) -> None:
    assert main(["rerun", str(latent), "--expect-identical"]) == 0


def test_a_run_that_goes_on_is_the_one_that_was_not_broken_off() -> None:
    settings = {"schedule": "constant", "max_epochs": 3}
    whole = train("latent_ode", training=settings, series={"kl_epochs": 3})
    short = train("latent_ode", training=settings | {"max_epochs": 1}, series={"kl_epochs": 3})
    assert main(["resume", str(short), "with", "training.max_epochs=3"]) == 0
    assert Runs().get(short).facts.weights_sha256 == Runs().get(whole).facts.weights_sha256


@pytest.mark.parametrize("model", ["latent_ode", "rnn"])
def test_a_run_that_is_killed_in_the_middle_and_resumed_is_the_one_that_was_not(model: str, tmp_path: Path) -> None:
    small = ("data.observed=20", "data.options.count=80", "series.test_samples=4", "series.kl_epochs=10")
    words = ("run", "with", model, "spirals", *small, "training.max_epochs=25", "training.batch_size=4")
    with killed_and_resumed(tmp_path / "home", words) as (resumed, whole):
        assert resumed.facts.weights_sha256 == whole.facts.weights_sha256
        assert resumed.artifact("predictions.npz") == whole.artifact("predictions.npz")
        for name in ("training.loss", "validation.loss", "validation.rmse"):
            assert resumed.metrics()[name].tolist() == whole.metrics()[name].tolist()


def test_other_tolerances_are_tried(latent: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(latent), "--solver", "dopri5", "--tol", "1e-2,1e-5", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 3
    assert rows[1]["nfe_forward"] < rows[2]["nfe_forward"]
    assert rows[2]["rmse"] == pytest.approx(rows[0]["rmse"], rel=0.05)
    assert rows[0]["nfe_forward"] == Runs().get(latent).info["test"]["nfe_forward"]


def test_evaluations_of_items_are_those_of_the_solve_that_the_answers_came_from(
    latent: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(latent), "--solver", "dopri5", "--tol", "1e-4", "--control", "sample", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    apart = next(row for row in rows if row["control"] == "sample")
    assert apart["nfe_per_image"]["largest"] == apart["nfe_forward"]
    assert apart["nfe_per_image"]["smallest"] < apart["nfe_per_image"]["mean"] < apart["nfe_forward"]


def test_a_model_says_values_of_a_users_own_series(
    latent: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("series,time,x,y\nme,3,1.0,2.0\nme,3.5,1.5,\nme,4,2.0,2.5\n")
    assert main(["predict", str(latent), "--series", str(path), "--times", "3:5:0.5"]) == 0
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [float(row["time"]) for row in rows] == [3, 3.5, 4, 4.5, 5]
    path.write_text("series,time,x,y\n=me,3,1.0,2.0\n-5,3,1.0,2.0\n")
    assert main(["predict", str(latent), "--series", str(path), "--times", "3", "--json"]) == 0
    assert [row["series"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["=me", "-5"]
    assert main(["predict", str(latent), "--series", str(path), "--times", "3"]) == 0
    assert "'=me" in capsys.readouterr().out, "a spreadsheet is not to compute a name"
    path.write_text("series,time,y,x\nme,3,2.0,1.0\nme,3.5,,1.5\nme,4,2.5,2.0\n")
    assert main(["predict", str(latent), "--series", str(path), "--times", "3:5:0.5"]) == 0
    assert list(csv.DictReader(StringIO(capsys.readouterr().out))) == rows
    path.write_text(
        "series,time,x,y\nme,3,1.0,\nme,4,2.0,\n"
    )  # y was never measured, which a model is told by its mask
    assert main(["predict", str(latent), "--series", str(path), "--times", "3:5:0.5"]) == 0
    assert all(
        float(row["y mean"]) == float(row["y mean"]) for row in csv.DictReader(StringIO(capsys.readouterr().out))
    )
    path.write_text("series,time,u,v\nme,3,2.0,1.0\n")
    assert main(["predict", str(latent), "--series", str(path), "--times", "3"]) == 2
    assert "has the columns 'u', 'v', but the model was trained on the columns 'x', 'y'" in capsys.readouterr().err
    for row in rows:
        ends = [float(row[f"x {end}"]) for end in ("lower 90 %", "lower 50 %", "upper 50 %", "upper 90 %")]
        assert ends == sorted(ends)
    path.write_text("series,time,x\nme,3,1.0\n")
    assert main(["predict", str(latent), "--series", str(path), "--times", "3"]) == 2
    assert "the series have 1 channels, but the model knows 2 (x, y)" in capsys.readouterr().err
    assert main(["predict", str(latent), "--series", str(path), "--times", "3:1:0.5"]) == 2
    assert "names no times" in capsys.readouterr().err
    assert main(["predict", str(latent), "--series", str(path), "--times", "0:2:1e-9"]) == 2
    assert "names more than 100,000 times: take a longer step" in capsys.readouterr().err
    assert main(["predict", str(latent), "--series", str(path), "--times", "1e12:1000000000000.001:1e-5"]) == 2
    assert "names times that are too near to be told apart: take a longer step" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["latent", "recurrent"])
def test_what_is_said_of_a_series_does_not_depend_on_the_others_in_the_file(
    model: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, path, said = request.getfixturevalue(model), tmp_path / "mine.csv", []
    me = "me,0,1.0,2.0\nme,0.5,1.5,\n"
    for others in ("", "you,0,-1.0,2.0\nyou,0.1,0.5,0.5\nyou,1.7,0.5,1.5\n"):
        path.write_text(f"series,time,x,y\n{others}{me}")
        assert main(["predict", str(run), "--series", str(path), "--times", "0:2:0.5", "--json"]) == 0
        said.append([row for row in json.loads(capsys.readouterr().out)["rows"] if row["series"] == "me"])
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("1700000000001,1700000000002.5", [1700000000001, 1700000000002.5]),
        ("1700000000000:1700000000001:0.5", [1700000000000, 1700000000000.5, 1700000000001]),
        ("0:0.3:0.1", [0, 0.1, 0.2, 0.3]),
    ],
)
def test_times_are_told_as_they_were_asked_for(
    latent: int, asked: str, said: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"series,time,x,y\nme,{said[0]:.1f},1.0,2.0\n")
    assert main(["predict", str(latent), "--series", str(path), "--times", asked, "--json"]) == 0
    assert [row["time"] for row in json.loads(capsys.readouterr().out)["rows"]] == said


@pytest.mark.parametrize("stored", [{}, {"count": 1000}])
def test_a_run_on_a_users_own_series_goes_on_is_evaluated_and_loaded(
    stored: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that was stored with the options of another data set."""
    path = tmp_path / "mine.csv"
    rows = [f"{k},{t},{np.sin(t + k)}\n" for k in range(20) for t in range(8)]
    path.write_text("series,time,x\n" + "".join(rows))
    words = ("with", "rnn_dt", str(path), "training.max_epochs=1", "training.device=cpu", "series.test_samples=4")
    assert main(["run", "--json", *words, "training.schedule=constant"]) == 0
    run = json.loads(capsys.readouterr().out)["run_id"]
    assert Runs().get(run).config["data"]["options"] == {}
    assert [one.run_id for one in find_alike(Runs(), "series", config_of(Runs().get(run)))] == [run]
    Runs().get(run).database.runs.update_one({"_id": run}, {"$set": {"config.data.options": stored}})
    assert main(["resume", str(run), "with", "training.max_epochs=2"]) == 0
    assert main(["predict", str(run), "--series", str(path), "--times", "0:1:1"]) == 0
    assert main(["rerun", str(run), "--expect-identical"]) == 0
    assert load_model(run).channels == ("x",)
    capsys.readouterr()
    few = tmp_path / "few.csv"
    few.write_text("series,time,x\n" + "".join(rows[:16]))  # two series, too few to train on
    assert main(["evaluate", str(run), "--data", str(few), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    path.write_text(path.read_text().replace("time,x", "time,u"))
    assert main(["evaluate", str(run), "--data", str(path.rename(tmp_path / "other.csv"))]) == 2
    assert "has the column 'u', but the model was trained on the column 'x'" in capsys.readouterr().err


def test_runs_of_the_same_series_are_compared_in_pairs(latent: int, recurrent: int) -> None:
    found = compare([Runs().get(run) for run in (latent, recurrent)])
    assert "RMSE" in str(found)


def test_a_page_of_compared_runs_has_no_confusion_matrix_though_the_series_are_of_classes(
    latent: int, recurrent: int, tmp_path: Path
) -> None:
    assert Runs().get(latent).facts.data["classes"]
    assert main(["compare", str(latent), str(recurrent), "--html", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "RMSE" in page
    assert "onfusion" not in page


def test_omniboards_columns_say_the_model_the_data_and_the_error_of_a_run_of_series(latent: int) -> None:
    run, columns = Runs().get(latent), config_columns()
    entries = flatten(run.document)
    shown = {name: entries[columns[name]] for name in ("model", "data", "RMSE", "parameters")}
    assert shown["data"] == "spirals"
    assert "latent_ode" in shown["model"]
    assert float(shown["RMSE"]) == pytest.approx(run.info["test"]["rmse"], abs=1e-3)
    assert shown["parameters"] == run.info["parameters"]["total"]


def test_a_model_is_loaded(latent: int) -> None:
    model = load_model(latent)
    assert model.channels == ("x", "y")
    assert not model.network.training
    assert np.isfinite(model.network.noise.sd.detach().numpy()).all()


def test_wrong_data_are_refused_before_anything_is_entered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("series,time,x\n1,0,1\n1,1,abc\n")
    before = len(list(Runs().find({})))
    assert main(["run", "with", "latent_ode", str(path)]) != 0
    assert "row 3, column x: 'abc' is no number" in capsys.readouterr().err
    assert len(list(Runs().find({}))) == before


@pytest.mark.slow
def test_two_workers_search_the_space_that_ships(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sweep", "latent_spirals", "--trials", "2", "--parallel", "2", "--json")
    changes = ("with", "training.max_epochs=2", "data.subset=40", "data.options.count=80")
    assert main([*words, *changes]) == 0
    assert json.loads(capsys.readouterr().out)["trials"]


def test_the_encoder_and_the_decoder_of_the_page_of_plug_ins_train(tmp_path: Path) -> None:
    write_files({"my_series.py": files_of(ROOT / "docs" / "plugins.md")["my_series.py"]}, tmp_path)
    words = ("series.encoder=mean_encoder", "series.decoder=linear", "series.encoder_options.width=16")
    small = ("data.subset=20", "data.options.count=60", "data.observed=10", "training.max_epochs=1")
    plugin = ("--plugin", str(tmp_path / "my_series.py"))
    assert main(["run", *plugin, "with", "latent_ode", "spirals", *words, *small]) == 0


def test_the_pages_example_in_python_asks_a_latent_ode(latent: int) -> None:
    defined = run_example(ROOT / "docs" / "series.md", ("load_model(1)", f"load_model({latent})"))
    assert defined["lower"].shape == defined["upper"].shape == (1, 41, 2)
