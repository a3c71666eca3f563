"""Whole sweeps on real Ray workers, undisturbed and disturbed."""

import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from pipeline.runs.query import Runs
from pipeline.sweeps.state import SweepState
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.util.nested import flatten
from tests.helpers.commands import (
    Command,
    database_of,
    start_command,
    wait_until,
    workers_of,
)
from tests.helpers.small_disk import fill, small_disk
from tests.helpers.swept import SweptHome, sweep_of, write_space

SPACE = """
with: [odenet_simple, digits, data.subset=300, model.channels=16, training.max_epochs=4, training.device=cpu]
minimise: validation.loss
space:
  training.lr: {loguniform: [1e-3, 1e-2]}
  model.augment: {quniform: [0, 4, 2]}
  tolerance:
    choice:
      - {solver.method: euler}
      - {solver.rtol: 1e-9, solver.atol: 1e-9, solver.max_steps: 20}
"""
"""In the second branch no solve comes to its end."""
LONG = """
with: [odenet_simple, digits, data.subset=600, model.channels=16, training.max_epochs=40, training.patience=None]
minimise: validation.loss
space:
  training.lr: {loguniform: [1e-3, 1e-2]}
"""


def documents_of(home: Path, phase: str = "search") -> list[dict[str, Any]]:
    """The runs of the home's sweep."""
    return list(database_of(home).runs.find({"info.sweep.phase": phase}))


def running_epochs(home: Path) -> list[int]:
    """How far the home's live trials are, by their records on disk."""
    return [path.read_text().count('"validation.loss"') for path in (home / "runs").glob("*/metrics.jsonl")]


def assert_whole(state: SweepState, home: Path, trials: int) -> None:
    """Every trial is over once, with a run of its own."""
    assert sorted(state.trials) == list(range(1, trials + 1))
    assert sorted(number for event, number in state.events if event == "over") == list(range(1, trials + 1))
    documents = documents_of(home)
    assert sorted(document["info"]["sweep"]["trial"] for document in documents) == list(range(1, trials + 1))
    assert {document["_id"] for document in documents} == {trial.run_id for trial in state.trials.values()}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SweptHome]:
    home = tmp_path_factory.mktemp("swept") / "home"
    command = start_command(
        *(home, "sweep", write_space(home, SPACE), "--trials", "8", "--parallel", "2", "--fresh-seeds", "2", "--json"),
    )
    assert command.wait() == 0, command.stderr
    yield SweptHome(home, command, sweep_of(home))
    EmbeddedStore(home).stop()


def test_every_trial_is_a_tracked_run_that_trained_with_exactly_what_was_suggested(swept: SweptHome) -> None:
    assert_whole(swept.sweep.state, swept.home, 8)
    base = {"data.name": "digits", "data.subset": 300, "model.body": "odenet", "training.max_epochs": 4}
    for trial in swept.sweep.state.trials.values():
        assert trial.run_id is not None
        run = Runs(database_of(swept.home)).get(trial.run_id)
        trained = flatten(run.config)
        assert trained | base | trial.suggestion == trained
        ClassificationConfig.from_dict(run.config)


def test_failed_solves_are_counted_with_their_reason_and_the_best_is_of_the_other_half(swept: SweptHome) -> None:
    state = swept.sweep.state
    failed = [trial for trial in state.trials.values() if "solver.rtol" in trial.suggestion]
    assert {trial.outcome for trial in failed} == {"step_limit"}
    assert state.failures() == {"step_limit": len(failed)}
    assert all(trial.error and "the step limit was reached" in trial.error for trial in failed)
    assert {document["status"] for document in documents_of(swept.home)} <= {"COMPLETED", "PRUNED", "FAILED"}
    best = swept.sweep.best
    assert best is not None
    assert best.suggestion["solver.method"] == "euler"
    values = [trial.value for trial in state.trials.values() if trial.outcome == "completed" and trial.value]
    assert best.value == min(values)


