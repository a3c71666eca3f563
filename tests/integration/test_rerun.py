"""Doing a run again and going on with one: to the bit."""

import json
import platform
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.runs.garbage import find_garbage
from pipeline.runs.query import ArtifactError, Runs, StoredRun
from pipeline.runs.removal import claimed_files
from pipeline.runs.reproduce import deviations, differences, machine_facts, write_sources
from pipeline.runs.stored_parts import stored_sources
from pipeline.tracking.conditions import machine
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.provenance import ROOT
from pipeline.tracking.run_folder import run_folder
from tests.helpers.commands import (
    QUICK,
    SLOW,
    Command,
    database_of,
    last_epoch,
    records,
    run_command,
    start_command,
    wait_until,
)
from tests.helpers.records import epochs_of

EPOCHS = "training.max_epochs=4"
MODELS = {
    "odenet_direct": ("solver.gradient=direct", "solver.method=dopri5"),
    "odenet_adjoint": ("solver.gradient=adjoint",),
    "odenet_compiled": ("training.compile=True",),
    "resnet": ("model.body=resnet",),
}
QUICK_MODELS = [model for model in MODELS if model != "odenet_compiled"]  # a process takes seconds to compile


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder with the runs of other tests."""
    folder = tmp_path_factory.mktemp("rerun") / "home"
    yield folder
    EmbeddedStore(folder).stop()


@pytest.fixture(scope="module")
def of_four_epochs(home: Path) -> int:
    """The id of a run."""
    return completed(start_command(home, "run", "--json", *QUICK, EPOCHS))


@pytest.fixture
def empty_home(tmp_path: Path) -> Iterator[Path]:
    """A home folder of the test's own."""
    yield tmp_path / "home"
    EmbeddedStore(tmp_path / "home").stop()


def completed(command: Command) -> int:
    """The id of the run that the command completes."""
    assert command.wait() == 0, command.stderr
    return int(command.json["run_id"])


def stored(home: Path, run_id: int) -> StoredRun:
    return Runs(database_of(home)).get(run_id)


def killed_and_resumed(home: Path, words: tuple[str, ...], kills: int, pauses: random.Random) -> int:
    """A run that is killed at random instants and gone on with each time, until it did so as often as that; its id.

    Kills that come before the run has said that it goes on are not counted: how many do depends on the machine.
    """
    command = start_command(home, "run", "--json", *words)
    wait_until(lambda: last_epoch(home) >= 1, command)
    (folder,) = records(home)
    run_id, resumed = int(folder.name.split("-")[0]), 0
    while resumed < kills - 1:
        time.sleep(pauses.uniform(0, 1.5))
        if not command.process.is_alive():
            break
        command.send(signal.SIGKILL)
        command.wait()
        document = stored(home, run_id).document
        if document["status"] == "COMPLETED":
            return run_id
        resumed = len(document.get("resumed", []))
        command = start_command(home, "resume", "--json", str(run_id))
    if command.wait() == 2:  # killed after its last words: nothing was left to do
        assert "has had all of its" in command.stderr
    else:
        assert command.wait() == 0, command.stderr
    return run_id


@pytest.mark.parametrize("model", QUICK_MODELS)
def test_a_rerun_is_identical_to_the_bit(home: Path, model: str) -> None:
    original = completed(start_command(home, "run", "--json", *QUICK, *MODELS[model], EPOCHS))

    again = start_command(home, "rerun", str(original), "--expect-identical", "--json")

    assert again.wait() == 0, again.stderr
    report = again.json
    assert report["identical"]
    assert report["rerun_of"] == original
    repeated = stored(home, report["run_id"])
    assert repeated.info["rerun_of"] == original
    assert repeated.config == stored(home, original).config
    assert len(repeated.metrics()["training.loss"]) == 4


