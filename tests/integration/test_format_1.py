"""A store of the format odenet-1, as commit feb6b1d wrote it, works in every command that reads runs.

`samples/format_1` has it twice, as a backup and as the embedded store's own files; `samples/README.md` says what is in
it. Commands that only read or add runs are asked of both; those that change an old run have a store to themselves.
"""

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gridfs import GridFS

from pipeline.data import load_splits
from pipeline.runs.load_model import load_model
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.registry import get_model
from pipeline.runs.stored_parts import stored_sources
from pipeline.sweeps.stored import load_sweep
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers import paths
from tests.helpers.commands import Command, database_of, start_command
from tests.helpers.records import epochs_of

SAMPLES = paths.SAMPLES / "format_1"

STATUSES = {
    1: "COMPLETED",  # an ODE-Net
    2: "COMPLETED",  # a ResNet
    3: "COMPLETED",  # a sweep
    4: "COMPLETED",  # its first trial, the best
    5: "PRUNED",  # its second trial
    6: "COMPLETED",  # the best on a fresh seed
    7: "COMPLETED",  # an evaluation of run 1
    8: "COMPLETED",  # a rerun of run 1
    9: "DIED",  # killed in its fourth epoch
}
CORRECT = {1: 293, 2: 310, 3: 258, 4: 275, 6: 258, 7: 293, 8: 293}
"""Run -> how many of the 360 test images it classifies correctly."""
TRAINED = (1, 2, 4, 6, 8)
"""The runs that were trained and tested to their end."""


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home into whose empty store the backup was restored."""
    home = tmp_path_factory.mktemp("restored") / "home"
    assert done(home, "restore", str(SAMPLES / "backup.zip")).stdout.startswith("9 runs restored; 0 were here already")
    yield home
    EmbeddedStore(home).stop()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home that the old version left: its server's files, checkpoints, and what waits of run 9."""
    yield (home := unpack(tmp_path_factory.mktemp("opened")))
    EmbeddedStore(home).stop()


@pytest.fixture(params=["restored", "opened"])
def old(request: pytest.FixtureRequest) -> Path:
    """A home with the old runs, one way and the other."""
    home: Path = request.getfixturevalue(request.param)
    return home


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """The home that the old version left, for one test alone."""
    yield (home := unpack(tmp_path))
    EmbeddedStore(home).stop()


def unpack(folder: Path) -> Path:
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.2 has none yet
    with tarfile.open(SAMPLES / "home.tar.xz") as archive:
        archive.extractall(folder / "home", **safely)  # noqa: S202 - an archive of our own
    return folder / "home"


def done(home: Path, *arguments: str) -> Command:
    """The command `odenet arguments`, which succeeds."""
    command = start_command(home, *arguments)
    assert command.wait() == 0, command.stderr
    return command


def run(home: Path, run_id: int) -> StoredRun:
    return Runs(database_of(home)).get(run_id)


def listed(home: Path, *filters: str) -> dict[int, dict[str, Any]]:
    """What `odenet runs` says of the old runs that it lists."""
    rows = done(home, "runs", "--json", "--limit", "0", *filters).json
    return {row["run_id"]: row for row in rows if row["run_id"] in STATUSES}


def contents(home: Path) -> dict[str, Any]:
    """Every document of the old runs and all that belongs to them, and the files by their names and ids."""
    database = database_of(home)
    old_ones = {"$in": list(STATUSES)}
    return {
        "runs": list(database.runs.find({"_id": old_ones}).sort("_id")),
        "metrics": list(database.metrics.find({"run_id": old_ones}).sort("_id")),
        "models": list(database.models.find().sort("_id")),
        "files": {(file._id, file.filename): file.read() for file in GridFS(database).find() if belongs(file.filename)},
    }


def belongs(filename: str) -> bool:
    """Whether a file is a source or an artifact of an old run."""
    folder, _, rest = filename.partition("artifact://runs/")
    return folder != "" or int(rest.partition("/")[0]) in STATUSES


# Looking at them