def test_pruned_trials_say_so_and_have_fewer_epochs(swept: SweptHome) -> None:
    pruned = {trial.run_id for trial in swept.sweep.state.trials.values() if trial.outcome == "pruned"}
    stored = {document["_id"] for document in documents_of(swept.home) if document["status"] == "PRUNED"}
    assert pruned == stored
    assert pruned
    for trial in swept.sweep.state.trials.values():
        if trial.outcome in ("completed", "pruned"):
            assert (trial.epochs == 4) == (trial.outcome == "completed")


def test_the_best_is_trained_anew_on_seeds_that_the_search_did_not_use(swept: SweptHome) -> None:
    checks = documents_of(swept.home, "check")
    seeds = {document["config"]["seed"] for document in checks}
    assert len(seeds) == 2
    assert seeds.isdisjoint(document["config"]["seed"] for document in documents_of(swept.home))
    accuracies = [document["result"] for document in checks]
    assert swept.sweep.result == pytest.approx(sum(accuracies) / 2)
    assert swept.command.json["result"] == swept.sweep.result
    assert sorted(check.run_id for check in swept.sweep.state.checks) == sorted(d["_id"] for d in checks)
    assert swept.sweep.best is not None
    number = swept.sweep.best.number
    announced = f"the search is over; trial {number}, its best, is trained anew on 2 fresh seeds, about "
    assert announced in swept.command.stderr


def test_the_best_configuration_is_a_file_that_run_takes(swept: SweptHome) -> None:
    best = swept.sweep.best
    assert best is not None
    path = swept.home / "sweeps" / "1" / "best.yaml"
    text = path.read_text()
    assert text.splitlines()[1] == f"# {shlex.join(['odenet', 'run', 'with', str(path)])}"
    described = start_command(swept.home, "describe", "--json", "with", str(path))
    assert described.wait() == 0, described.stderr
    suggested = flatten(yaml.safe_load(text))
    assert suggested | best.suggestion == suggested


def test_the_report_is_an_artifact_and_names_every_run(swept: SweptHome) -> None:
    report = Runs(database_of(swept.home)).get(1).artifact("report.html").decode()
    assert report == (swept.home / "sweeps" / "1" / "report.html").read_text()
    for trial in swept.sweep.state.trials.values():
        assert f">{trial.run_id}<" in report or f"odenet show {trial.run_id}" in report


def test_nothing_of_ray_is_left_and_its_token_is_its_owners_alone(swept: SweptHome) -> None:
    assert (swept.home / "ray_token").stat().st_mode & 0o777 == 0o600
    left = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline"])
        if str(swept.home) in " ".join(p.info["cmdline"] or [])
    ]
    assert [words for words in left if "ray" in " ".join(words).lower() and "server.py" not in " ".join(words)] == []


@pytest.mark.slow
def test_completed_runs_of_the_same_configuration_are_reused_when_asked(swept: SweptHome) -> None:
    before = database_of(swept.home).runs.count_documents({"info.sweep.phase": "search"})
    words = ("--trials", "5", "--parallel", "1", "--fresh-seeds", "0", "--skip-existing", "--no-pruning")
    space = write_space(swept.home, SPACE.replace("{loguniform: [1e-3, 1e-2]}", "{choice: [0.005, 0.005]}"))
    command = start_command(swept.home, "sweep", space, *words, "--json")
    assert command.wait() == 0, command.stderr
    sweep = sweep_of(swept.home, command.json["run_id"])
    reused = [trial for trial in sweep.state.trials.values() if trial.is_reused]
    began = database_of(swept.home).runs.count_documents({"info.sweep.phase": "search"}) - before
    assert len(sweep.state.trials) == 5
    assert began == 5 - len(reused)
    by_suggestion: dict[str, set[float | None]] = {}
    for trial in sweep.state.trials.values():
        by_suggestion.setdefault(str(trial.suggestion), set()).add(trial.value)
    assert all(len(values) == 1 for values in by_suggestion.values())