def test_a_rerun_with_another_seed_says_where_it_parts(home: Path, of_four_epochs: int) -> None:
    again = start_command(home, "rerun", str(of_four_epochs), "--expect-identical", "with", "seed=1")

    assert again.wait() == 1
    assert "training.loss: largest deviation" in again.stdout
    assert "from epoch 1 on" in again.stdout
    assert "weights: not the same after epoch 4" in again.stdout
    assert "nan" not in again.stdout


@pytest.mark.parametrize("model", QUICK_MODELS)
def test_a_run_that_was_killed_and_resumed_equals_one_that_was_not(empty_home: Path, model: str) -> None:
    words = (*SLOW, *MODELS[model][:1], EPOCHS)
    whole = stored(empty_home, completed(start_command(empty_home, "run", "--json", *words)))

    run_id = killed_and_resumed(empty_home, words, kills=2, pauses=random.Random(model))  # noqa: S311

    resumed = stored(empty_home, run_id)
    assert resumed.status == "COMPLETED"
    assert deviations(whole, resumed) == []
    assert all(epochs == [1, 2, 3, 4] for epochs in epochs_of(resumed).values())


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_twenty_kills_change_nothing(empty_home: Path, model: str) -> None:
    epochs = 400 if model == "resnet" else 150  # of a few milliseconds each, and of some tens
    words = (*SLOW, *MODELS[model][:1], f"training.max_epochs={epochs}")
    whole = stored(empty_home, completed(start_command(empty_home, "run", "--json", *words)))

    run_id = killed_and_resumed(empty_home, words, kills=20, pauses=random.Random(model))  # noqa: S311

    resumed = stored(empty_home, run_id)
    assert resumed.status == "COMPLETED"
    assert len(resumed.document["resumed"]) >= 15
    assert deviations(whole, resumed) == []


def test_more_epochs_give_what_a_longer_run_gives_and_keep_tags_and_artifacts(home: Path, of_four_epochs: int) -> None:
    longer = stored(home, of_four_epochs)
    run_id = completed(start_command(home, "run", "--json", *QUICK, "training.max_epochs=2"))
    database_of(home).runs.update_one({"_id": run_id}, {"$set": {"omniboard": {"tags": ["mine"], "notes": "keep"}}})

    assert start_command(home, "resume", str(run_id)).wait() == 2  # nothing left to do
    command = start_command(home, "resume", "--json", str(run_id), "with", "training.max_epochs=4")

    assert completed(command) == run_id
    assert "does not take" not in command.stderr
    run = stored(home, run_id)
    assert deviations(longer, run) == []
    assert run.document["omniboard"] == {"tags": ["mine"], "notes": "keep"}
    assert run.config["training"]["max_epochs"] == 4
    begun = longer.document["meta"]["changed"]["training"]
    assert run.document["meta"]["changed"]["training"] == {**begun, "max_epochs": 4}
    assert run.document["meta"]["named_configs"] == longer.document["meta"]["named_configs"]
    session = run.document["resumed"][-1]
    assert run.document["start_time"] < session["ended_before"] <= session["time"]
    assert "epoch 1/2" in run.document["captured_out"]
    assert "epoch 4/4" in run.document["captured_out"]
    assert sorted(run.artifacts) == sorted(longer.artifacts)
    assert all(run.artifact(name) for name in run.artifacts)


def test_a_run_resumed_elsewhere_tells_of_both_machines(home: Path) -> None:
    run_id = completed(start_command(home, "run", "--json", *QUICK, "training.max_epochs=1"))
    database_of(home).runs.update_one({"_id": run_id}, {"$set": {"host.hostname": "node7"}})
    for epochs in (2, 3):
        completed(start_command(home, "resume", "--json", str(run_id), "with", f"training.max_epochs={epochs}"))

    here, before = machine(stored(home, run_id).document).split("; before that ")
    assert before == here.replace(platform.node(), "node7")