def test_old_runs_are_listed_with_their_statuses_and_results(old: Path) -> None:
    rows = listed(old)
    assert {run_id: row["status"] for run_id, row in rows.items()} == STATUSES
    accuracies = {run_id: row["accuracy"] for run_id, row in rows.items() if row["accuracy"] is not None}
    assert accuracies == pytest.approx({run_id: correct / 360 for run_id, correct in CORRECT.items()})
    assert (rows[1]["model"], rows[2]["model"], rows[3]["model"]) == ("simple ODE-Net", "simple ResNet", "sweep")
    assert (rows[1]["nfe_forward"], rows[1]["epochs"], rows[1]["parameters"]) == (26.0, 3, 1950)
    assert "simple ODE-Net" in done(old, "runs", "--limit", "0").stdout


@pytest.mark.parametrize(
    ("found", "filters"),
    [
        ([2], ["config.model.body=resnet"]),
        ([1], ["omniboard.tags=paper"]),
        ([3], ["experiment.name=sweep"]),
        ([4, 5, 6], ["info.sweep.id=3"]),
        ([7], ["info.parent=1", "config.reevaluation.parent=1"]),
        ([8], ["info.rerun_of=1"]),
        ([5], ["status=PRUNED", "config.data.name=digits"]),
        ([9], ["status=DIED"]),
    ],
)
def test_filters_find_old_runs(opened: Path, found: list[int], filters: list[str]) -> None:
    assert sorted(listed(opened, *filters)) == found


@pytest.mark.parametrize("run_id", STATUSES)
def test_an_old_run_is_shown(opened: Path, run_id: int) -> None:
    assert STATUSES[run_id] in done(opened, "show", str(run_id)).stdout


def test_an_old_run_is_shown_as_a_document(old: Path) -> None:
    shown = done(old, "show", "1", "--json").json
    assert (shown["run_id"], shown["status"]) == (1, "COMPLETED")
    assert shown["config"]["solver"]["method"] == "dopri5"
    assert shown["config"]["model"]["channels"] == 6
    assert shown["metrics"]["solver.nfe_forward"] == {"steps": [1, 2, 3], "values": [26.0, 26.0, 26.0]}
    assert shown["info"]["test"]["accuracy"] == shown["result"] == pytest.approx(293 / 360)
    assert {"weights.safetensors", "evaluation.json", "roc.png", "uncommitted.diff"} <= set(shown["artifacts"])
    assert shown["host"]["hostname"] == "workstation"
    assert shown["repositories"][0]["dirty"]


def test_the_result_of_an_old_evaluation_is_shown(restored: Path) -> None:
    shown = done(restored, "show", "7", "--json").json
    assert shown["info"]["parent"] == 1
    rows = shown["info"]["reevaluation"]["rows"]
    settings = [(row["method"], row["steps"], row["rtol"]) for row in rows]
    assert settings == [("dopri5", None, 1e-3), ("euler", 1, None), ("euler", 4, None), ("dopri5", None, 1e-1)]
    assert [row["nfe_forward"] for row in rows] == [26.0, 1.0, 4.0, 14.0]


def test_python_reads_everything_that_an_old_run_left(old: Path) -> None:
    runs = Runs(database_of(old))
    frame = runs.to_frame({"config.data.name": "digits"})
    assert frame.loc[1, "config.model.body"] == "odenet"
    assert frame.loc[1, "tags"] == ["paper"]
    assert frame.loc[1, "note"] == "the one of table 3"
    for run_id in STATUSES:
        stored = runs.get(run_id)
        assert all(stored.artifact(name) for name in stored.artifacts)
        assert b"DPI = 30" in stored_sources(stored)["pipeline/figures.py"]
    for run_id in TRAINED:
        stored = runs.get(run_id)
        assert sum(tensor.numel() for tensor in stored.weights().values()) == stored.info["parameters"]["total"]
        assert stored.metrics()["training.loss"].index[0] == 1


def test_both_hold_the_same_but_for_what_waited_of_the_killed_run(restored: Path, opened: Path) -> None:
    one, other = contents(restored), contents(opened)
    assert (one["runs"][8].pop("status"), other["runs"][8].pop("status")) == ("DIED", "RUNNING")
    assert one["runs"][8].pop("stop_time") == one["runs"][8]["heartbeat"]
    assert one == other


