"""A trained network under other solvers, on other data and on a user's own images: real runs, real commands."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.evaluate import Reevaluation, load_trained, reevaluate_tracked
from odenet.main import main
from pipeline.config import ConfigError
from pipeline.data.image_files import read_images
from pipeline.data.sets.digits import read_digits
from pipeline.ode.counts import ode_blocks
from pipeline.reporting.figure_style import save_figure
from pipeline.runs.query import ArtifactError, Runs
from pipeline.runs.summary import summaries
from pipeline.tasks.classification.solver_dependence import solver_dependence
from pipeline.tasks.classification.solver_figures import plot_solvers
from pipeline.tasks.classification.task import Classification, ImageData, TrainedModel, class_probabilities
from pipeline.tasks.lookup import get_task
from pipeline.tasks.solver_grid import Grid, Row, Setting, reevaluate, trained_setting
from pipeline.tracking.run_log import RunLog
from pipeline.util.errors import InvalidInput
from tests.helpers import training
from tests.helpers.commands import Command, draw_figure, start_command
from tests.helpers.waiting import output_of, wait_until

pytestmark = pytest.mark.usefixtures("store_home")
CPU = torch.device("cpu")


def train(name: str, **sections: dict[str, Any]) -> int:
    """A small network on the digits; its run's id."""
    sections.setdefault("model", {})["channels"] = 16
    small = {"max_epochs": 4, "lr": 1e-2, "batch_size": 64, "device": "cpu"}
    outcome = training.train([name, "digits"], {"training": small, **sections})
    assert outcome.status == "COMPLETED", outcome.error
    return outcome.run_id


@pytest.fixture(scope="module")
def odenet() -> int:
    """Trained with dopri5 at 1e-3."""
    return train("odenet_simple")


@pytest.fixture(scope="module")
def euler_net() -> int:
    """Trained with a single Euler step over a long time: a residual block."""
    return train("odenet_simple", solver={"method": "euler"}, model={"final_time": 4.0})


@pytest.fixture(scope="module")
def resnet() -> int:
    return train("resnet_small")


@pytest.fixture(scope="module")
def evaluated(odenet: int) -> Reevaluation:
    with mock.patch.object(RunLog, "add_figure", draw_figure):
        return reevaluate_tracked(odenet, Grid(methods=("euler", "rk4", "dopri5"), steps=(1, 4)))


@pytest.fixture(scope="module")
def model(odenet: int) -> TrainedModel:
    return load_trained(odenet)[1]


def odenet_command(*arguments: object) -> tuple[int, Command]:
    """A command, to its end, and its exit status."""
    command = start_command(Path(os.environ["ODENET_HOME"]), *map(str, arguments))
    return command.wait(), command


def digits_of(model: TrainedModel) -> ImageData:
    return Classification().evaluation_data(model, "digits")


def number_of_runs() -> int:
    return len(Runs().find())


# The table


def test_the_first_row_repeats_what_the_training_recorded(evaluated: Reevaluation, odenet: int) -> None:
    recorded = Runs().get(odenet).info["test"]
    first = evaluated.rows[0]
    assert first.trained
    assert (first.method, first.rtol, first.changed) == ("dopri5", 1e-3, 0)
    assert (first.scores["accuracy"], first.scores["loss"], first.nfe_forward) == pytest.approx(
        (recorded["accuracy"], recorded["loss"], recorded["nfe_forward"]), rel=1e-6
    )


def test_every_setting_of_the_grid_is_a_row_once(evaluated: Reevaluation) -> None:
    assert [row.label for row in evaluated.rows] == [
        "dopri5, tol 0.001",
        "euler, 1 step",
        "euler, 4 steps",
        "rk4, 1 step",
        "rk4, 4 steps",
        "dopri5, tol 0.1",
        "dopri5, tol 1e-05",
    ]
    assert [row.trained for row in evaluated.rows] == [True] + 6 * [False]


