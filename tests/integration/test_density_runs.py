"""Densities from the command line: trained, resumed, repeated, evaluated, drawn from, compared, searched."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from odenet.main import main
from pipeline.comparison.compare import compare
from pipeline.dashboard.board import config_columns
from pipeline.plugins.loading import load_plugins
from pipeline.runs.load_model import load_model
from pipeline.runs.query import Runs
from pipeline.tasks.density.answered import answer_rows
from pipeline.util.errors import InvalidInput
from pipeline.util.nested import flatten
from tests.helpers import training
from tests.helpers.broken_off import killed_and_resumed
from tests.helpers.pages import files_of, run_example, write_files
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.usefixtures("store_home")
SMALL = {"max_epochs": 2, "epoch_iterations": 5, "batch_size": 64, "device": "cpu"}
EXAMPLES = files_of(ROOT / "docs" / "densities.md")


def train(*names: str, draws_figures: bool = False, **sections: dict[str, Any]) -> int:
    flow: dict[str, Any] = {"width": 8, "layers": 4} if "cnf" not in names and names[0] != "swirl" else {"width": 8}
    own = {"training": SMALL | sections.pop("training", {}), "flow": flow | sections.pop("flow", {})}
    own["evaluation"] = {"batch_size": 10_000}
    outcome = training.train(list(names), {**own, **sections}, draws_figures)
    assert outcome.status == "COMPLETED", outcome.error
    return outcome.run_id


@pytest.fixture(scope="module")
def flow() -> int:
    return train("cnf", "two_moons", draws_figures=True)


@pytest.fixture(scope="module")
def planar() -> int:
    return train("planar_nf", "two_moons", draws_figures=True, flow={"width": 64})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    rows = np.random.default_rng(0).normal([1, 30], [0.1, 10], size=(300, 2))
    path.write_text("length,weight\n" + "\n".join(f"{a:.9f},{b:.9f}" for a, b in rows) + "\n")
    return path


@pytest.fixture(scope="module")
def table_run(table: Path) -> int:
    return train("gaussian", str(table), flow={"width": 64, "layers": None})


def test_a_run_has_its_likelihood_with_its_errors_and_its_figures(flow: int) -> None:
    run = Runs().get(flow)
    test = run.info["test"]
    assert run.task == "density"
    assert run.document["result"] == test["nll"]
    assert test["integral"] == pytest.approx(1, abs=1e-3)
    assert abs(test["nll_shift"]) < 1e-4
    assert test["round_trip"] < 1e-2
    assert {"nll_se", "excess", "trace_sd", "nfe_sample", "nfe_forward"} <= test.keys()
    assert run.facts.sizes["test"] == (10_000, "points")
    names = {entry["name"] for entry in run.document["artifacts"]}
    assert {"samples.png", "density_over_time.png", "density_over_time.gif", "vector_field.png"} <= names
    assert {"log_probs.npz", "evaluation.json", "learning_curves.png", "function_evaluations.png"} <= names
    assert run.artifact("density_over_time.gif")[:4] == b"GIF8"


def test_a_run_is_repeated_to_the_bit(flow: int) -> None:
    assert main(["rerun", str(flow), "--expect-identical"]) == 0


@pytest.mark.parametrize("field", ["planar", pytest.param("concat", marks=pytest.mark.slow)])
def test_a_run_that_goes_on_is_the_one_that_was_not_broken_off(field: str) -> None:
    settings: dict[str, Any] = {"flow": {"field": field, "trace": "hutchinson"} if field == "concat" else {}}
    settings["regularisation"] = {"end_time_spread": 0.1}
    whole = train("cnf", "two_moons", training={"max_epochs": 3}, **settings)
    short = train("cnf", "two_moons", training={"max_epochs": 1}, **settings)
    assert main(["resume", str(short), "with", "training.max_epochs=3"]) == 0
    assert Runs().get(short).facts.weights_sha256 == Runs().get(whole).facts.weights_sha256
    assert Runs().get(short).document["result"] == Runs().get(whole).document["result"]


def test_a_run_that_is_killed_in_the_middle_and_resumed_is_the_one_that_was_not(tmp_path: Path) -> None:
    small = ("flow.width=8", "training.epoch_iterations=10", "training.batch_size=64", "evaluation.batch_size=10000")
    words = ("run", "with", "cnf", "two_moons", *small, "training.max_epochs=8")
    with killed_and_resumed(tmp_path / "home", words) as (resumed, whole):
        assert resumed.facts.weights_sha256 == whole.facts.weights_sha256
        assert resumed.artifact("log_probs.npz") == whole.artifact("log_probs.npz")
        for name in ("training.loss", "validation.loss"):
            assert resumed.metrics()[name].tolist() == whole.metrics()[name].tolist()


def test_the_likelihood_stands_beside_the_tolerance_with_the_integral(
    flow: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(flow), "--tol", "1e-1,1e-4", "--json"]) == 0
    answered = json.loads(capsys.readouterr().out)
    tested, loose, fine = answered["rows"]
    assert [row["rtol"] for row in (tested, loose, fine)] == [1e-6, 1e-1, 1e-4]
    assert tested["nll"] == pytest.approx(Runs().get(flow).document["result"], abs=1e-6)
    assert loose["nfe_forward"] <= fine["nfe_forward"] < tested["nfe_forward"]
    assert abs(loose["nll_shift"]) > abs(fine["nll_shift"])
    assert "nll_over_tolerance.png" in Runs().get(answered["run_id"]).artifacts


def test_the_table_of_an_evaluation_names_points_and_leaves_out_what_there_is_not(
    flow: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "170")
    assert main(["evaluate", str(flow), "--tol", "1e-3"]) == 0
    printed = capsys.readouterr().out
    assert "10,000 test points of two_moons" in printed
    assert "integral" in printed
    assert "ms/point" in printed
    assert "bits/dim" not in printed
    assert "changed" not in printed


def test_in_a_narrow_terminal_an_evaluation_has_whole_numbers_and_names_what_it_leaves_out(
    flow: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["evaluate", str(flow), "--tol", "1e-3"]) == 0
    printed = capsys.readouterr().out
    nll = Runs().get(flow).document["result"]
    (as_trained,) = (line for line in printed.splitlines() if "tol 1e-06 *" in line)
    assert f" {nll:.4f} " in as_trained
    assert "round trip, trace sd" in " ".join(printed.split())
    assert "in a wider terminal, or with --json" in " ".join(printed.split())


def test_samples_are_written_and_have_a_density(flow: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, answers = tmp_path / "samples.npz", tmp_path / "answers.csv"
    assert main(["sample", str(flow), "--count", "200", "--seed", "3", "--out", str(path)]) == 0
    assert "200 rows of 2 numbers" in capsys.readouterr().out
    rows = np.load(path)["x"]
    model = load_model(flow)
    np.testing.assert_array_equal(rows, model.sample(200, seed=3))
    assert main(["logprob", str(flow), "--data", str(path), "--out", str(answers), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(found["log_prob"], model.log_prob(rows), atol=1e-4)
    assert found["nll"] == pytest.approx(-np.mean(found["log_prob"]))
    assert abs(found["nll_shift"]) < 1e-4
    assert len(answers.read_text().splitlines()) == 201


def test_the_density_of_a_table_is_in_its_own_units(
    table_run: int, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model = table_run, load_model(table_run)
    rows = np.random.default_rng(1).normal([1, 30], [0.1, 10], size=(2000, 2))
    expected = -0.5 * (((rows - [1, 30]) / [0.1, 10]) ** 2).sum(1) - np.log(2 * np.pi)  # log 0.1 + log 10 = 0
    assert model.log_prob(rows).mean() == pytest.approx(expected.mean(), abs=0.05)
    drawn = model.sample(5000, seed=0)
    assert drawn.mean(0) == pytest.approx([1, 30], rel=0.03)
    assert main(["logprob", str(run), "--data", str(table)]) == 0
    said = capsys.readouterr().out
    assert "the 300 rows of" in said
    swapped = table.with_name("swapped.csv")
    pd.read_csv(table).iloc[:, ::-1].to_csv(swapped, index=False)
    assert main(["logprob", str(run), "--data", str(swapped)]) == 0
    assert capsys.readouterr().out == said.replace(str(table), str(swapped))


def test_without_data_a_density_is_asked_about_what_it_was_tested_on(
    table_run: int, flow: int, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logprob", str(table_run), "--out", str(out := tmp_path / "answers.csv")]) == 0
    assert capsys.readouterr().out.startswith(f"the 30 test rows of {table}: NLL ")
    assert len(out.read_text().splitlines()) == 31
    for run, points in ((table_run, 30), (flow, 10_000)):
        assert main(["logprob", str(run), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["rows"], said["split"]) == (points, "test")
        assert said["nll"] - said["log_scale"] == pytest.approx(Runs().get(run).info["test"]["nll"], abs=1e-9)


def test_a_single_row_does_not_tell_a_standard_error(
    table_run: int, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(table).to_numpy()
    np.savez(one := table.with_name("one.npz"), x_train=rows, x_test=rows[:1])
    assert main(["logprob", str(table_run), "--data", str(one)]) == 0
    assert " ± – nats" in capsys.readouterr().out
    assert main(["evaluate", str(table_run), "--data", str(one), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["nll_se"] is None


@pytest.mark.parametrize("words", [["logprob", "--data", "{table}"], ["logprob"], ["sample"]])
def test_an_answer_does_not_take_the_place_of_the_data(
    table_run: int, table: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = table.read_bytes()
    (link := tmp_path / "link.csv").symlink_to(table)
    command, *options = (word.format(table=table) for word in words)
    assert main([command, str(table_run), *options, "--out", str(link)]) == 2
    assert f"{link} is the data {table}, which would be lost: name another file to write" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_the_density_of_digits_is_in_bits() -> None:
    run = train("cnf", "digits", flow={"field": "concat"}, data={"subset": 100}, training={"max_epochs": 1})
    test = Runs().get(run).info["test"]
    assert 1 < test["bits_per_dim"] < 20
    assert "integral" not in test
    model = load_model(run)
    assert model.sample(3).shape == (3, 64)
    assert model.log_prob(model.sample(3)).shape == (3,)
    with pytest.raises(InvalidInput, match=r"^there are fractions among numbers of 17 levels: give whole numbers"):
        model.log_prob(model.sample(3) / 16)
    assert answer_rows(model, None).nll == test["nll"], "of the same images, with the same noise"
    other = replace(model.preprocessing, dequantisation=replace(model.preprocessing.dequantisation, levels=256))
    of_another = replace(model.config, data=replace(model.config.data, name="another"))
    with pytest.raises(InvalidInput, match=r"^digits has 17 levels of brightness, and the density is of 256"):
        answer_rows(replace(model, config=of_another, preprocessing=other), "digits")


def test_two_densities_are_compared_on_the_same_points(flow: int, planar: int) -> None:
    found = compare([Runs().get(flow), Runs().get(planar)])
    (pair,) = found.tests
    results = [Runs().get(run).document["result"] for run in (flow, planar)]
    assert pair.test.items == 10_000
    assert pair.test.difference == pytest.approx(results[0] - results[1], abs=1e-5)
    assert pair.test.lower < pair.test.difference < pair.test.upper
    assert main(["compare", str(flow), str(planar)]) == 0


def test_a_density_is_matched_and_has_its_divergence() -> None:
    run = train("cnf", "two_circles", flow={"objective": "matching"})
    test = Runs().get(run).info["test"]
    assert test["kl"] > 4 * test["kl_se"] > 0


def test_a_promoted_density_is_loaded_by_its_name(flow: int) -> None:
    assert main(["promote", str(flow), "moons"]) == 0
    model = load_model("moons")
    assert model.flow.check(model.points(model.sample(100))[0]).integral == pytest.approx(1, abs=1e-3)


def test_omniboards_columns_have_the_results_of_densities(flow: int) -> None:
    run = Runs().get(flow)
    shown = flatten(run.document)[config_columns()["NLL"]]
    assert shown == pytest.approx(run.info["test"]["nll"], abs=1e-4)


def test_a_point_s_density_does_not_depend_on_its_company(flow: int) -> None:
    model = load_model(flow)
    own_steps = model.flow.with_solver(replace(model.flow.solver, control="sample"))
    points, _ = model.points(model.sample(20))
    with torch.no_grad():
        together, alone = own_steps.log_prob(points).value, own_steps.log_prob(points[7:8]).value
    assert together[7] == alone[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "{run}", "--out", "a.txt"], "ends neither in .npz nor in .csv"),
        (["logprob", "{run}", "--data", "gone.npz"], "there is no file gone.npz"),
        (["logprob", "{run}", "--data", "digits"], "has 64 columns, but the density is of 2"),
        (["sample", "99999", "--out", "a.npz"], "99999"),
        (["evaluate", "{run}", "--data", "digits"], "no points of the kind"),
        (["evaluate", "{run}", "--T", "0.5,2"], "is of the task density, whose solves have ends of their own: leave"),
        (["run", "with", "cnf", "two_moons", "flow.probes=3"], "probes is 3, but the divergence is exact"),
        (["run", "with", "cnf", "two_moons", "flow.objective=matching", "data.name=pinwheel"], "is not known"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    flow: int, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs().database.runs.count_documents({})
    assert main([word.format(run=flow) for word in words]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert Runs().database.runs.count_documents({}) == runs


def test_a_field_and_a_target_of_ones_own_are_used_as_the_page_says(tmp_path: Path) -> None:
    write_files(EXAMPLES, tmp_path)
    load_plugins([str(tmp_path / "my_density.py")])
    run = train("swirl", "banana", model={"options": {"width": 12}}, flow={"width": 64, "objective": "matching"})
    assert Runs().get(run).info["test"]["integral"] == pytest.approx(1, abs=1e-3)
    likely = train("cnf", "banana", data={"options": {"bend": 0.3}})
    assert Runs().get(likely).config["data"]["options"] == {"bend": 0.3}
    assert load_model(run).sample(5).shape == (5, 2)


@pytest.mark.slow
def test_the_space_that_comes_along_is_searched_by_two_workers(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["training.max_epochs=2", "training.epoch_iterations=5", "evaluation.batch_size=5000"]
    assert main(["sweep", "cnf_toy", "--trials", "3", "--parallel", "2", "--fresh-seeds", "1", "with", *words]) == 0
    found = max(document["_id"] for document in Runs().database.runs.find({"experiment.name": "sweep"}))
    assert capsys.readouterr().out.startswith("NLL ")
    assert main(["sweeps", "show", str(found)]) == 0
    assert "flow.width" in capsys.readouterr().out


def test_the_pages_example_in_python_asks_a_density(flow: int) -> None:
    defined = run_example(ROOT / "docs" / "densities.md", ("load_model(1)", f"load_model({flow})"))
    assert defined["rows"].shape == (100, 2)