# Comparing and exporting them


def test_old_runs_are_compared(old: Path) -> None:
    compared = done(old, "compare", "1", "2", "--json").json
    assert [group["name"] for group in compared["groups"]] == ["simple ODE-Net", "simple ResNet"]
    assert compared["config_differences"] == {"model.body": ["odenet", "resnet"]}
    (test,) = compared["tests"]
    assert (test["images"], test["only_first"], test["only_second"]) == (360, 16, 33)
    assert "McNemar" in done(old, "compare", "1", "2").stdout


def test_old_runs_are_compared_on_a_page(opened: Path, tmp_path: Path) -> None:
    done(opened, "compare", "1", "2", "--html", str(tmp_path / "page.html"))
    assert "simple ResNet" in (tmp_path / "page.html").read_text()


def test_old_runs_are_exported(restored: Path, tmp_path: Path) -> None:
    tables = done(restored, "export", "config.model.body=resnet").json
    assert [row["run_id"] for row in tables["runs"]] == [2]
    assert [point["epoch"] for point in tables["metrics"] if point["metric"] == "validation.loss"] == [1, 2, 3]

    done(restored, "export", "--format", "csv", "--out", str(tmp_path / "tables"))
    rows = {int(row["run_id"]): row for row in csv.DictReader((tmp_path / "tables" / "runs.csv").open())}
    assert set(rows) >= set(STATUSES)
    assert rows[1]["config.solver.method"] == "dopri5"
    assert json.loads(rows[1]["tags"]) == ["paper"]
    points = list(csv.DictReader((tmp_path / "tables" / "metrics.csv").open()))
    assert len([point for point in points if (point["run_id"], point["metric"]) == ("9", "training.loss")]) == 3


# The sweep


def test_an_old_sweep_is_listed_and_shown(old: Path) -> None:
    (row,) = done(old, "sweeps", "--json").json
    assert (row["sweep_id"], row["over"], row["trials"], row["pruned"], row["best_run_id"]) == (3, 2, 2, 1, 4)
    shown = done(old, "sweeps", "show", "3", "--json").json
    assert shown["best"]["run_id"] == 4
    assert shown["counts"] == {"completed": 1, "pruned": 1}
    assert "run 4" in done(old, "sweeps", "show", "3").stdout


def test_the_report_of_an_old_sweep_is_written_again(opened: Path, tmp_path: Path) -> None:
    done(opened, "sweeps", "show", "3", "--report", str(tmp_path / "report.html"))
    assert "training.lr" in (tmp_path / "report.html").read_text()


def test_an_old_sweep_is_read_in_python(restored: Path) -> None:
    sweep = load_sweep(Runs(database_of(restored)), 3)
    assert sweep.best is not None
    assert sweep.best.suggestion["training.lr"] == pytest.approx(0.0076734, rel=1e-4)
    assert sweep.is_whole
    assert [check.run_id for check in sweep.checked] == [6]


def test_the_best_configuration_of_an_old_sweep_is_described(opened: Path) -> None:
    best = opened / "sweeps" / "3" / "best.yaml"
    assert best.read_bytes() == run(opened, 3).artifact("best.yaml")
    assert done(opened, "describe", "--json", "with", str(best)).json["parameters"]["total"] == 1372


def test_an_old_sweep_that_is_whole_is_not_gone_on_with(opened: Path) -> None:
    refused = start_command(opened, "sweep", "--resume", "3")
    assert refused.wait() == 2
    assert "sweep 3 has had all of its 2 trials" in refused.stderr