def test_tolerances_are_applied(evaluated: Reevaluation) -> None:
    """Bijsterbosch's table 8.2 has the same row for three tolerances: as nobody's evaluations would."""
    rows = {row.rtol: row for row in evaluated.rows if row.method == "dopri5"}
    counts = [rows[tolerance].nfe_forward or 0 for tolerance in (1e-1, 1e-3, 1e-5)]
    assert counts[0] < counts[1] < counts[2]
    assert len({rows[tolerance].scores["loss"] for tolerance in (1e-1, 1e-3, 1e-5)}) == 3


def test_fixed_steps_cost_their_evaluations_and_more_of_them_come_nearer(evaluated: Reevaluation) -> None:
    rows = {row.label: row for row in evaluated.rows}
    assert [rows[label].nfe_forward for label in ("euler, 1 step", "euler, 4 steps")] == [1, 4]
    assert [rows[label].nfe_forward for label in ("rk4, 1 step", "rk4, 4 steps")] == [4, 16]
    assert (rows["euler, 1 step"].changed or 0) > (rows["rk4, 4 steps"].changed or 0)
    assert all((row.milliseconds_per_image or 0) > 0 for row in evaluated.rows)


def test_the_share_of_changed_predictions_counts_images(model: TrainedModel) -> None:
    data = digits_of(model)
    trained = trained_setting(get_task("classification"), model.config)
    euler = Setting(replace(trained.solver, method="euler"), trained.final_time)
    _, row = reevaluate(Classification(), model, data, [trained, euler])
    before = class_probabilities(model, data.splits.test.pixels).argmax(axis=1)
    ode_blocks(model.network)[0].solver = euler.solver
    after = class_probabilities(model, data.splits.test.pixels).argmax(axis=1)
    ode_blocks(model.network)[0].solver = trained.solver
    assert row.changed == (before != after).mean() > 0


def test_a_failed_solve_is_a_row_with_its_status_and_the_others_follow(model: TrainedModel) -> None:
    data = digits_of(model)
    trained = trained_setting(get_task("classification"), model.config)
    impatient = Setting(replace(trained.solver, rtol=1e-6, atol=1e-6, max_steps=2), trained.final_time)
    rk4 = Setting(replace(trained.solver, method="rk4", steps=4), trained.final_time)
    rows = list(reevaluate(Classification(), model, data, [trained, impatient, rk4]))
    assert [row.status for row in rows] == ["completed", "step_limit", "completed"]
    assert rows[1].scores["accuracy"] is None
    assert "step limit" in str(rows[1].failure)
    assert rows[2].scores["accuracy"] == pytest.approx(rows[0].scores["accuracy"], abs=0.02)
    assert ode_blocks(model.network)[0].solver == trained.solver


def test_a_method_that_cannot_solve_the_network_is_a_row_that_says_so_and_the_others_follow(
    model: TrainedModel,
) -> None:
    trained = trained_setting(get_task("classification"), model.config)
    leapfrog = Setting(replace(trained.solver, method="leapfrog", steps=1), trained.final_time)
    rk4 = Setting(replace(trained.solver, method="rk4", steps=4), trained.final_time)
    rows = list(reevaluate(Classification(), model, digits_of(model), [trained, leapfrog, rk4]))
    assert [row.status for row in rows] == ["completed", "refused", "completed"]
    assert str(rows[1].failure).startswith("leapfrog needs a state of two parts")


def test_other_final_times_are_solved_up_to(model: TrainedModel) -> None:
    data = digits_of(model)
    settings = Grid(methods=("rk4",), steps=(2,), final_times=(0.5, 1.0)).settings(
        trained_setting(get_task("classification"), model.config)
    )
    rows = list(reevaluate(Classification(), model, data, settings))
    assert [row.final_time for row in rows] == [1.0, 0.5, 1.0]
    assert (rows[1].changed or 0) > (rows[2].changed or 0)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        (Grid(methods=("eulr",)), r"solver.method must be one of .* \(did you mean euler\?\)"),
        (Grid(steps=(0,)), "solver.steps must be at least 1, not 0"),
        (Grid(tolerances=(-1e-3,)), "solver.rtol must be at least 1e-15, not -0.001"),
        (Grid(final_times=(0.0,)), "model.final_time must be above 0, not 0.0"),
    ],
)
def test_an_impossible_setting_is_named_and_leaves_no_run(odenet: int, grid: Grid, sentence: str) -> None:
    before = number_of_runs()
    with pytest.raises(ConfigError, match=sentence):
        reevaluate_tracked(odenet, grid)
    assert number_of_runs() == before