def test_a_run_resumed_with_other_sources_says_so_and_keeps_both(home: Path, tmp_path: Path) -> None:
    changed = changed_sources(tmp_path)
    words = (*QUICK, "model.body=resnet", "training.max_epochs=1")
    there = run_command(home, "run", "--json", *words, options=("-P",), PYTHONPATH=str(changed))
    assert there.returncode == 0, there.stderr
    run_id = json.loads(there.stdout)["run_id"]
    before = stored(home, run_id).document["experiment"]["environment"]
    resumed = start_command(home, "resume", str(run_id), "with", "training.max_epochs=2")
    assert resumed.wait() == 0, resumed.stderr
    assert f"not those with which run {run_id} came so far" in resumed.stderr
    again = start_command(home, "resume", str(run_id), "with", "training.max_epochs=3")
    assert again.wait() == 0, again.stderr
    assert "came so far" not in again.stderr

    document = stored(home, run_id).document
    now = document["experiment"]["environment"]
    assert [session["environment_before"] for session in document["resumed"]] == [before, now]
    told = f"source before it was resumed: sources and packages {before[:12]} → sources and packages {now[:12]}"
    assert [str(one) for one in differences(stored(home, run_id), None)].count(told) == 1
    database, then = database_of(home), datetime.now(UTC) - timedelta(days=3)
    database.environments.update_many({}, {"$set": {"stored": then}})
    database.fs.files.update_many({}, {"$set": {"uploadDate": then}})
    assert find_garbage(database, home).environments == ()
    sources = {file_id for _, file_id in database.environments.find_one({"_id": before})["sources"]}
    assert sources <= claimed_files(database)


def test_a_live_run_is_not_resumed(empty_home: Path) -> None:
    command = start_command(empty_home, "run", "--json", *SLOW, "training.max_epochs=50")
    wait_until(lambda: last_epoch(empty_home) >= 1, command)

    refused = start_command(empty_home, "resume", "1")

    assert refused.wait() == 2
    assert "still running" in refused.stderr
    command.send(signal.SIGTERM)
    assert command.wait() == 130
    assert stored(empty_home, 1).status == "INTERRUPTED"


def test_a_resumed_run_is_heard_of_while_it_goes_on(home: Path) -> None:
    run_id = completed(start_command(home, "run", "--json", *SLOW, "training.max_epochs=1"))
    command = start_command(home, "resume", str(run_id), "with", "training.max_epochs=1000")
    wait_until(lambda: len(stored(home, run_id).metrics()["training.loss"]) >= 3, command)
    before = stored(home, run_id).document
    wait_until(lambda: stored(home, run_id).document["heard"] > before["heard"], command)
    command.send(signal.SIGTERM)
    assert command.wait() == 130
    assert "does not take" not in command.stderr


def test_of_three_who_resume_a_run_at_once_one_does_and_the_others_are_told_of_it(empty_home: Path) -> None:
    # So many epochs that the one goes on while the others ask.
    command = start_command(empty_home, "run", "--json", *SLOW, "training.max_epochs=40")
    wait_until(lambda: last_epoch(empty_home) >= 1, command)
    command.send(signal.SIGKILL)
    command.wait()
    resumed = [start_command(empty_home, "resume", "1") for _ in range(3)]
    told = sorted((one.wait(), one.stderr) for one in resumed)
    assert [status for status, _ in told] == [0, 2, 2]
    for _, said in told[1:]:
        assert re.fullmatch(
            r"odenet: (another process resumes or removes run 1 just now|run 1 is still running).*\n", said
        )
    assert list(stored(empty_home, 1).metrics()["validation.loss"].index) == list(range(1, 41))


@pytest.mark.parametrize(("damage", "words"), [("cut", "is damaged"), ("gone", "there is no checkpoint")])
def test_a_checkpoint_that_cannot_be_used_is_named(home: Path, damage: str, words: str) -> None:
    run_id = completed(start_command(home, "run", "--json", *QUICK, "training.max_epochs=1"))
    checkpoint = run_folder(home, stored(home, run_id).document) / "checkpoint.pt"
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    else:
        checkpoint.unlink()

    refused = start_command(home, "resume", str(run_id), "with", "training.max_epochs=2")

    assert refused.wait() != 0
    assert words in refused.stderr
    assert str(checkpoint) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stored(home, run_id).status == "COMPLETED"


