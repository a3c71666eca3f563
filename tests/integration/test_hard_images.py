"""Which images are hard for an ODE-Net: each one's own evaluations, from real runs on the digits."""

import json
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments.evaluate import Reevaluation, load_trained, reevaluate_tracked
from odenet.main import main
from pipeline.comparison.compare import compare
from pipeline.config import ConfigError, SolverConfig
from pipeline.data import Images
from pipeline.runs.query import Runs
from pipeline.tasks.classification.evaluation import Predictions, predict
from pipeline.tasks.classification.figures import plot_hard_images
from pipeline.tasks.classification.task import Classification, TrainedModel
from pipeline.tasks.lookup import get_task
from pipeline.tasks.solver_grid import Grid, Setting, solved_with, trained_setting
from pipeline.util.errors import InvalidInput
from tests.helpers import training

pytestmark = pytest.mark.usefixtures("store_home")
TOLERANCE = 1e-5
SMALL = {"max_epochs": 1, "lr": 1e-2, "batch_size": 64, "device": "cpu"}


def train(draws_figures: bool = False, **sections: dict[str, Any]) -> int:
    sections = {"training": SMALL, "model": {"channels": 8}, "data": {"subset": 200}, **sections}
    outcome = training.train(["odenet_simple", "digits"], sections, draws_figures)
    assert outcome.status == "COMPLETED", outcome.error
    return outcome.run_id


@pytest.fixture(scope="module")
def shared() -> int:
    """Trained with one step size for a batch, its first step taken over from batch to batch, direct gradients."""
    return train(solver={"gradient": "direct", "reuse_first_step": True})


@pytest.fixture(scope="module")
def apart(shared: int) -> Reevaluation:
    """The same network solved with steps of every image's own."""
    return reevaluate_tracked(shared, Grid(("euler", "dopri5"), (4,), (1e-3, TOLERANCE), control="sample"))


@pytest.fixture(scope="module")
def model(shared: int) -> TrainedModel:
    return load_trained(shared)[1]


@pytest.fixture(scope="module")
def images(model: TrainedModel) -> Images:
    return Classification().evaluation_data(model, "digits").splits.test


def counted(run_id: int) -> pd.DataFrame:
    return pd.read_csv(BytesIO(Runs().get(run_id).artifact("evaluations_per_image.csv")))


def asked(model: TrainedModel, images: Images, setting: Setting, batch_size: int) -> Predictions:
    with solved_with(model.network, setting):
        return predict(model.network, images, model.preprocessing, batch_size)


def test_every_image_is_counted_as_it_would_be_alone(apart: Reevaluation, model: TrainedModel, images: Images) -> None:
    table = counted(apart.run_id)
    table = table[table["rtol"] == TOLERANCE].reset_index()
    assert table["image"].tolist() == list(range(len(images)))
    assert table["label"].tolist() == images.labels.tolist()
    alone = SolverConfig(rtol=TOLERANCE, atol=TOLERANCE)
    few = Images(images.pixels[:12], images.labels[:12])
    predictions = asked(model, few, Setting(alone, 1.0), batch_size=1)
    assert tuple(table["evaluations"][:12]) == predictions.nfe_per_batch
    assert tuple(table["predicted"][:12]) == tuple(predictions.logits.argmax(axis=1))
    assert predictions.nfe_per_image == ()


def test_counts_and_answers_do_not_depend_on_the_batches(model: TrainedModel, images: Images) -> None:
    setting = replace(
        trained_setting(get_task("classification"), model.config),
        solver=SolverConfig(control="sample", rtol=TOLERANCE, atol=TOLERANCE),
    )
    few = Images(images.pixels[:60], images.labels[:60])
    whole, parts = (asked(model, few, setting, batch_size) for batch_size in (60, 7))
    assert whole.nfe_per_image == parts.nfe_per_image
    assert len(set(whole.nfe_per_image)) > 1
    np.testing.assert_allclose(whole.logits, parts.logits, rtol=1e-4, atol=1e-4)
    assert whole.nfe_per_batch[0] >= max(whole.nfe_per_image)