# The run


def test_a_reevaluation_is_a_run_that_points_to_its_parent(evaluated: Reevaluation, odenet: int) -> None:
    stored = Runs().get(evaluated.run_id)
    assert stored.status == "COMPLETED"
    assert stored.document["experiment"]["name"] == "reevaluation"
    assert stored.info["parent"] == stored.config["reevaluation"]["parent"] == odenet
    assert stored.result == evaluated.rows[0].scores["accuracy"]
    assert json.loads(stored.artifact("reevaluation.json"))["rows"] == evaluated.to_dict()["rows"]
    assert Image.open(BytesIO(stored.artifact("solvers.png"))).size > (800, 400)


def test_lists_of_runs_show_a_reevaluation_beside_its_parent(evaluated: Reevaluation, odenet: int) -> None:
    runs = Runs()
    child, parent = summaries(runs, [runs.get(evaluated.run_id), runs.get(odenet)])
    for key in ("model", "data", "seed", "accuracy", "parameters"):
        assert child.to_dict()[key] == parent.to_dict()[key]


def test_a_reevaluation_sends_the_reader_to_the_run_that_has_the_network(evaluated: Reevaluation, odenet: int) -> None:
    sentence = f"is a re-evaluation of run {odenet}, no training: name run {odenet}"
    with pytest.raises(InvalidInput, match=sentence):
        reevaluate_tracked(evaluated.run_id, Grid())
    for command in (["rerun"], ["rerun", "--use-stored-source"], ["resume"]):
        status, done = odenet_command(command[0], str(evaluated.run_id), *command[1:])
        assert (status, sentence in done.stderr) == (2, True), done.stderr


def test_changed_weights_are_refused(odenet: int) -> None:
    runs = Runs()
    runs.database.runs.update_one({"_id": odenet}, {"$set": {"info.weights.sha256": "0" * 64}})
    recorded = Runs().get(odenet)
    try:
        with pytest.raises(ArtifactError, match="do not use them"):
            reevaluate_tracked(odenet, Grid())
    finally:
        name = recorded.info["weights"]["name"]
        entry = next(a for a in recorded.document["artifacts"] if a["name"] == name)
        metadata = runs.database.fs.files.find_one({"_id": entry["file_id"]})
        assert metadata is not None
        runs.database.runs.update_one(
            {"_id": odenet}, {"$set": {"info.weights.sha256": metadata["metadata"]["sha256"]}}
        )


def test_a_resnet_has_no_solver_but_answers_about_other_data(resnet: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"run {resnet} is a model without an ODE, which has no solver to vary"):
        reevaluate_tracked(resnet, Grid())
    done = reevaluate_tracked(resnet, Grid(), str(digits_file(tmp_path)))
    (row,) = done.rows
    assert row.scores["accuracy"] == Runs().get(resnet).result
    assert (row.label, row.nfe_forward) == ("no solver", None)
    assert Runs().get(done.run_id).artifacts[-1] == "reevaluation.json"


def test_the_command_prints_one_document_and_warns_on_stderr(euler_net: int) -> None:
    words = ("evaluate", euler_net, "--solver", "euler,dopri5", "--steps", "1", "--tol", "1e-3", "--json")
    status, done = odenet_command(*words)
    assert status == 0, done.stderr
    document = done.json
    assert (document["parent"], document["status"], document["batch_size"]) == (euler_net, "COMPLETED", 256)
    assert [(row["method"], row["trained"]) for row in document["rows"]] == [("euler", True), ("dopri5", False)]
    assert "the accuracy depends on the solver of the training" in document["warnings"][0]
    assert f"warning: {document['warnings'][0]}" in done.stderr
    assert Runs().get(document["run_id"]).info["parent"] == euler_net


