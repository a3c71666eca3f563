"""Runs of a task that is not here, as a plug-in's: what lists, compares, searches and exports runs knows no task."""

import csv
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database
from scipy.stats import binomtest

from experiments.trial import find_completed
from odenet.main import main
from pipeline.comparison.compare import compare
from pipeline.comparison.fairness import find_unfairness
from pipeline.comparison.page import page as comparison_page
from pipeline.comparison.tables import markdown
from pipeline.config import Config
from pipeline.plugins import loading, registry
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.runs.export import write_export
from pipeline.runs.garbage import find_garbage
from pipeline.runs.listing import field_values, sorted_runs
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.registry import Promotion, get_model
from pipeline.runs.summary import RunSummary, summary
from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.report import page as sweep_page
from pipeline.sweeps.searched_task import SearchedTask
from pipeline.sweeps.space import SpaceError
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.terminal import summary as sweep_summary
from pipeline.sweeps.terminal import sweeps_table, to_dict
from pipeline.sweeps.text import headline, subtitle
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.pairing import PairedTest
from pipeline.tracking.gridfs import put_bytes
from pipeline.tracking.run_document import FORMAT, metric_entry
from pipeline.tracking.run_folder import run_folder
from pipeline.util.errors import InvalidInput
from tests.helpers.sweep_samples import sample_ledger, sweep_document

Store = Database[dict[str, Any]]

NLL = {
    split: MetricSpec(
        f"{split}.nll",
        "NLL",
        f"negative log likelihood, {split}",
        "nats",
        ".3f",
        better="lower",
        is_searchable=split == "validation",
    )
    for split in ("training", "validation", "test")
}
DENSITY = {"task": "mixture", "metrics": [metric_entry(spec) for spec in NLL.values()], "result": "test.nll"}
SPACE = """\
with: [two_moons]
minimise: validation.nll
space:
  flow.layers: {uniformint: [1, 8]}
  flow.width: {quniform: [8, 64, 8]}
  training.lr: {loguniform: [1e-5, 1e-1]}
"""


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def density_run(store: Store, run_id: int, nll: float | None = -1.25, seed: int = 0, **flow: Any) -> StoredRun:
    """A run of the task, with a model and data of the task's own."""
    now = datetime.now(UTC)
    config = {
        "data": {"name": "two_moons"},
        "model": {"architecture": "spline flow"},
        "flow": {"layers": 4, **flow},
        "training": {"max_epochs": 5, "patience": None},
        "seed": seed,
    }
    document = {
        "_id": run_id,
        "uid": f"{run_id:032}",
        "format": FORMAT,
        "status": "COMPLETED",
        "experiment": {"name": "density", "sources": [], "dependencies": [], "repositories": [], **DENSITY},
        "host": {"hostname": "gpu1", "cpu": "AMD EPYC", "machine": {}},
        "config": config,
        "info": {
            "data": {"sha256": "ab" * 32, "training_points": 800, "validation_points": 100, "test_points": 100},
            "parameters": {"total": 1234},
            "training": {"epochs": 5, "best_epoch": 4, "epoch_seconds": 2.0},
            "test": {} if nll is None else {"nll": nll, "points": 100},
        },
        "result": nll,
        "start_time": now,
        "stop_time": now + timedelta(seconds=20),
        "heartbeat": now,
        "artifacts": [],
        "captured_out": "",
    }
    store.runs.insert_one(document)
    for name in ("training.nll", "validation.nll"):
        points = {"steps": [1, 2, 3], "values": [1.0, 0.0, -1.0], "timestamps": [now] * 3}
        store.metrics.insert_one({"_id": ObjectId(), "run_id": run_id, "name": name, **points})
    return Runs(store).get(run_id)


