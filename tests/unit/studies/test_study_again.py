"""What of a study is not done again, and what the rest will cost."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from experiments.presets import resolve
from experiments.study_cost import _measure
from experiments.study_plan import Job, find_study, make_plan
from experiments.study_standing import find_device
from pipeline.config import SolverConfig
from pipeline.config.overrides import parse_arguments
from pipeline.plugins.loading import loaded_sources
from pipeline.studies.costs import KnownCosts
from pipeline.studies.same_runs import NUMBERS, SameRuns
from pipeline.sweeps.ray_environment import LOCAL
from pipeline.tasks.solver_grid import Setting
from pipeline.tracking.gridfs import content_id
from pipeline.tracking.run_document import RunStatus
from pipeline.util.nested import flatten
from tests.helpers.paths import ROOT


def stored(chosen: str, ran_on: str) -> Any:
    """A run, as far as that is asked."""
    of_other_tests = [content_id(source.name, source.content) for source in loaded_sources()]
    plugins = [{"file_id": file_id} for file_id in of_other_tests]
    return SimpleNamespace(
        whole_config={"training.device": chosen},
        info={"device": ran_on},
        document={"experiment": {"plugins": plugins}},
    )


def test_of_runs_that_are_alike_that_one_counts_whose_evaluations_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    newer, older = (SimpleNamespace(run_id=number, status=RunStatus.COMPLETED) for number in (9, 3))
    same, setting = SameRuns("cpu"), Setting(SolverConfig(method="euler"), None)
    monkeypatch.setattr(same, "_alike", lambda *_: [newer, older])
    monkeypatch.setattr(same, "evaluated", lambda parent, _settings: parent if parent is older else None)
    assert same.trained("classification", {}) is newer
    assert same.trained("classification", {}, [setting]) is older


def test_another_model_is_not_what_the_paper_has() -> None:
    study = find_study("architecture")
    assert make_plan(study, "full").is_full
    assert make_plan(study, "full", None, (), study.model).is_full
    assert not make_plan(study, "full", None, (), "resnet_small").is_full


def test_runs_go_where_their_share_of_a_gpu_is_and_not_where_the_command_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [find_device(LOCAL, share) for share in (None, 0, 0.5)] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device(LOCAL) == "cpu"


@pytest.mark.parametrize(
    ("here", "chosen", "ran_on", "is_same"),
    [
        ("cuda", "auto", "cuda:0", True),
        ("cuda", "auto", "cpu", False),
        ("cuda", "cpu", "cpu", True),
        ("cpu", "cuda:1", "cuda:1", True),
        ("cpu", "auto", "cuda", False),
    ],
)
def test_a_run_is_the_same_that_ran_where_it_would_run_now(here: str, chosen: str, ran_on: str, is_same: bool) -> None:
    assert SameRuns(here).has_same_code(stored(chosen, ran_on)) == is_same


def test_the_size_of_a_subset_is_not_taken_for_that_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    configs = {}
    for subset in ("100", "None"):
        resolved = resolve(*parse_arguments(["odenet_simple", "digits", f"data.subset={subset}"]))
        configs[subset] = flatten(resolved.config.to_dict())
    KnownCosts.of([]).remember(configs["100"], 0.01, 1.0, items=100)
    assert KnownCosts.of([]).of_item(configs["None"]) is not None, "a step costs the same"
    assert KnownCosts.of([]).training_items(configs["None"]) is None
    KnownCosts.of([]).remember(configs["None"], 0.01, 1.0, items=1437)
    assert KnownCosts.of([]).training_items(configs["None"]) == pytest.approx(0.8 * 1437, abs=1)


def test_two_studies_may_write_down_what_they_measured_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    config = flatten(resolve(*parse_arguments(["odenet_simple", "digits"])).config.to_dict())
    sync = os.fsync

    def beside_another(_file: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        KnownCosts.of([]).remember(config, 0.01, 1.0, items=100)

    monkeypatch.setattr(os, "fsync", beside_another)
    KnownCosts.of([]).remember(config, 0.02, 1.0, items=100)
    cost = KnownCosts.of([]).of_item(config)
    assert cost is not None
    assert cost.seconds == 0.02


def test_data_without_an_end_cost_what_their_iterations_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    configs = []
    for iterations in (100, 250):
        words = ["cnf", "two_moons", f"training.epoch_iterations={iterations}"]
        configs.append(flatten(resolve(*parse_arguments(words)).config.to_dict()))
    run = SimpleNamespace(
        facts=SimpleNamespace(epoch_seconds=5.12, sizes={"validation": (2000, "points"), "test": (10_000, "points")}),
        whole_config=configs[0],
        status=RunStatus.COMPLETED,
        document={"host": {"hostname": socket.gethostname()}},
    )
    measured, learned = KnownCosts.of([]), KnownCosts.of([cast("Any", run)])
    measured.remember(configs[0], 0.01, 1.0, items=None)
    for known in (measured, KnownCosts.of([]), learned):
        assert [known.training_items(config) for config in configs] == [25_600, 64_000]
    cost = learned.of_item(configs[1])
    assert cost is not None
    assert cost.seconds == pytest.approx(5.12 / 25_600)


def test_a_study_of_data_without_an_end_measures_steps_and_counts_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    resolved = resolve(*parse_arguments(["planar_nf", "two_moons", "training.compile=False"]))
    known = KnownCosts.of([])
    _measure(cast("Job", SimpleNamespace(resolved=resolved)), known)
    assert known.training_items(flatten(resolved.config.to_dict())) == 25_600


def test_a_task_that_does_not_say_how_much_it_trains_on_has_no_estimate_and_breaks_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    resolved = resolve(*parse_arguments(["crossing", "g1d", "training.compile=False"]))
    config, known = flatten(resolved.config.to_dict()), KnownCosts.of([])
    known.remember(config, 0.01, 1.0, items=0)
    assert KnownCosts.of([]).training_items(config) is None
    _measure(cast("Job", SimpleNamespace(resolved=resolved)), known)
    items = known.training_items(config)
    assert items is not None
    assert 0 < items == KnownCosts.of([]).training_items(config)


def test_data_of_one_name_are_told_apart_by_their_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    density, series = (
        flatten(resolve(*parse_arguments(words)).config.to_dict()) for words in (["cnf", "spirals"], ["latent_ode"])
    )
    assert density["data.name"] == series["data.name"]
    known = KnownCosts.of([])
    known.remember(density, 0.01, 1.0, items=None)
    assert known.training_items(series) is None
    known.remember(series, 0.01, 1.0, items=1000)
    assert KnownCosts.of([]).training_items(series) == 800
    assert KnownCosts.of([]).training_items(density) == 25_600


def test_of_every_package_it_is_said_whether_it_decides_the_numbers_of_a_run() -> None:
    others = {"comparison", "dashboard", "plugins", "reporting", "runs", "studies", "sweeps", "tracking", "util"}
    packages = {file.parent.name for file in (ROOT / "pipeline").glob("*/__init__.py")}
    assert packages == {*NUMBERS, *others}
    assert others.isdisjoint(NUMBERS)