def test_only_its_length_and_device_can_be_changed_when_a_run_goes_on(home: Path) -> None:
    run_id = completed(start_command(home, "run", "--json", *QUICK, "training.max_epochs=1"))

    refused = start_command(home, "resume", str(run_id), "with", "training.lr=1")

    assert refused.wait() == 2
    assert f"odenet rerun {run_id}" in refused.stderr
    assert completed(
        start_command(home, "resume", "--json", str(run_id), "with", "training.max_epochs=2", "training.device=auto")
    )
    assert stored(home, run_id).config["training"]["device"] == "auto"


def test_another_gpu_than_the_one_that_a_run_saw_first_is_a_difference_of_the_machine() -> None:
    def facts(*names: str) -> dict[str, Any]:
        return machine_facts({"cpu": "one", "python_version": "3", "machine": {"gpu_names": list(names)}})

    assert facts("H100") == facts("H100", "H100")
    assert facts("H100") != facts("A100", "H100")
    assert facts("H100") != facts()


def test_another_processor_of_the_same_name_is_a_difference_of_the_machine() -> None:
    def facts(instructions: str) -> dict[str, Any]:
        return machine_facts({"cpu": "Intel(R) Xeon(R) Processor", "machine": {"instructions": instructions}})

    assert facts("avx2, avx512f, avx512_bf16") == facts("avx2, avx512f, avx512_bf16")
    assert facts("avx2, avx512f, avx512_bf16") != facts("avx2, avx512f, avx512_bf16, amx_bf16")


def changed_sources(folder: Path) -> Path:
    """The sources here with a residual block that takes its input twice, in a folder of their own."""
    changed = folder / "changed"
    for package in ("pipeline", "experiments", "odenet"):
        shutil.copytree(ROOT / package, changed / package)
    source = changed / "pipeline" / "models" / "layers.py"
    text = source.read_text()
    assert "output: Tensor = z + function" in text
    source.write_text(text.replace("output: Tensor = z + function", "output: Tensor = 2 * z + function"))
    return changed