def image_run(store: Store, run_id: int, experiment: Any = None, **config: Any) -> StoredRun:
    """A run of image classification, as far as lists need it."""
    now = datetime.now(UTC)
    whole = ClassificationConfig().to_dict() | config
    store.runs.insert_one(
        {
            "_id": run_id,
            "uid": f"{run_id:032}",
            "format": "odenet-1",
            "status": "COMPLETED",
            "experiment": experiment or {"name": "classification", "sources": [], "dependencies": []},
            "host": {"hostname": "gpu1", "machine": {}},
            "config": whole,
            "info": {"test": {"accuracy": 0.9625, "loss": 0.123}},
            "result": 0.9625,
            "start_time": now,
            "heartbeat": now,
            "artifacts": [],
        }
    )
    return Runs(store).get(run_id)


# Lists


def test_a_list_has_a_column_for_the_metric_of_every_task_in_it(
    database: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    density_run(database, 1)
    image_run(database, 2)
    assert main(["runs", "--wide"]) == 0
    heading, _, images, densities, *_ = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert heading[4:7] == ["accuracy", "loss", "NLL"]
    assert images[:12] == ["2", "COMPLETED", "simple", "ODE-Net", "digits", "96.25%", "0.1230", *"–––––"]
    assert " ".join(densities[:12]) == "1 COMPLETED spline flow two_moons – – -1.250 1,234 – 5 2.0"


@pytest.mark.parametrize("word", ["crps<4", "test.crps<4", "info.test.crps<4", "flow.hidden.width=8"])
def test_runs_are_found_sorted_and_shown_by_keys_and_metrics_of_a_plugin_that_is_not_here(
    database: Store, word: str
) -> None:
    for run_id in (1, 2):
        density_run(database, run_id, hidden={"width": 8})
        database.runs.update_one({"_id": run_id}, {"$set": {"info.test.crps": run_id}})
    image_run(database, 3)
    found = Runs(database).find([word])
    assert [run.run_id for run in found] == [2, 1]
    field = re.split("[<=]", word)[0]
    assert field_values(found, [field])[field] in ([2, 1], [8, 8])
    assert [run.run_id for run in sorted_runs(found, "crps")] == [1, 2]
    with pytest.raises(InvalidInput, match=r"no run has a field flow\.hidden\.depth"):
        Runs(database).find(["flow.hidden.depth=3"])


def test_a_metric_that_none_of_the_listed_runs_has_is_an_empty_column(database: Store) -> None:
    found = [density_run(database, 1)]
    assert field_values(found, ["accuracy"]) == {"accuracy": [None]}
    assert sorted_runs(found, "-test.accuracy") == found


def test_runs_of_images_alone_have_the_columns_that_they_always_had(
    database: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    image_run(database, 1)
    assert main(["runs"]) == 0
    heading = capsys.readouterr().out.split("\n")[1].split()
    assert " ".join(heading[:10]) == "run status model data accuracy loss params NFE epochs s/epoch"


def test_a_program_gets_each_run_with_the_metrics_of_its_own_task(
    database: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    density_run(database, 1)
    image_run(database, 2)
    assert main(["runs", "--json"]) == 0
    images, densities = json.loads(capsys.readouterr().out)
    assert (images["accuracy"], images["loss"], "nll" in images) == (0.9625, 0.123, False)
    assert (densities["nll"], densities["task"], "accuracy" in densities) == (-1.25, "mixture", False)


def test_metrics_of_one_name_that_say_different_things_have_columns_of_their_own(
    database: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    bits = MetricSpec("test.loss", "loss", "bits per dimension", "bits", better="lower")
    image_run(database, 1, {"name": "pixels", "metrics": [metric_entry(bits)], "result": "test.loss"})
    image_run(database, 2)
    assert main(["runs"]) == 0
    heading = capsys.readouterr().out.split("\n")[1]
    assert "classification loss" in heading
    assert "pixels loss" in heading


def test_a_run_is_shown_with_its_metrics(database: Store, capsys: pytest.CaptureFixture[str]) -> None:
    density_run(database, 1)
    assert main(["show", "1"]) == 0
    shown = capsys.readouterr().out
    for words in ("NLL", "-1.250", "spline flow", "two_moons", "validation.nll", "flow.layers"):
        assert words in shown


def test_a_run_that_has_no_result_yet_shows_none(database: Store) -> None:
    row: RunSummary = summary(density_run(database, 1, nll=None).document, {})
    assert dict(row.results) == {NLL["test"]: None}


# Comparisons


def test_runs_are_compared_by_their_tasks_metrics_without_a_test_where_the_task_has_none(database: Store) -> None:
    runs = [
        density_run(database, 1, -1.0, seed=0),
        density_run(database, 2, -1.5, seed=1),
        density_run(database, 3, -2.0, seed=0, layers=8),
    ]
    comparison = compare(runs)
    assert [len(group.runs) for group in comparison.groups] == [2, 1]
    spread = comparison.groups[0].spread("nll")
    assert spread is not None
    assert spread.mean == pytest.approx(-1.25)
    text = markdown(comparison)
    assert "| NLL (nats) | -1.250 ± 0.354 | -2.000 |" in text
    assert "| run | group | seed | NLL (nats) | epochs | how it ended |" in text
    assert "McNemar" not in text
    assert "accuracy" not in text
    assert "two\\_moons with 800 training, 100 validation and 100 test points" in text
    json.dumps(comparison.to_dict(), allow_nan=False)


@dataclass(frozen=True)
class SignTest:
    """How often the first of two densities is the likelier one."""

    wins: int
    p_value: float

    def cells(self) -> tuple[str, ...]:
        return (str(self.wins),)


def compare_signs(first: list[float], second: list[float]) -> SignTest:
    wins = sum(one > other for one, other in zip(first, second, strict=True))
    return SignTest(wins, binomtest(wins, len(first)).pvalue)


def give_answers(store: Store, run_id: int, likelihoods: list[float]) -> None:
    content = json.dumps(likelihoods).encode()
    file_id = put_bytes(store, f"artifact://runs/{run_id}/likelihoods.json", content)
    artifact = {"name": "likelihoods.json", "file_id": file_id}
    store.runs.update_one({"_id": run_id}, {"$push": {"artifacts": artifact}})


def test_a_plug_ins_task_may_have_a_paired_test(database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    test = PairedTest(
        artifact="likelihoods.json",
        read=json.loads,
        have_same_items=lambda first, second: len(first) == len(second),
        compare=compare_signs,
        items="points",
        title="Likelier points",
        headings=("1st likelier",),
        methods="p: the sign test.",
    )
    build = type("Density", (), {"config": Config, "paired_test": test})
    part = registry.Part("task", "mixture", build, (), "mixture.py:1", is_shipped=False)
    monkeypatch.setitem(registry._parts, ("task", "mixture", None), part)
    runs = [density_run(database, 1), density_run(database, 2, layers=8)]
    for run, likelihoods in zip(runs, ([0.5, 0.4, 0.3], [0.1, 0.2, 0.2]), strict=True):
        give_answers(database, run.run_id, likelihoods)
    comparison = compare([Runs(database).get(1), Runs(database).get(2)])
    assert (comparison.tests[0].test.wins, comparison.tests[0].adjusted_p_value) == (3, pytest.approx(0.25))
    assert "## Likelier points\n\n| 1st | 2nd | 1st likelier | p | Holm |" in markdown(comparison)
    json.dumps(comparison.to_dict(), allow_nan=False)


MIXTURE = """
import json
from dataclasses import dataclass
from pipeline import plugins
from pipeline.config import Config
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.pairing import PairedTest

@dataclass(frozen=True)
class Half:
    p_value: float = 0.5

    def cells(self):
        return ()

@plugins.task("mixture")
class Mixture:
    config = Config
    result = "test.nll"
    paired_test = PairedTest(
        "likelihoods.json", json.loads, lambda *_: True, lambda *_: Half(), "points", "Likelier points", (), ""
    )

    @classmethod
    def metric_specs(cls):
        return (MetricSpec("test.nll", "NLL", "negative log likelihood"),)
"""


def test_the_paired_test_of_a_plugin_that_is_where_it_was_is_found_and_a_missing_one_is_said(
    database: Store, tmp_path: Path
) -> None:
    file = tmp_path / "mixture.py"
    for run_id in (1, 2):
        density_run(database, run_id, layers=run_id)
        give_answers(database, run_id, [0.5])
        stored = {"spec": str(file), "name": file.name, "file_id": put_bytes(database, file.name, MIXTURE.encode())}
        database.runs.update_one({"_id": run_id}, {"$set": {"experiment.plugins": [stored]}})
    for text, tests, said in ((None, 0, "is not at"), (f"{MIXTURE}\n", 0, "has changed at"), (MIXTURE, 1, None)):
        if text is not None:
            file.write_text(text)
        comparison = compare([Runs(database).get(1), Runs(database).get(2)])
        assert len(comparison.tests) == tests
        sentence = (
            f"Pairs of runs are not tested, as the task mixture may say how: the plug-in mixture.py of run 1 {said}"
        )
        assert (sentence in markdown(comparison).replace("\\", "")) is (said is not None)
    loading.unload(str(file))


def test_the_page_of_a_comparison_has_curves_and_no_confusion_matrix(database: Store) -> None:
    html = comparison_page(compare([density_run(database, 1), density_run(database, 2, layers=8)]))
    assert "Learning curves" in html
    assert html.count("data:image/png") == 1
    assert "Confusion" not in html


def test_runs_of_two_tasks_beside_each_other_are_said_to_be_so(database: Store) -> None:
    images = image_run(database, 1)
    database.metrics.insert_one(
        {"_id": ObjectId(), "run_id": 1, "name": "validation.loss", "steps": [1], "values": [1.0], "timestamps": [None]}
    )
    comparison = compare([images, density_run(database, 2)])
    assert "The tasks differ: classification (run 1), mixture (run 2)." in find_unfairness(comparison)
    assert comparison.paired_test is None
    assert "| accuracy (%) | 96.25 | – |" in markdown(comparison)


def test_an_old_run_that_lacks_a_key_is_in_the_group_of_those_that_have_its_default(database: Store) -> None:
    config = ClassificationConfig().to_dict()
    older = {**config, "solver": {key: value for key, value in config["solver"].items() if key != "control"}}
    runs = [image_run(database, 1, **older), image_run(database, 2)]
    assert len(compare(runs).groups) == 1
    runs[0].document["config"]["solver"]["rtol"] = 1e-5  # type: ignore[index]
    assert set(compare(runs).config_differences) == {"solver.rtol"}


def test_a_trial_takes_an_old_completed_run_that_lacks_a_key_if_it_wants_the_default(
    database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_loaded", {})  # plug-ins of other tests of this process
    config = ClassificationConfig()
    older = {key: value for key, value in config.to_dict()["solver"].items() if key != "control"}
    image_run(database, 1, solver=older)
    found = find_completed(database, "classification", config)
    assert found is not None
    assert found.run_id == 1
    other = replace(config, solver=replace(config.solver, control="sample"))
    assert find_completed(database, "classification", other) is None
    assert find_completed(database, "mixture", config) is None


# Exports, promotions, clearing


def test_an_export_has_the_metrics_of_every_task(database: Store, tmp_path: Path) -> None:
    density_run(database, 1)
    image_run(database, 2)
    assert write_export(Runs(database), tmp_path / "export", "csv") == (2, 6)
    densities, images = csv.DictReader((tmp_path / "export" / "runs.csv").open())
    assert (densities["info.test.nll"], densities["config.flow.layers"], images["info.test.accuracy"]) == (
        "-1.25",
        "4",
        "0.9625",
    )


def test_a_promotion_says_which_metric_its_result_is_and_one_of_format_1_is_an_accuracy(
    database: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime(2026, 11, 22)
    old = {"run_id": 2, "sha256": "ab", "accuracy": 0.9625, "promoted_at": now}
    new = {"run_id": 1, "sha256": "cd", "result": -1.25, "metric": metric_entry(NLL["test"]), "promoted_at": now}
    database.models.insert_many([{"_id": "moons", "history": [new]}, {"_id": "digits", "history": [old]}])
    assert get_model("moons", database).current == Promotion(1, "cd", -1.25, NLL["test"], now)
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    lines = [line.split()[:4] for line in shown.splitlines()]
    assert ["digits", "2", "96.25%", "accuracy"] in lines
    assert ["moons", "1", "-1.250", "NLL"] in lines


@pytest.mark.parametrize(("better", "garbage"), [("lower", ["1", "3"]), ("min", []), (None, [])])
def test_checkpoints_of_the_best_runs_are_kept_and_all_where_nobody_knows_which_are_better(
    database: Store, tmp_path: Path, better: str | None, garbage: list[str]
) -> None:
    for run_id, nll in ((1, -1.0), (2, -3.0), (3, -2.0)):
        folder = run_folder(tmp_path, density_run(database, run_id, nll).document)
        folder.mkdir(parents=True)
        (folder / "checkpoint.pt").touch()
    database.runs.update_many({}, {"$set": {"experiment.metrics.2.better": better}})
    found = find_garbage(database, tmp_path, timedelta(seconds=-1), kept_checkpoints=1)
    assert sorted(path.parent.name[0] for path in found.checkpoints) == garbage


# Sweeps


def density_task(_words: Any) -> SearchedTask:
    return SearchedTask(tuple(NLL.values()), NLL["test"], {"flow.layers": int, "flow.width": int, "training.lr": float})


def density_sweep() -> dict[str, Any]:
    state = sample_ledger(20, checks=3)
    for trial in state.trials.values():
        trial.suggestion = {"flow.layers": trial.number % 8 + 1, "flow.width": 8, "training.lr": 1e-3}
    document = sweep_document(state, 20, text=SPACE)
    document["experiment"] |= DENSITY
    return document


def test_a_space_searches_the_metrics_and_the_keys_of_its_task() -> None:
    space = parse_space(SPACE, "the test", density_task)
    assert (space.metric, space.mode, space.spec) == ("validation.nll", "min", NLL["validation"])
    with pytest.raises(SpaceError, match=r"minimise must name one of validation\.nll, .*, not 'validation\.loss'"):
        parse_space(SPACE.replace("validation.nll", "validation.loss"), "the test", density_task)
    with pytest.raises(SpaceError, match=r"unknown key flow\.lairs \(did you mean flow\.layers\?\)"):
        parse_space(SPACE.replace("flow.layers", "flow.lairs"), "the test", density_task)


def test_a_stored_sweep_is_read_and_shown_where_its_task_is_not_here() -> None:
    sweep = Sweep.from_document(density_sweep())
    assert sweep.best is not None
    assert headline(sweep) == "NLL 0.965 ± 0.004 on test with the best of 20 trials"
    assert "for the lowest validation NLL" in subtitle(sweep)
    document = to_dict(sweep)
    assert document["nll"] == pytest.approx(0.9651)
    html = sweep_page(sweep)
    assert "Evaluations and NLL" in html
    assert "accuracy" not in html.replace("/", "")


def test_a_list_of_sweeps_has_the_result_as_its_task_writes_it() -> None:
    row = sweep_summary(density_sweep())
    assert row.to_dict()["nll"] == pytest.approx(0.9651)
    [results] = [column for column in sweeps_table([row]).columns if str(column.header) == "test"]
    assert list(results.cells) == ["0.965"]


def test_a_sweep_of_format_1_has_its_accuracies_still() -> None:
    document = sweep_document(sample_ledger(20, checks=3), 20)
    for entries, name in (("trials", "validation_result"), ("checks", "result")):
        for entry in document["info"]["sweep"][entries]:
            entry["accuracy"] = entry.pop(name)
    sweep = Sweep.from_document(document)
    assert headline(sweep) == "96.51 ± 0.40 % on test with the best of 20 trials"
    assert any(trial.validation_result is not None for trial in sweep.state.trials.values())