NOTHING_CONVERGES = """
with: [odenet_simple, digits, data.subset=200, model.channels=16, training.max_epochs=1, training.device=cpu]
minimise: validation.loss
space:
  solver.rtol: {loguniform: [1e-12, 1e-10]}
  solver.max_steps: {uniformint: [2, 3]}
"""


def test_a_sweep_whose_every_trial_failed_has_failed_and_counts_the_reasons(tmp_path: Path) -> None:
    home = tmp_path / "home"
    swept = start_command(home, "sweep", write_space(home, NOTHING_CONVERGES), "--trials", "2", "--parallel", "1")
    assert swept.wait() == 1, swept.stderr
    told = swept.stderr.splitlines()[-1]
    assert told.startswith(
        "odenet: sweep 1 FAILED: every one of its 2 trials failed (2 × step limit of the solver); most"
    )
    assert sweep_of(home).status == "FAILED"
    shown = start_command(home, "sweeps", "show", "1", "--report", str(tmp_path / "report.html"))
    assert shown.wait() == 0, shown.stderr
    assert "step limit of the solver" in (tmp_path / "report.html").read_text()
    EmbeddedStore(home).stop()


def start_long(home: Path, *words: str, epochs: int = 40) -> Command:
    flags = ("--trials", "4", "--parallel", "2", "--fresh-seeds", "0", "--no-pruning")
    space = LONG.replace("max_epochs=40", f"max_epochs={epochs}")
    return start_command(home, "sweep", write_space(home, space), *flags, *words)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    EmbeddedStore(tmp_path / "home").stop()


@pytest.mark.slow
def test_a_trial_whose_worker_is_killed_goes_on_from_its_checkpoint_on_another(home: Path) -> None:
    command = start_long(home)
    wait_until(lambda: max(running_epochs(home), default=0) >= 5, command)
    victim = workers_of(command)[0]
    victim.kill()
    assert command.wait() == 0, command.stderr
    sweep = sweep_of(home)
    assert_whole(sweep.state, home, 4)
    assert {trial.outcome for trial in sweep.state.trials.values()} == {"completed"}
    assert {trial.epochs for trial in sweep.state.trials.values()} == {40}
    resumed = [document for document in documents_of(home) if document.get("resumed")]
    assert len(resumed) == 1
    assert resumed[0]["status"] == "COMPLETED"


@pytest.mark.slow
def test_a_sweep_whose_driver_is_killed_goes_on_with_nothing_repeated_and_nothing_lost(home: Path) -> None:
    command = start_long(home)
    wait_until(
        lambda: sum(t.is_over for t in (sweep_of(home).state.trials.values())) >= 2 if has_begun(home) else 0, command
    )
    workers = workers_of(command)
    command.send(signal.SIGKILL)
    command.wait()
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    before = {document["_id"]: document for document in documents_of(home)}
    finished = [number for number, document in before.items() if document["status"] == "COMPLETED"]
    resumed = start_command(home, "sweep", "--resume", "1", "--json")
    assert resumed.wait() == 0, resumed.stderr
    sweep = sweep_of(home)
    assert_whole(sweep.state, home, 4)
    assert {trial.outcome for trial in sweep.state.trials.values()} == {"completed"}
    after = {document["_id"]: document for document in documents_of(home)}
    for number in finished:
        assert after[number] == before[number]
    assert start_command(home, "sweep", "--resume", "1").wait() == 2


@pytest.mark.slow
def test_a_store_that_is_away_for_half_a_minute_costs_nothing_but_time(home: Path) -> None:
    command = start_long(home)
    wait_until(lambda: max(running_epochs(home), default=0) >= 5, command)
    EmbeddedStore(home).stop()
    time.sleep(30)
    EmbeddedStore(home).start()
    assert command.wait() == 0, command.stderr
    sweep = sweep_of(home)
    assert_whole(sweep.state, home, 4)
    for document in documents_of(home):
        assert document["status"] == "COMPLETED"
        series = Runs(database_of(home)).get(document["_id"]).metrics()["validation.loss"]
        assert series.index.tolist() == list(range(1, 41))