@pytest.mark.slow
def test_a_new_sweep_takes_an_old_run_of_the_same_configuration(opened: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(run(opened, 3).config["space"]["text"])
    words = ("--trials", "1", "--fresh-seeds", "1", "--skip-existing", "with", "training.device=cpu")
    sweep = done(opened, "sweep", str(space), "--json", *words).json["run_id"]
    best = load_sweep(Runs(database_of(opened)), sweep).best
    assert best is not None
    assert (best.run_id, best.is_reused) == (4, True)


# Asking them again


def test_an_old_run_is_evaluated_under_another_solver(opened: Path) -> None:
    evaluated = done(opened, "evaluate", "1", "--solver", "euler", "--steps", "4", "--json").json
    assert (evaluated["parent"], evaluated["status"]) == (1, "COMPLETED")
    as_trained, euler = evaluated["rows"]
    assert as_trained["accuracy"] == pytest.approx(293 / 360, abs=0.01)
    assert euler["nfe_forward"] == 4.0
    assert run(opened, evaluated["run_id"]).info["parent"] == 1


def test_an_old_run_classifies_images(opened: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x=np.zeros((2, 8, 8), np.uint8))
    answers = done(opened, "evaluate", "2", "--predict", str(tmp_path / "images.npz"), "--json").json
    assert answers["classes"] == [str(digit) for digit in range(10)]
    assert sum(answers["images"][0]["probabilities"]) == pytest.approx(1)


def test_an_old_run_is_done_again_and_compared_with(restored: Path) -> None:
    again = done(restored, "rerun", "1", "--json").json
    assert (again["rerun_of"], again["status"]) == (1, "COMPLETED")
    differing = {(difference["kind"], difference["name"]) for difference in again["differences"]}
    assert {("source", "pipeline/figures.py"), ("commit", "of the working tree")} <= differing
    assert again["identical"] == (again["deviations"] == [])
    repeated = run(restored, again["run_id"])
    assert repeated.whole_config == run(restored, 1).whole_config
    assert repeated.result == pytest.approx(293 / 360, abs=0.1)
    (group,) = done(restored, "compare", "1", str(again["run_id"]), "--json").json["groups"]
    assert [member["run_id"] for member in group["runs"]] == [1, again["run_id"]]


def test_the_sources_that_an_old_run_left_are_run(opened: Path) -> None:
    command = done(opened, "rerun", "1", "--use-stored-source", "--json")
    again = command.json
    assert "Will execute the 151 stored source files" in command.stderr
    assert (again["rerun_of"], again["status"]) == (1, "COMPLETED")
    original, repeated = run(opened, 1), run(opened, again["run_id"])
    assert stored_sources(repeated) == stored_sources(original)
    assert repeated.info["source_of"] == 1
    assert repeated.result == pytest.approx(293 / 360, abs=0.1)
    assert set(original.artifacts) - set(repeated.artifacts) == {"uncommitted.diff"}


# Going on with them


def test_an_old_run_goes_on_from_its_checkpoint_with_more_epochs(own: Path) -> None:
    before = run(own, 1).points()
    assert done(own, "resume", "1", "--json", "with", "training.max_epochs=4").json["run_id"] == 1
    after = run(own, 1)
    assert after.status == "COMPLETED"
    assert after.config["training"]["max_epochs"] == 4
    assert all(epochs == [1, 2, 3, 4] for epochs in epochs_of(after).values())
    assert all(after.points()[name]["values"][:3] == points["values"] for name, points in before.items())
    assert len(after.points()["step.loss"]["steps"]) == len(json.loads(after.artifact("steps.json"))["loss"])
    assert after.document["omniboard"] == {"tags": ["paper"], "notes": "the one of table 3"}
    assert after.document["resumed"][0]["status_before"] == "COMPLETED"


def test_what_waits_of_an_old_run_that_was_killed_is_delivered(own: Path) -> None:
    assert done(own, "sync").stdout == "run 9 delivered (DIED)\n"
    assert run(own, 9).document["status"] == "DIED"
    assert run(own, 9).points()["validation.loss"]["steps"] == [1, 2, 3]


def test_an_old_run_that_was_killed_goes_on(own: Path) -> None:
    done(own, "resume", "9", "with", "training.max_epochs=4")
    resumed = run(own, 9)
    assert resumed.status == "COMPLETED"
    assert all(epochs == [1, 2, 3, 4] for epochs in epochs_of(resumed).values())
    assert resumed.document["resumed"][0]["status_before"] == "DIED"


# Models


def test_an_old_model_answers_to_its_name(old: Path) -> None:
    (model,) = done(old, "models", "--json").json
    assert (model["name"], [promotion["run_id"] for promotion in model["history"]]) == ("best-digits", [1])
    database = database_of(old)
    loaded = load_model("best-digits", database=database)
    images = load_splits(loaded.config.data, loaded.config.seed, torch.device("cpu")).test
    with torch.no_grad():  # in the batches of the run's own test, which decide the steps of the solver
        batches = images.pixels.split(loaded.config.evaluation.batch_size)
        logits = torch.cat([loaded.network(loaded.preprocessing.for_evaluation(batch)) for batch in batches])
    predictions = np.load(io.BytesIO(Runs(database).get(1).artifact("predictions.npz")))
    np.testing.assert_allclose(logits.softmax(1).numpy(), predictions["probabilities"], atol=1e-4)
    assert loaded.classes == tuple(str(digit) for digit in range(10))


def test_an_old_name_moves_to_another_old_run_and_is_given_up(own: Path) -> None:
    done(own, "promote", "2", "best-digits")
    assert [promotion.run_id for promotion in get_model("best-digits", database_of(own)).history] == [1, 2]
    assert "86.11%" in done(own, "models").stdout
    done(own, "promote", "--remove", "best-digits")
    assert done(own, "models", "--json").json == []


# Keeping house


def test_old_runs_are_tagged_noted_and_given_files(own: Path, tmp_path: Path) -> None:
    assert done(own, "tag", "1", "table-3", "--json").json["tags"] == ["paper", "table-3"]
    assert done(own, "tag", "1", "paper", "--remove", "--json").json["tags"] == ["table-3"]
    done(own, "note", "1", "another")
    (tmp_path / "review.txt").write_text("fine")
    done(own, "attach", "1", str(tmp_path / "review.txt"))
    assert run(own, 1).document["omniboard"] == {"tags": ["table-3"], "notes": "another"}
    assert run(own, 1).artifact("review.txt") == b"fine"


def test_nothing_that_old_runs_need_counts_as_garbage(own: Path, restored: Path) -> None:
    keeping_checkpoints = ("--checkpoint-days", "100000")
    for home in (own, restored):
        found = done(home, "gc", "--dry-run", "--json", *keeping_checkpoints).json
        assert (found["metrics"], found["files"], found["chunks"], found["checkpoints"]) == (0, [], 0, [])
    found = done(own, "gc", "--dry-run", "--json", "--checkpoint-days", "0", "--keep-best", "0").json
    folders = [Path(checkpoint).parent.name for checkpoint in found["checkpoints"]]
    assert [folder.partition("-")[0] for folder in folders] == ["1", "2"]
    assert found["unknown_folders"] == []


def test_an_old_run_is_removed_and_the_others_stay_whole(own: Path) -> None:
    before = contents(own)
    assert done(own, "rm", "8", "--yes", "--json").json == {"removed": [8]}
    after = contents(own)
    assert [document["_id"] for document in after["runs"]] == [1, 2, 3, 4, 5, 6, 7, 9]
    assert after["metrics"] == [series for series in before["metrics"] if series["run_id"] != 8]
    gone = {name for name in before["files"] if name[1].startswith("artifact://runs/8/")}
    assert len(gone) == 13
    assert after["files"] == {name: content for name, content in before["files"].items() if name not in gone}

    refused = start_command(own, "rm", "1", "--yes")
    assert refused.wait() == 2
    assert "run 1 is the model best-digits" in refused.stderr


def test_old_runs_go_into_a_new_backup_and_out_of_it(restored: Path, tmp_path: Path) -> None:
    file, home = tmp_path / "again.zip", tmp_path / "home"
    done(restored, "backup", str(file))
    done(home, "restore", str(file))
    try:
        assert contents(home) == contents(restored)
    finally:
        EmbeddedStore(home).stop()


def test_an_old_backup_adds_nothing_to_a_store_that_has_its_runs(opened: Path) -> None:
    before = contents(opened)
    assert done(opened, "restore", str(SAMPLES / "backup.zip")).stdout == "0 runs restored; 9 were here already\n"
    assert contents(opened) == before