@pytest.mark.slow
def test_a_terminated_reevaluation_keeps_the_settings_that_were_done(odenet: int) -> None:
    tolerances = ",".join(f"{k}e-9" for k in range(1, 100))
    command = [sys.executable, "-m", "odenet.main", "evaluate", str(odenet), "--tol", tolerances, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_until(
        lambda: any(
            run.status == "RUNNING" and len(run.info["reevaluation"]["rows"]) >= 4
            for run in Runs().find({"info.parent": odenet})
        )
    )
    process.terminate()
    document = json.loads(output_of(process)[0])
    assert process.returncode == 130
    stored = Runs().get(document["run_id"])
    assert (stored.status, stored.result) == ("INTERRUPTED", None)
    assert len(stored.info["reevaluation"]["rows"]) == len(document["rows"]) >= 4


# Other data


def digits_file(folder: Path, **changes: Any) -> Path:
    digits = read_digits()
    arrays = {"x_train": digits.x_train, "y_train": digits.y_train, "x_test": digits.x_test, "y_test": digits.y_test}
    np.savez(folder / "other.npz", **arrays | {"classes": np.array(digits.classes)} | changes)
    return folder / "other.npz"


def test_other_data_are_scored_on_their_test_images(odenet: int, tmp_path: Path) -> None:
    digits = read_digits()
    wrong_labels = digits_file(tmp_path, y_test=(digits.y_test + 1) % 10)
    done = reevaluate_tracked(odenet, Grid(methods=()), str(wrong_labels))
    (row,) = done.rows
    accuracy = row.scores["accuracy"]
    assert accuracy is not None
    assert accuracy < 0.2 < (Runs().get(odenet).result or 0)
    assert Runs().get(done.run_id).config["data"]["name"] == str(wrong_labels)


def test_classes_with_other_names_are_pointed_out(odenet: int, tmp_path: Path) -> None:
    named = digits_file(tmp_path, classes=np.array(list("abcdefghij")))
    done = reevaluate_tracked(odenet, Grid(methods=()), str(named))
    assert done.warnings == [f"the classes of {named} have other names than the network's: they are matched in order"]


def test_classes_in_another_order_are_matched_by_their_names(odenet: int, tmp_path: Path) -> None:
    digits = read_digits()
    order = np.random.default_rng(0).permutation(10)
    labels = {f"y_{part}": np.argsort(order)[getattr(digits, f"y_{part}")] for part in ("train", "test")}
    shuffled = digits_file(tmp_path, classes=np.array(digits.classes)[order], **labels)
    done = reevaluate_tracked(odenet, Grid(methods=()), str(shuffled))
    assert done.rows[0].scores["accuracy"] == Runs().get(odenet).result
    assert done.warnings == [
        f"{shuffled}: the classes come in another order than the network's: they are matched by their names"
    ]


def test_a_class_of_the_networks_alone_is_matched_by_its_name(odenet: int, tmp_path: Path) -> None:
    digits, seven = read_digits(), {}
    for part in ("train", "test"):
        images, labels = getattr(digits, f"x_{part}"), getattr(digits, f"y_{part}")
        seven |= {f"x_{part}": images[labels == 7], f"y_{part}": labels[labels == 7].astype(str)}
    alone = digits_file(tmp_path, **seven, classes=np.array(["7"]))
    with np.load(BytesIO(Runs().get(odenet).artifact("predictions.npz"))) as stored:
        is_right = stored["probabilities"][stored["labels"] == 7].argmax(1) == 7
    done = reevaluate_tracked(odenet, Grid(methods=()), str(alone))
    assert done.rows[0].scores["accuracy"] == pytest.approx(is_right.mean(), abs=0.05)
    assert done.warnings == [f"{alone}: there are 1 of the network's 10 classes: they are matched by their names"]


def test_the_trainings_own_data_are_asked_for_their_test_split_however_they_are_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that are not split, at a size that a preset's crop makes smaller."""
    draw = np.random.default_rng(0)
    for name, level in (("cat", 60), ("dog", 160)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(20):
            pixels = draw.integers(level, level + 60, size=(32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    updates = {"training": {"max_epochs": 1, "device": "cpu"}, "model": {"blocks": 1}}
    run_id = training.train(["gladzik_resnet", "photos/"], updates).run_id
    asked = [reevaluate_tracked(run_id, Grid(methods=()), spelt) for spelt in ("photos/", "photos", "./photos/")]
    asked.append(reevaluate_tracked(run_id, Grid(methods=()), str(tmp_path / "photos")))
    loss = Runs().get(run_id).info["test"]["loss"]
    for done in asked:
        assert Runs().get(done.run_id).info["test"]["images"] == 8
        assert done.rows[0].scores["loss"] == pytest.approx(loss, rel=1e-6)
        assert done.warnings == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"x_train": np.zeros((20, 9, 8), np.uint8), "x_test": np.zeros((10, 9, 8), np.uint8)},
            "are 1 × 9 × 8, but the network takes 1 × 8 × 8: choose a data set of that size",
        ),
        (
            {"x_train": np.zeros((20, 8, 8, 3), np.uint8), "x_test": np.zeros((10, 8, 8, 3), np.uint8)},
            "are 3 × 8 × 8, but the network takes 1 × 8 × 8",
        ),
        (
            {"x_train": np.zeros((20, 8, 8), np.uint8), "classes": np.array(["a", "b", "c"])},
            "has 3 classes, but the network knows 10: choose a data set with as many",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_in_a_sentence(
    odenet: int, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    few = {"x_test": np.zeros((10, 8, 8), np.uint8), "y_train": np.arange(20) % 3, "y_test": np.arange(10) % 3}
    before = number_of_runs()
    with pytest.raises(InvalidInput, match=sentence):
        reevaluate_tracked(odenet, Grid(), str(digits_file(tmp_path, **few | changes)))
    assert number_of_runs() == before


# The warning

SCORES = {"accuracy": 0.9, "loss": 0.3}
TRAINED = Row("dopri5", None, 1e-3, 1e-3, 1.0, True, "completed", SCORES, 20.0, 0.1, 0.0)
IMAGES = 900
"""Of which 90 % right have a standard error of one percentage point."""


def fixed(method: str, steps: int, nfe: float, accuracy: float, trained: bool = False) -> Row:
    scores = {**SCORES, "accuracy": accuracy}
    return Row(method, steps, None, None, 1.0, trained, "completed", scores, nfe, 0.1, 0.0)


def adaptive(tolerance: float, nfe: float, accuracy: float) -> Row:
    scores = {**SCORES, "accuracy": accuracy}
    return replace(TRAINED, rtol=tolerance, atol=tolerance, nfe_forward=nfe, scores=scores, trained=False)


def failed(row: Row, status: str) -> Row:
    return replace(row, scores=dict.fromkeys(SCORES), nfe_forward=None, status=status, failure="why")


def test_the_warning_begins_beyond_twice_the_standard_error() -> None:
    assert solver_dependence([TRAINED, adaptive(1e-5, 60, 0.881)], IMAGES) is None
    warning = solver_dependence([TRAINED, adaptive(1e-5, 60, 0.879)], IMAGES)
    assert warning is not None
    assert "90.00% with dopri5, tol 0.001, but 87.90% with dopri5, tol 1e-05" in warning


def test_an_accuracy_of_all_images_has_an_error_too() -> None:
    perfect = replace(TRAINED, scores={**SCORES, "accuracy": 1.0})
    assert solver_dependence([perfect, adaptive(1e-5, 60, 0.99)], 100) is None
    assert "standard error of 0.96%" in str(solver_dependence([perfect, adaptive(1e-5, 60, 0.97)], 100))


@pytest.mark.parametrize(
    "coarser",
    [
        adaptive(1e-1, 14, 0.5),
        fixed("euler", 4, 4, 0.5),
        fixed("rk4", 100, 400, 0.5),
        replace(adaptive(1e-5, 60, 0.5), final_time=2.0),
        failed(adaptive(1e-5, 60, 0.5), "step_limit"),
    ],
)
def test_what_a_coarser_or_another_solve_answers_is_no_reason_to_warn(coarser: Row) -> None:
    assert solver_dependence([TRAINED, coarser], IMAGES) is None


def test_a_coarse_training_is_held_against_finer_solvers_or_warned_about_unseen() -> None:
    trained = fixed("euler", 1, 1, 0.9, trained=True)
    assert "no setting here is as fine" in str(solver_dependence([trained], IMAGES))
    diverged = failed(fixed("euler", 8, 8, 0.5), "diverged")
    assert "what is finer here failed (euler, 8 steps)" in str(solver_dependence([trained, diverged], IMAGES))
    assert solver_dependence([trained, adaptive(1e-3, 20, 0.9)], IMAGES) is None
    assert "but 50.00% with euler, 8 steps" in str(solver_dependence([trained, fixed("euler", 8, 8, 0.5)], IMAGES))
    assert "but 50.00% with dopri5" in str(solver_dependence([trained, adaptive(1e-1, 14, 0.5)], IMAGES))


# The figure


def test_the_figure_has_a_line_a_method_and_rings_the_training(tmp_path: Path) -> None:
    rows = [TRAINED, fixed("euler", 1, 1, 0.8), fixed("euler", 2, 2, 0.85), adaptive(1e-1, 14, 0.9)]
    rows.append(failed(adaptive(1e-9, 0, 0), "underflow"))
    figure = plot_solvers(rows, IMAGES, "a network")
    (ax,) = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in ax.get_lines()}
    assert lines["euler"] == pytest.approx(np.array([[1, 0.8], [2, 0.85]]))
    assert lines["dopri5"] == pytest.approx(np.array([[14, 0.9], [20, 0.9]]))
    (ring,) = [c for c in ax.collections if c.get_label() == "as trained: dopri5, tol 0.001"]
    assert np.asarray(ring.get_offsets()).tolist() == [[20, 0.9]]
    assert [text.get_text() for text in ax.texts] == ["0.1", "0.001", "1", "2"]
    assert "Failed (underflow): dopri5, tol 1e-09." in figure.get_supxlabel()
    save_figure(figure, tmp_path / "solvers.png")
    assert (tmp_path / "solvers.png").stat().st_size > 10_000


# Own images


@pytest.fixture(scope="module")
def pngs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' test images as files, and beside them what is none."""
    folder = tmp_path_factory.mktemp("pngs")
    for index, pixels in enumerate(read_digits().x_test):
        Image.fromarray(pixels[..., 0]).save(folder / f"{index:04}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_the_command_writes_the_probabilities_that_the_run_recorded(odenet: int, pngs: Path) -> None:
    status, done = odenet_command("evaluate", odenet, "--predict", pngs)
    assert status == 0, done.stderr
    header, *rows = csv.reader(StringIO(done.stdout))
    assert header == ["image", "predicted", *"0123456789"]
    assert [row[0] for row in rows[:2]] == [str(pngs / "0000.png"), str(pngs / "0001.png")]
    recorded = np.load(BytesIO(Runs().get(odenet).artifact("predictions.npz")))["probabilities"]
    probabilities = np.array([row[2:] for row in rows], dtype=float)
    assert probabilities == pytest.approx(recorded, abs=1e-5)
    assert [row[1] for row in rows] == [header[2:][k] for k in recorded.argmax(axis=1)]
    assert done.stderr == ""


def test_images_of_another_size_are_resized_and_said_to_be(
    resnet: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (20, 30), "white").save(tmp_path / "large.png")
    assert main(["evaluate", str(resnet), "--predict", str(tmp_path / "large.png"), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "1 of 1 images were resized to 8 × 8\n"
    (answer,) = json.loads(printed.out)["images"]
    assert sum(answer["probabilities"]) == pytest.approx(1)


def test_the_arrays_that_a_run_with_random_crops_was_tested_on_are_answered_as_in_its_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("resnet_small", data={"preprocessing": "random_crop", "subset": 100})
    np.savez(path := tmp_path / "digits.npz", x=read_digits().x_test)
    assert main(["evaluate", str(run), "--predict", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    recorded = np.load(BytesIO(Runs().get(run).artifact("predictions.npz")))["probabilities"]
    probabilities = np.array([answer["probabilities"] for answer in json.loads(printed.out)["images"]])
    assert probabilities == pytest.approx(recorded, abs=1e-5)
    assert printed.err.endswith(f"{len(recorded)} of {len(recorded)} images were resized to 28 × 28\n")


def test_what_is_done_to_an_array_of_images_is_said(
    resnet: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(path := tmp_path / "floats.npz", x=np.full((1, 8, 8), 0.5))
    assert main(["evaluate", str(resnet), "--predict", str(path)]) == 0
    assert capsys.readouterr().err == f"{path}: numbers from 0 to 1 became whole ones from 0 to 255\n"


def test_pngs_become_what_the_network_takes(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.PNG")
    Image.new("RGBA", (4, 4), (255, 255, 255, 0)).save(tmp_path / "transparent.png")
    Image.new("1", (4, 4), 1).save(tmp_path / "white.png")
    grey = read_images([tmp_path], (1, 4, 4))
    assert grey.pixels.shape == (3, 1, 4, 4)
    assert [int(image.unique()) for image in grey.pixels] == [76, 0, 255]
    colour = read_images([tmp_path / "red.PNG"], (3, 2, 6))
    assert colour.pixels.shape == (1, 3, 2, 6)
    assert colour.pixels[0, :, 0, 0].tolist() == [255, 0, 0]
    assert (grey.resized, colour.resized) == (0, 1)


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    for key in ("x", "x_test"):
        np.savez(tmp_path / "images.npz", **{key: pixels})
        images = read_images([tmp_path / "images.npz"], (1, 4, 4))
        assert images.names == (f"{tmp_path}/images.npz[0]", f"{tmp_path}/images.npz[1]")
        assert (images.pixels.numpy()[:, 0] == pixels).all()


def write_nothing(_path: Path) -> None:
    """A file that is not there."""


def write_pickle(path: Path) -> None:
    np.savez(path, x=np.array([{"an": "object"}], dtype=object))


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("absent.png", write_nothing, "cannot be read as a PNG or JPEG image: there is no such file"),
        ("text.png", lambda path: path.write_text("text"), "cannot be read as a PNG or JPEG image"),
        ("cut.png", lambda path: path.write_bytes(png_bytes()[:60]), "cannot be read as a PNG or JPEG image"),
        ("photo.gif", lambda path: Image.new("L", (4, 4)).save(path), "cannot be read as a PNG or JPEG image"),
        ("deep.png", lambda path: Image.new("I;16", (4, 4)).save(path), "has 16 bits per channel; save it with 8"),
        ("folder", lambda path: path.mkdir(), "has no PNG or JPEG files"),
        ("absent.npz", write_nothing, "cannot be read as an .npz"),
        ("pickle.npz", write_pickle, "cannot be read as an .npz of plain arrays"),
        ("y.npz", lambda path: np.savez(path, y=np.zeros(3)), "has neither x nor x_test"),
        (
            "float.npz",
            lambda path: np.savez(path, x=np.full((2, 4, 4), 2.5)),
            "x are float64 from 2.5 to 2.5",
        ),
        (
            "large.npz",
            lambda path: np.savez(path, x=np.zeros((2, 5, 5), np.uint8)),
            r"network takes \(n, 4, 4, 1\)",
        ),
        (
            "empty.npz",
            lambda path: np.savez(path, x=np.zeros((0, 4, 4), np.uint8)),
            r"network takes \(n, 4, 4, 1\)",
        ),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(
    tmp_path: Path, name: str, write: Callable[[Path], object], sentence: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(InvalidInput, match=sentence) as refused:
        read_images([tmp_path / name], (1, 4, 4))
    assert str(tmp_path / name) in str(refused.value)


def png_bytes() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def test_predictions_leave_no_room_for_a_grid(odenet: int, pngs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(odenet), "--solver", "euler", "--data", "digits", "--predict", str(pngs)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "odenet: --predict answers with the solver of the training: leave out --solver, --data\n"