@pytest.mark.slow
def test_a_search_that_goes_on_checks_its_new_best_whatever_became_of_the_runs_of_the_old_one(home: Path) -> None:
    solvable = SPACE.replace("{solver.rtol: 1e-9, solver.atol: 1e-9, solver.max_steps: 20}", "{solver.method: rk4}")
    sweep = ("sweep", write_space(home, solvable), "--trials", "1", "--parallel", "1", "--fresh-seeds", "1")
    first = start_command(home, *sweep)
    assert first.wait() == 0, first.stderr
    (trial,) = sweep_of(home).state.trials.values()
    (old,) = sweep_of(home).checks
    beaten = {"config.trials": 3, "info.sweep.trials.0.value": 99.0}
    database_of(home).runs.update_one({"experiment.name": "sweep"}, {"$set": beaten})
    removed = start_command(home, "rm", str(trial.run_id), "--yes")
    assert removed.wait() == 0, removed.stderr
    again = start_command(home, "sweep", "--resume", str(sweep_of(home).sweep_id))
    assert again.wait() == 0, again.stderr
    found = sweep_of(home)
    assert found.best is not None
    assert found.best.number != 1
    (new,) = found.checks
    assert (new.trial, old.trial) == (found.best.number, 1)
    assert new.run_id != old.run_id
    trained = flatten(Runs(database_of(home)).get(new.run_id).config)
    assert trained == trained | found.best.suggestion
    assert found.result == new.result


def test_ctrl_c_ends_a_sweep_in_order_and_it_can_be_resumed(home: Path) -> None:
    command = start_long(home, epochs=6)
    wait_until(lambda: max(running_epochs(home), default=0) >= 1, command)
    workers = workers_of(command)
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 130, command.stderr
    assert "odenet sweep --resume 1" in command.stderr
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    assert {document["status"] for document in documents_of(home)} <= {"INTERRUPTED", "COMPLETED"}
    assert sweep_of(home).status == "INTERRUPTED"
    other = start_command(home, "sweep", "--resume", "1", "--trials", "3")
    assert other.wait() == 2
    assert "--resume 1 goes on with its own space and settings: leave --trials out" in other.stderr
    asked = database_of(home).runs.find_one({"_id": 1})["config"]["asked"]
    assert asked == {"parallel": 2, "cpus_per_trial": None, "gpus_per_trial": None}
    resumed = start_command(home, "sweep", "--resume", "1", "--parallel", "1")
    assert resumed.wait() == 0, resumed.stderr
    assert sweep_of(home).config["parallel"] == 1
    assert_whole(sweep_of(home).state, home, 4)


def has_begun(home: Path) -> bool:
    return (home / "store" / "server.json").exists() and database_of(home).runs.find_one({"_id": 1}) is not None


@pytest.mark.slow
def test_a_disk_that_fills_ends_a_sweep_in_order_and_costs_it_no_trial(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(tmp_path / "disk", 6000) as disk:
        database_of(home)
        (home / "runs").symlink_to(disk)
        asked = ("--trials", "4", "--parallel", "2", "--fresh-seeds", "0", "--no-pruning")
        sweep = start_command(home, "sweep", write_space(home, LONG), *asked)
        wait_until(lambda: len([epoch for epoch in running_epochs(home) if epoch >= 2]) >= 2, sweep)
        filling = fill(disk, 512)
        assert sweep.wait() == 1
        assert "Traceback" not in sweep.stderr
        told = r"^odenet: .*(the disk is full|No space left on device).*`odenet sweep --resume 1` goes on"
        assert re.search(told, sweep.stderr, re.MULTILINE)
        state = sweep_of(home).state
        assert state.failures() == {}
        assert len(state.unfinished()) == 2
        filling.unlink()
        resumed = start_command(home, "sweep", "--resume", "1")
        assert resumed.wait() == 0, resumed.stderr
        assert_whole(sweep_of(home).state, home, 4)
        assert sweep_of(home).state.counts() == {"completed": 4}
        EmbeddedStore(home).stop()
