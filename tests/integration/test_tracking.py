"""What the record of a run has: everything that decides it, everything that it came to."""

import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from pipeline.data import load_splits
from pipeline.data.images import Images
from pipeline.device import processor
from pipeline.runs.query import Runs, StoredRun
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tracking import provenance
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import connect
from tests.helpers.commands import QUICK, SLOW, database_of, last_epoch, start_command, wait_until, without_figures
from tests.helpers.paths import ROOT
from tests.helpers.records import epochs_of
from tests.helpers.two_runs import TwoRuns


@pytest.fixture(scope="module")
def runs(two_runs: TwoRuns) -> Runs:
    return Runs(connect(EmbeddedStore(two_runs.home).start()))


@pytest.fixture(scope="module")
def odenet(runs: Runs) -> StoredRun:
    return runs.get(1)


@pytest.fixture(scope="module")
def resnet(runs: Runs) -> StoredRun:
    return runs.get(2)


def planned(query: Any) -> str:
    """The stages of the plan by which the store answers."""
    return json.dumps(query.explain()["queryPlanner"]["winningPlan"], default=str)


# What decided it


def test_the_whole_configuration_and_the_seed_are_on_record(odenet: StoredRun) -> None:
    config = ClassificationConfig.from_dict(odenet.config)
    assert config.to_dict() == odenet.config  # nothing missing, nothing beside it
    assert (config.seed, config.data.subset, config.model.channels) == (0, 200, 16)
    assert odenet.document["meta"]["named_configs"] == ["odenet_simple", "digits", "odenet_simple"]


def test_the_sources_are_on_record_once_for_both_runs(runs: Runs, odenet: StoredRun, resnet: StoredRun) -> None:
    sources = dict(odenet.document["experiment"]["sources"])
    assert sources == dict(resnet.document["experiment"]["sources"])
    assert {"pipeline/training/fit.py", "experiments/classification.py", "pipeline/ode/integrate.py"} <= set(sources)
    name = "pipeline/tracking/record.py"
    assert odenet._read(name, sources[name]) == (ROOT / name).read_bytes()
    assert runs.database["fs.files"].count_documents({"filename": name}) == 1


def test_what_both_runs_ran_with_is_listed_once_and_not_in_their_documents(runs: Runs) -> None:
    documents = list(runs.database.runs.find({"_id": {"$in": [1, 2]}}))
    assert not {"sources", "dependencies"} & {key for one in documents for key in one["experiment"]}
    assert len({one["experiment"]["environment"] for one in documents}) == 1
    assert runs.database.environments.count_documents({}) == 1


def test_the_commit_and_every_installed_package_are_on_record(odenet: StoredRun) -> None:
    experiment = odenet.document["experiment"]
    commits = [repository["commit"] for repository in experiment["repositories"]]
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for commit in commits)
    assert {f"{name}=={version(name)}" for name in ("torch", "sacred", "pymongo")} <= set(experiment["dependencies"])
    assert len(experiment["dependencies"]) > 40


def test_host_processor_memory_and_gpu_are_on_record(odenet: StoredRun) -> None:
    host = odenet.document["host"]
    assert host["hostname"] == platform.node()
    assert host["python_version"] == platform.python_version()
    machine = host["machine"]
    assert machine["instructions"] == ", ".join(processor.instructions())
    assert {"cores", "memory_gb", "torch", "cuda", "cudnn", "gpu_names", "gpu_memory_gb", "driver"} <= set(machine)
    assert len(machine["gpu_names"]) == torch.cuda.device_count()


def test_one_driver_is_on_record_however_many_gpus_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 580.95.05\necho 580.95.05\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert provenance.machine()["driver"] == "580.95.05"


def test_a_gpu_whose_memory_nvidia_smi_cannot_tell_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    gpu = (
        "<product_name>NVIDIA GB10</product_name><persistence_mode>Enabled</persistence_mode>"
        "<fb_memory_usage><total>N/A</total></fb_memory_usage>"
    )
    log = f"<nvidia_smi_log><driver_version>580.95.05</driver_version><gpu>{gpu}</gpu></nvidia_smi_log>"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{log}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert provenance.host()["hostname"] == platform.node()