def test_data_that_have_changed_are_a_difference_for_the_stored_sources_too(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "points.npz"
    draw = np.random.default_rng(0)
    np.savez(file, x_train=draw.normal(size=(64, 2)), x_test=draw.normal(size=(64, 2)))
    words = ("run", "--json", "with", "planar_nf", str(file), "training.max_epochs=1")
    run_id = completed(start_command(home, *words))
    np.savez(file, x_train=draw.normal(size=(64, 2)), x_test=draw.normal(size=(64, 2)))
    changed = start_command(home, "rerun", str(run_id), "--strict", "--use-stored-source")
    assert changed.wait() == 2
    assert f"data {file}: sha256" in changed.stderr
    file.unlink()
    gone = start_command(home, "rerun", str(run_id), "--strict", "--use-stored-source")
    assert gone.wait() == 2
    assert "not compared, as they cannot be loaded" in gone.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stored_sources_that_are_interrupted_end_their_run_in_order(empty_home: Path, number: signal.Signals) -> None:
    run_id = completed(start_command(empty_home, "run", "--json", *SLOW, "training.max_epochs=1"))
    words = ("rerun", str(run_id), "--use-stored-source", "with", "training.max_epochs=3000")
    command = start_command(empty_home, *words)
    wait_until(lambda: last_epoch(empty_home) >= 1, command)
    command.send(number)
    assert command.wait() == 130, command.stderr
    run = Runs(database_of(empty_home)).find(limit=1)[0]
    assert run.status == "INTERRUPTED"
    assert run.info["rerun_of"] == run.info["source_of"] == run_id
    assert run.document["board"]["kind"] == "rerun"


def test_metrics_without_a_value_and_results_of_zero_are_compared(home: Path) -> None:
    runs = database_of(home)
    first, second = (completed(start_command(home, "run", "--json", *QUICK, "training.max_epochs=1")) for _ in range(2))
    for run_id, result, value in ((first, 0.0, None), (second, 0.25, 1.0)):
        runs.runs.update_one({"_id": run_id}, {"$set": {"result": result}})
        runs.metrics.update_one({"run_id": run_id, "name": "validation.loss"}, {"$set": {"values": [value]}})
    found = {one.metric: one.largest for one in deviations(stored(home, first), stored(home, second))}
    assert found["result"] == 0.25
    assert isnan(found["validation.loss"])
    for run_id in (first, second):
        runs.runs.update_one({"_id": run_id}, {"$set": {"result": float("nan")}})
        runs.metrics.update_one({"run_id": run_id, "name": "validation.loss"}, {"$set": {"values": [None]}})
    assert deviations(stored(home, first), stored(home, second)) == []
    for result in ([0.5], "good", datetime(2026, 1, 1)):
        runs.runs.update_one({"_id": first}, {"$set": {"result": result}})
        assert [one.metric for one in deviations(stored(home, first), stored(home, second))] == ["result"]
        assert deviations(stored(home, first), stored(home, first)) == []


def test_uncommitted_changes_are_shown_and_the_stored_sources_reproduce_them(home: Path, tmp_path: Path) -> None:
    changed = changed_sources(tmp_path)
    words = (*QUICK, "model.body=resnet", "training.max_epochs=2")
    there = run_command(home, "run", "--json", *words, options=("-P",), PYTHONPATH=str(changed))
    assert there.returncode == 0, there.stderr
    run_id = json.loads(there.stdout)["run_id"]

    here = start_command(home, "rerun", str(run_id), "--expect-identical")
    assert here.wait() == 1
    strict = start_command(home, "rerun", str(run_id), "--strict")
    assert strict.wait() == 2
    stored_source = start_command(home, "rerun", str(run_id), "--use-stored-source", "--expect-identical", "--json")
    assert stored_source.wait() == 0, stored_source.stderr

    assert "-    output: Tensor = 2 * z + function" in here.stderr
    assert "training.loss: largest deviation" in here.stdout
    assert "--strict" in strict.stderr
    assert stored_source.json["identical"]
    assert "Will execute" in stored_source.stderr
    assert "pipeline/models/layers.py" in stored_source.stderr


def test_sources_that_were_changed_in_the_store_are_not_executed(empty_home: Path) -> None:
    run_id = completed(start_command(empty_home, "run", "--json", *QUICK, "training.max_epochs=1"))
    database = database_of(empty_home)
    run = stored(empty_home, run_id)
    _, file_id = run.document["experiment"]["sources"][0]
    database.fs.chunks.update_one({"files_id": file_id}, {"$set": {"data": b"import os"}})
    database.fs.files.update_one({"_id": file_id}, {"$set": {"length": 9}})

    with pytest.raises(ArtifactError, match="changed in the store"):
        stored_sources(run)


def test_where_a_stored_source_is_missing_none_of_here_is_executed_in_its_place(empty_home: Path) -> None:
    run_id = completed(start_command(empty_home, "run", "--json", *QUICK, "training.max_epochs=1"))
    database = database_of(empty_home)
    sources = stored(empty_home, run_id).document["experiment"]["sources"]
    for missing in ("pipeline/training/fit.py", "pipeline/util/errors.py", "experiments/recording.py"):
        assert missing in dict(sources)
        left = [[name, file_id] for name, file_id in sources if name != missing]
        database.environments.update_one({}, {"$set": {"sources": left}})
        told = start_command(empty_home, "rerun", str(run_id), "--use-stored-source")
        assert told.wait() == 1
        module = missing.removesuffix(".py").replace("/", ".")
        assert f"the stored sources have no module {module}" in told.stderr
        assert f"the stored sources of run {run_id} did not start a run" in told.stderr
        assert "Traceback" not in told.stderr
        assert database.runs.count_documents({}) == 1


def test_a_stored_path_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="outside its folder"):
        write_sources({"../escaped.py": b"x = 1"}, tmp_path / "inside")
    assert not (tmp_path / "escaped.py").exists()