def test_a_reevaluation_tells_the_spread_of_the_images_where_they_have_steps_of_their_own(apart: Reevaluation) -> None:
    as_trained, euler, *by_sample = apart.rows
    assert [row.label for row in by_sample] == ["dopri5, tol 0.001, by sample", "dopri5, tol 1e-05, by sample"]
    assert (as_trained.control, as_trained.nfe_per_image, euler.control, euler.nfe_per_image) == (
        "batch",
        None,
        "batch",
        None,
    )
    table = counted(apart.run_id)
    assert table["rtol"].unique().tolist() == [1e-3, TOLERANCE]
    for row in by_sample:
        counts = table.loc[table["rtol"] == row.rtol, "evaluations"]
        assert row.nfe_per_image == {"mean": counts.mean(), "smallest": counts.min(), "largest": counts.max()}
        assert row.scores["accuracy"] == pytest.approx(as_trained.scores["accuracy"], abs=0.02)
    loose, tight = (row.nfe_per_image or {} for row in by_sample)
    assert loose["mean"] < tight["mean"]


def test_a_training_with_steps_of_their_own_records_them_with_its_test(shared: int) -> None:
    run = Runs().get(train(draws_figures=True, solver={"control": "sample"}))
    counts = counted(run.run_id)["evaluations"]
    spread = run.info["test"]["nfe_per_image"]
    assert spread == {"mean": counts.mean(), "smallest": counts.min(), "largest": counts.max()}
    assert len(counts) == run.info["test"]["images"]
    assert Image.open(BytesIO(run.artifact("hard_images.png"))).size > (800, 400)
    last = json.loads(run.artifact("history.json"))[-1]
    assert 8 <= last["solver.nfe_per_image"] <= last["solver.nfe_forward"]
    (compared, _) = compare([run, Runs().get(shared)]).groups
    layers = run.info["multiply_adds"]
    as_solved = layers["total"] + (spread["mean"] - 1) * layers["per_evaluation"]
    assert compared.spread("multiply_adds_test").mean == pytest.approx(as_solved)
    again = reevaluate_tracked(run.run_id, Grid(methods=("rk4",), steps=(1,)))
    assert again.rows[0].nfe_per_image == spread
    assert counted(again.run_id)["evaluations"].tolist() == counts.tolist()


def test_images_of_a_part_of_the_test_keep_their_numbers(apart: Reevaluation, shared: int) -> None:
    whole = counted(apart.run_id)
    grid = Grid(("dopri5",), (), (TOLERANCE,), control="sample")
    part = counted(reevaluate_tracked(shared, grid, limit=40).run_id)
    assert len(part) == 40
    assert part["image"].max() >= 40
    of_whole = whole[whole["rtol"] == TOLERANCE].set_index("image").loc[part["image"]]
    assert of_whole["label"].tolist() == part["label"].tolist()
    assert of_whole["evaluations"].tolist() == part["evaluations"].tolist()


def test_a_run_with_shared_steps_leaves_no_counts_of_images(shared: int) -> None:
    run = Runs().get(shared)
    assert run.info["test"]["nfe_per_image"] is None
    assert not {"evaluations_per_image.csv", "hard_images.png"} & set(run.artifacts)


def test_the_command_prints_the_spread(shared: int, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--solver", "dopri5", "--tol", "1e-3", "--control", "sample")
    assert main(["evaluate", str(shared), *options]) == 0
    printed = capsys.readouterr().out
    assert "dopri5, tol 0.001, by sample: an image takes " in printed
    assert " on average" in printed


def test_an_unknown_control_is_refused(shared: int) -> None:
    with pytest.raises(ConfigError, match=r"solver.control must be one of batch, sample, not 'each'"):
        reevaluate_tracked(shared, Grid(control="each"))


def test_the_figure_shows_the_images_with_the_fewest_and_the_most_evaluations() -> None:
    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(4, axis=2).repeat(4, axis=3)
    counts = [26] * 20
    counts[3], counts[11] = 20, 44
    labels = np.zeros(20, dtype=np.int64)
    logits = np.tile(np.array([1, 0], dtype=np.float32), (20, 1))
    logits[11] = (0, 1)
    figure = plot_hard_images(pixels, Predictions(logits, labels, (), tuple(counts)), ("cat", "dog"), "title")
    shown = [(int(ax.images[0].get_array().max()), ax.get_title()) for ax in figure.axes if ax.images]
    assert shown[0] == (3, "20\ncat")
    assert shown[8] == (11, "44\ncat\n→ dog")
    assert len(shown) == 16
    assert {ax.images[0].get_clim() for ax in figure.axes if ax.images} == {(0, 255)}
    with pytest.raises(InvalidInput, match=r"solve with solver\.control=sample"):
        plot_hard_images(pixels, Predictions(logits, labels), ("cat", "dog"), "title")
