"""Memory that does not suffice is told in a sentence, whoever it is that says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pymongo.database import Database

from experiments import task_experiment
from experiments.prepare import prepare
from experiments.presets import resolve
from experiments.tracked import run_tracked
from pipeline.device.out_of_memory import OutOfMemory, naming_lack_of_memory
from pipeline.runs.query import Runs
from tests.helpers.commands import start_command

SENTENCE = (
    "is out of memory: use training.micro_batch_size, a smaller training.batch_size or model, or for ODE blocks "
    "solver.gradient=checkpointed"
)


def raising(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("work", "where"),
    [
        (lambda: torch.empty(2**50), "computer"),
        (lambda: np.empty(2**50), "computer"),
        (raising(RuntimeError("a library of somebody's is out of memory")), "computer"),
        (raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")), "GPU"),
        (raising(torch.AcceleratorError("CUDA error: out of memory")), "GPU"),
        (raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")), "GPU"),
        (raising(RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED")), "GPU"),
    ],
    ids=["a tensor", "an array", "a library", "torch's allocator", "CUDA", "cuBLAS", "cuDNN 9"],
)
def test_every_way_of_saying_it_becomes_one_sentence(work: Callable[[], object], where: str) -> None:
    with pytest.raises(OutOfMemory) as told, naming_lack_of_memory():
        work()
    assert str(told.value) == f"the {where} is out of memory: end what else takes it, or use a machine that has more"
    assert told.value.__cause__ is not None


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("out of memory")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), naming_lack_of_memory():
        raise error


def test_a_model_that_is_too_large_for_the_computer_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    refused = start_command(home, "run", "--json", "with", "odenet_simple", "digits", "model.channels=200000")
    assert refused.wait() == 1
    assert refused.stdout == ""
    assert refused.stderr == f"odenet: the computer {SENTENCE}\n"
    assert not list(home.glob("runs/*"))


def test_a_run_that_is_without_memory_in_its_training_is_on_record_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, database: Database[dict[str, Any]]
) -> None:
    monkeypatch.setattr(task_experiment, "fit", lambda *_arguments, **_named: torch.empty(2**50))
    resolved = resolve(["odenet_simple", "digits"], {"training": {"device": "cpu"}})
    outcome = run_tracked(prepare(resolved.task, resolved.config))
    assert (outcome.status, outcome.error) == ("FAILED", f"the computer {SENTENCE}")
    stored = Runs(database).get(outcome.run_id)
    assert stored.info["failure"] == {"reason": "out_of_memory", "message": outcome.error}


def test_a_test_that_is_without_memory_is_told_what_decides_about_it(
    monkeypatch: pytest.MonkeyPatch, database: Database[dict[str, Any]]
) -> None:
    resolved = resolve(["resnet_small", "digits"], {"training": {"device": "cpu", "max_epochs": 1}})
    prepared = prepare(resolved.task, resolved.config)
    monkeypatch.setattr(type(prepared.task), "predict", lambda *_arguments, **_named: torch.empty(2**50))
    outcome = run_tracked(prepared)
    assert outcome.error == "the computer is out of memory: use a smaller evaluation.batch_size"
    assert Runs(database).get(outcome.run_id).info["failure"]["reason"] == "out_of_memory"