def test_the_data_and_the_size_of_the_model_are_on_record(odenet: StoredRun) -> None:
    splits = load_splits(ClassificationConfig.from_dict(odenet.config).data, 0, torch.device("cpu"))
    assert odenet.info["data"]["sha256"] == splits.fingerprint
    assert odenet.info["data"]["training_images"] == 160
    assert odenet.info["parameters"]["total"] > odenet.info["parameters"]["outside_linear"] > 0


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the same folders, its origin behind a password."""
    for path in ("pipeline/code.py", "experiments/main.py", "elsewhere.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("first = 1\n")

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "First")
    git("remote", "add", "origin", "https://ada:secret@example.org/ada/nets.git")
    git("config", "color.ui", "always")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def test_uncommitted_changes_are_a_patch_that_applies(clone: Path) -> None:
    assert provenance.uncommitted_changes() == ""
    (clone / "pipeline" / "code.py").write_text("second = 'é'\n")
    (clone / "elsewhere.py").write_text("not part of a run\n")
    (repository,) = provenance.repositories()
    assert repository["dirty"]
    patch = provenance.uncommitted_changes()
    assert "elsewhere" not in patch
    subprocess.run(["git", "checkout", "--quiet", "--", "."], cwd=clone, check=True)
    subprocess.run(["git", "apply"], input=patch, text=True, cwd=clone, check=True)
    assert (clone / "pipeline" / "code.py").read_text() == "second = 'é'\n"


def test_changes_that_are_no_utf8_are_no_obstacle(clone: Path) -> None:
    (clone / "pipeline" / "code.py").write_bytes(b"name = '\xe9'\n")
    assert "name = '�'" in provenance.uncommitted_changes()


def test_the_login_of_the_origin_is_not_on_record(clone: Path) -> None:
    assert clone.is_dir()
    (repository,) = provenance.repositories()
    assert repository["url"] == "https://example.org/ada/nets.git"


def test_outside_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert (provenance.repositories(), provenance.uncommitted_changes()) == ([], "")


def test_uncommitted_changes_are_an_artifact_of_a_run(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for folder in ("pipeline", "experiments"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "All")):
        subprocess.run(["git", *identity, *words], cwd=checkout, check=True)
    changed = checkout / "pipeline" / "util" / "errors.py"
    changed.write_text(changed.read_text() + "# not committed\n")
    home = tmp_path / "home"
    code = "import sys; from odenet.main import main; sys.exit(main(sys.argv[1:]))"
    quick = ("data.subset=200", "model.channels=8", "solver.method=euler", "training.max_epochs=1")
    subprocess.run(
        [sys.executable, "-c", code, "run", "with", *quick],
        cwd=checkout,
        env={
            "PYTHONPATH": without_figures(str(checkout)),
            "ODENET_HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "PATH": "/usr/bin:/bin",
        },
        check=True,
        capture_output=True,
    )
    try:
        run = Runs(database_of(home)).get(1)
        assert run.document["experiment"]["repositories"][0]["dirty"]
        assert "+# not committed" in run.artifact("uncommitted.diff").decode()
    finally:
        EmbeddedStore(home).stop()


# What it came to


def test_every_metric_has_one_point_for_each_epoch(odenet: StoredRun, resnet: StoredRun) -> None:
    of_both = {
        *("training.loss", "training.accuracy", "validation.loss", "validation.accuracy", "training.lr"),
        *("time.epoch_seconds", "time.images_per_second", "memory.peak_mb"),
    }
    assert of_both | {"solver.nfe_forward"} <= set(odenet.metrics())
    assert of_both <= set(resnet.metrics())
    assert not {"solver.nfe_forward", "solver.nfe_backward"} & set(resnet.metrics())
    assert "solver.nfe_backward" not in odenet.metrics()  # `direct` makes none of its own
    for run in (odenet, resnet):
        assert all(epochs == [1, 2, 3] for epochs in epochs_of(run).values())


def test_the_result_is_the_accuracy_on_the_test_split(odenet: StoredRun) -> None:
    predictions = np.load(io.BytesIO(odenet.artifact("predictions.npz")), allow_pickle=False)
    hits = predictions["probabilities"].argmax(1) == predictions["labels"]
    assert odenet.result == pytest.approx(hits.mean())
    test: Images = load_splits(ClassificationConfig.from_dict(odenet.config).data, 0, torch.device("cpu")).test
    assert predictions["labels"].tolist() == test.labels.tolist()
    assert json.loads(odenet.artifact("evaluation.json"))["accuracy"] == odenet.result


def test_figures_numbers_and_weights_are_artifacts(odenet: StoredRun, resnet: StoredRun) -> None:
    pictures = [name for name in odenet.artifacts if name.endswith(".png")]
    assert set(pictures) == {
        *("confusion_matrix.png", "classification_report.png", "precision_recall.png", "roc.png"),
        *("learning_curves.png", "function_evaluations.png", "step_sizes.png"),
    }
    for name in pictures:
        assert imread(io.BytesIO(odenet.artifact(name))).shape[1] > 400
    assert "function_evaluations.png" not in resnet.artifacts
    assert len(json.loads(odenet.artifact("history.json"))) == 3
    assert len(json.loads(odenet.artifact("steps.json"))["loss"]) == 3 * 2  # two batches an epoch
    assert odenet.weights()


def test_what_was_printed_is_on_record(odenet: StoredRun) -> None:
    lines = odenet.document["captured_out"].splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert re.search(r"\| training .* \| validation .* \| evaluations 1\.0 \|", lines[-1])


def test_a_warning_is_told_in_a_line_and_on_record(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = start_command(home, "run", *QUICK, "training.max_epochs=1", "model.normalisation=batch", "--json")
    sentence = (
        "batch normalisation inside an ODE block ended in a step size underflow in Bijsterbosch 2020, section 7.1.3; "
        "model.normalisation=group did not"
    )
    try:
        assert run.wait() == 0
        assert run.stderr.splitlines()[0] == f"odenet: warning: {sentence}"
        assert run.stderr.count(sentence) == 1
        assert Runs(database_of(home)).get(1).info["warnings"] == [sentence]
    finally:
        EmbeddedStore(home).stop()


def test_a_completed_run_leaves_its_checkpoint_and_nothing_that_waits(two_runs: TwoRuns) -> None:
    left = sorted(path.relative_to(two_runs.home / "runs").parts[1:] for path in two_runs.home.glob("runs/*/*"))
    assert left == [("checkpoint.pt",), ("checkpoint.pt",)]


def test_metrics_and_output_are_in_the_store_while_the_run_goes_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = start_command(home, "run", *SLOW, "training.max_epochs=2000")
    try:
        wait_until(lambda: last_epoch(home) >= 1, run)
        database = database_of(home)
        wait_until(lambda: len((database.metrics.find_one({"name": "training.loss"}) or {"steps": []})["steps"]) >= 2)
        wait_until(lambda: "epoch    1/2000" in Runs(database).get(1).document["captured_out"])
        going_on = Runs(database).get(1)
        assert (going_on.status, going_on.result) == ("RUNNING", None)
        assert run.process.is_alive()
    finally:
        run.process.kill()
        run.process.join()
        EmbeddedStore(home).stop()


# How it is found


def test_each_index_answers_the_question_that_it_is_for(runs: Runs) -> None:
    database = runs.database
    for query in (
        database.runs.find({"_id": 1}),
        database.runs.find({"status": {"$eq": "COMPLETED"}}),
        database.runs.find({"uid": "x"}),
        database.runs.find({"config.data.name": {"$eq": "digits"}}),
        database.metrics.find({"run_id": 1}),
        database.metrics.find({"run_id": 1, "name": "training.loss"}),
        database["fs.chunks"].find({"files_id": 1}),
        database["fs.chunks"].find({"files_id": 1, "n": 0}),
        database["fs.files"].find({"_id": 1}),
    ):
        plan = planned(query)
        assert "IXSCAN" in plan, plan
        assert "COLLSCAN" not in plan, plan
