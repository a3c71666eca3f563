"""A run of trajectories from the command line to its record: shown, resumed, rerun, searched, loaded."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import odenet
from pipeline.runs.query import Runs
from pipeline.tasks.trajectories.networks import PointNetwork
from tests.helpers.commands import start_command
from tests.helpers.pages import run_example
from tests.helpers.paths import ROOT

SMALL = ("with", "crossing", "g1d", "data.subset=100", "training.max_epochs=2", "training.device=cpu")


def done(home: Path, *words: str, draws_figures: bool = False) -> Any:
    command = start_command(home, *words, draws_figures=draws_figures)
    assert command.wait() == 0, command.stderr
    return command


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    done(folder, "run", *SMALL, "model.augment=1", "--json", draws_figures=True)
    return folder


def test_a_run_is_recorded_with_its_metrics_and_figures(home: Path) -> None:
    shown = done(home, "show", "1", "--json").json
    assert shown["info"]["test"].keys() == {"loss", "rmse", "points", "nfe_forward"}
    assert {"validation.rmse", "validation.loss", "training.loss", "solver.nfe_forward"} <= shown["metrics"].keys()
    drawn = {"trajectories.png", "trajectories.npz", "predictions.npz", "function_evaluations.png"}
    assert drawn <= set(shown["artifacts"])


def test_a_run_that_goes_on_ends_as_one_that_was_not_broken_off(home: Path) -> None:
    long = (*SMALL[:-2], "training.max_epochs=4", "training.device=cpu", "model.augment=1")
    whole = done(home, "run", *long, "--json").json
    parted = done(home, "run", *SMALL, "model.augment=1", "--json").json
    resumed = done(home, "resume", str(parted["run_id"]), "--json", "with", "training.max_epochs=4").json
    assert resumed["metrics"]["validation.loss"]["values"] == whole["metrics"]["validation.loss"]["values"]


def test_a_run_comes_out_the_same_again(home: Path) -> None:
    done(home, "rerun", "1", "--expect-identical")


def test_a_trained_network_is_loaded_and_says_what_was_stored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", str(home))
    network = odenet.load_model(1).network
    assert isinstance(network, PointNetwork)
    with np.load(BytesIO(Runs().get(1).artifact("predictions.npz"))) as arrays, torch.no_grad():
        answers = network(torch.from_numpy(arrays["x"])).numpy()
        np.testing.assert_allclose(answers, arrays["answers"], atol=1e-5)


def test_a_run_is_evaluated_with_other_solvers_and_on_other_points(home: Path) -> None:
    rows = done(home, "evaluate", "1", "--solver", "euler,dopri5", "--json").json["rows"]
    assert len(rows) > 2
    assert all(row["rmse"] is not None for row in rows)
    done(home, "evaluate", "1", "--data", "identity1d")
    refused = start_command(home, "evaluate", "1", "--data", "spheres")
    assert refused.wait() != 0
    assert "of another kind" in refused.stderr


MORE = """
import numpy as np
from pipeline import plugins

@plugins.data_set("opposites", task="trajectories")
def opposites(*, count: int = 40):
    x = np.random.default_rng(0).standard_normal((count, 2))
    return {"x_train": x, "y_train": -x, "x_test": x, "y_test": -x}
"""


def test_other_points_are_asked_for_with_their_own_options_and_all_of_their_test(home: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "more.py"
    plugin.write_text(MORE)
    changes = ("data.options.stretch=2.0", "data.subset=900", "training.max_epochs=1", "training.device=cpu")
    words = ("with", "crossing", "reflection2d", "model.time_weights=piecewise", *changes)
    trained = done(home, "run", "--json", *words).json["run_id"]
    asked = done(home, "evaluate", str(trained), "--data", "opposites", "--plugin", str(plugin), "--json").json
    assert asked["images"] == 40
    data = done(home, "show", str(asked["run_id"]), "--json").json["config"]["data"]
    assert (data["name"], data["options"], data["subset"]) == ("opposites", {"count": 40}, None)
    refused = done(home, "evaluate", str(trained), "--solver", "dopri5", "--control", "sample").stdout
    assert "refused: weights that depend on time are one for a batch: use solver.control=batch" in refused
    assert "odenet board for the figure" not in refused, "there is none"


def test_a_figure_for_which_the_ode_cannot_be_solved_costs_no_run(home: Path) -> None:
    few = ("solver.control=sample", "solver.rtol=1e-5", "solver.atol=1e-5", "solver.max_steps=8")
    words = ("with", "crossing", "spheres", "training.max_epochs=2", "training.batch_size=256", *few)
    ran = done(home, "run", "--json", *words, draws_figures=True)
    assert ran.json["status"] == "COMPLETED"
    assert "what the network says of the plane is not drawn: the forward solve of sample" in ran.stderr
    shown = done(home, "show", str(ran.json["run_id"]), "--json").json
    assert "trajectories.png" in shown["artifacts"]
    assert "plane.png" not in shown["artifacts"]


@pytest.mark.slow
def test_a_sweep_searches_its_keys(home: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(
        "with: [crossing, g1d, data.subset=100, training.max_epochs=2, training.device=cpu]\n"
        "minimise: validation.rmse\n"
        "space:\n  model.augment: {choice: [0, 1]}\n  regularisation.kinetic: {loguniform: [1.0e-4, 1.0e-1]}\n"
    )
    done(home, "sweep", str(space), "--trials", "2", "--parallel", "1")


def test_the_pages_example_in_python_draws_several_networks(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = done(home, "run", *SMALL, "--json").json["run_id"]
    monkeypatch.setenv("ODENET_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    run_example(ROOT / "docs" / "trajectories.md", ("2:", f"{other}:"))
    assert (tmp_path / "crossing.png").stat().st_size > 10_000
