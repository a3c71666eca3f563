"""Sweeps with two objectives and constraints on real Ray workers."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.util.nested import flatten
from tests.helpers.commands import database_of, start_command, wait_until
from tests.helpers.swept import SweptHome, sweep_of, write_space

SPACE = """
with: [odenet_simple, digits, data.subset=200, model.channels=8, training.max_epochs=2, training.device=cpu]
maximise: validation.accuracy
minimise: solver.nfe_forward
space:
  training.lr: {loguniform: [1e-3, 1e-1]}
  solver.method: {choice: [euler, midpoint, rk4]}
"""
FEW = "solver.nfe_forward <= 3"
"""A step of Euler's method takes one evaluation, of the midpoint method two, of RK4 four."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SweptHome]:
    home = tmp_path_factory.mktemp("objectives") / "home"
    words = ("--trials", "6", "--parallel", "2", "--constraint", FEW, "--json")
    command = start_command(home, "sweep", write_space(home, SPACE), *words)
    assert command.wait() == 0, command.stderr
    yield SweptHome(home, command, sweep_of(home))
    EmbeddedStore(home).stop()


def test_every_trial_has_both_values_of_the_epoch_whose_weights_its_run_keeps(swept: SweptHome) -> None:
    runs = Runs(database_of(swept.home))
    assert len(swept.sweep.state.over()) == 6
    for trial in swept.sweep.state.trials.values():
        assert trial.outcome == "completed", trial
        run = runs.get(trial.run_id)
        best = run.facts.best_epoch
        assert best is not None
        points = run.points()
        kept = {name: points[name]["values"][best - 1] for name in ("validation.accuracy", "solver.nfe_forward")}
        assert trial.measured == kept
        assert trial.value == kept["validation.accuracy"]


def test_what_violates_the_constraint_says_so_and_is_not_on_the_front(swept: SweptHome) -> None:
    trials = swept.sweep.state.trials.values()
    for trial in trials:
        assert trial.violates == ([FEW] if trial.measured["solver.nfe_forward"] > 3 else [])
        assert bool(trial.violates) == (trial.suggestion["solver.method"] == "rk4")
    meeting = [trial for trial in trials if not trial.violates]
    front = swept.sweep.front
    assert front
    assert not any(trial.violates for trial in front)
    best = max(meeting, key=lambda trial: trial.measured["validation.accuracy"])
    assert front[0].measured["validation.accuracy"] == best.measured["validation.accuracy"]
    assert swept.sweep.best is None
    assert [trial["number"] for trial in swept.command.json["front"]] == [trial.number for trial in front]


def test_each_configuration_of_the_front_is_a_file_that_run_takes(swept: SweptHome) -> None:
    run = Runs(database_of(swept.home)).get(1)
    assert "best.yaml" not in run.artifacts
    for trial in swept.sweep.front:
        path = swept.home / "sweeps" / "1" / f"trial-{trial.number}.yaml"
        assert run.artifact(path.name).decode() == path.read_text()
        suggested = flatten(yaml.safe_load(path.read_text()))
        assert suggested | trial.suggestion == suggested
    described = start_command(swept.home, "describe", "--json", "with", str(path))
    assert described.wait() == 0, described.stderr


def test_the_report_and_the_terminal_tell_of_the_front(swept: SweptHome) -> None:
    report = Runs(database_of(swept.home)).get(1).artifact("report.html").decode()
    assert "The Pareto front" in report
    shown = start_command(swept.home, "sweeps", "show", "1")
    assert shown.wait() == 0, shown.stderr
    assert f"{len(swept.sweep.front)} of 6 trials" in " ".join(shown.stdout.split())
    refused = start_command(swept.home, "sweeps", "best", "1")
    assert refused.wait() == 2
    assert "choose a trial of its Pareto front" in refused.stderr


def test_nothing_is_pruned_and_nothing_checked_on_fresh_seeds(swept: SweptHome) -> None:
    assert {document["status"] for document in database_of(swept.home).runs.find({"info.sweep.id": 1})} == {"COMPLETED"}
    assert swept.sweep.state.checks == []
    assert (swept.sweep.config["prunes"], swept.sweep.config["fresh_seeds"]) == (False, 0)
    refused = start_command(swept.home, "sweep", write_space(swept.home, SPACE), "--fresh-seeds", "2")
    assert refused.wait() == 2
    assert "no single best to check on fresh seeds" in refused.stderr


@pytest.mark.slow
def test_a_constraint_that_none_meets_is_said_at_the_end_with_the_nearest(swept: SweptHome) -> None:
    one = SPACE.replace("minimise: solver.nfe_forward\n", "").replace("[euler, midpoint, rk4]", "[midpoint, rk4]")
    words = ("--trials", "2", "--parallel", "1", "--constraint", "solver.nfe_forward <= 1", "--fresh-seeds", "1")
    command = start_command(swept.home, "sweep", write_space(swept.home, one), *words)
    assert command.wait() == 0, command.stderr
    said = command.stdout.splitlines()[-1]
    assert said.startswith("None of 2 trials meets solver.nfe_forward <= 1: the nearest, trial ")
    number = int(said.rpartition("sweeps show ")[2].partition("`")[0])
    sweep = sweep_of(swept.home, number)
    assert sweep.best is None
    assert sweep.state.checks == []
    assert sweep.is_whole


@pytest.mark.slow
def test_sweeps_are_compared_and_those_for_other_objectives_refused(swept: SweptHome, tmp_path: Path) -> None:
    again = start_command(
        *(swept.home, "sweep", write_space(swept.home, SPACE), "--trials", "3", "--parallel", "2", "--json"),
        *("with", "data.subset=150"),
    )
    assert again.wait() == 0, again.stderr
    other = str(again.json["run_id"])
    compared = start_command(
        swept.home, "sweeps", "compare", "1", other, "--json", "--html", str(tmp_path / "page.html")
    )
    assert compared.wait() == 0, compared.stderr
    document = json.loads(compared.stdout)
    assert [one["over"] for one in document["sweeps"]] == [6, 3]
    assert document["numbers"] == [3]
    assert sum(document["on_joint_front"]["3"]) >= 1
    said = " ".join(document["cautions"])
    assert "data.subset differs: 200 (A), 150 (B)" in said
    assert f"The constraints differ: {FEW} (A), none (B)" in said
    assert "look at what they came to with 3 each" in said
    assert "The Pareto fronts" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_with_its_objectives_and_its_constraint(tmp_path: Path) -> None:
    home = tmp_path / "home"
    longer = SPACE.replace("training.max_epochs=2", "training.max_epochs=30, training.patience=None")
    words = ("--trials", "6", "--parallel", "2", "--constraint", FEW)
    command = start_command(home, "sweep", write_space(home, longer), *words)
    wait_until(lambda: len(list((home / "runs").glob("*"))) >= 4 if (home / "runs").exists() else False, command)
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 130, command.stderr
    before = sweep_of(home)
    assert not before.is_whole
    resumed = start_command(home, "sweep", "--resume", "1", "--json")
    assert resumed.wait() == 0, resumed.stderr
    after = sweep_of(home)
    assert after.space.goal == before.space.goal
    assert [str(constraint) for constraint in after.space.goal.constraints] == [FEW]
    assert len(after.state.over()) == 6
    assert all(trial.measured for trial in after.state.trials.values())
    assert {n: t.suggestion for n, t in before.state.trials.items()}.items() <= {
        n: t.suggestion for n, t in after.state.trials.items()
    }.items()
    EmbeddedStore(home).stop()
