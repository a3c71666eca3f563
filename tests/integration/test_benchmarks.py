"""The benchmarks: what `make bench` says of a small network, and what it refuses."""

import json
import os
import runpy
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import worker
from benchmarks.small.fields import Planar
from benchmarks.small.problems import PROBLEMS
from benchmarks.worker import parser
from tests.helpers.commands import FORKSERVER

Measure = Callable[..., tuple[list[dict[str, Any]], str]]


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Measure:
    """`python -m benchmarks words` in this process: its results, and what it prints.

    What it measures has processes of its own as ever, forked from one that has torch.
    """

    def measured(*words: str) -> tuple[list[dict[str, Any]], str]:
        out = tmp_path / "measured.json"
        monkeypatch.setattr(sys, "argv", ["benchmarks", *words, "--out", str(out)])
        monkeypatch.setattr(worker, "get_context", lambda _: FORKSERVER)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what it changes comes back
        forkserver.ensure_running()  # with that, as it may be the first to need it, and all later runs would have two
        monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
        runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
        return json.loads(out.read_text())["results"], capsys.readouterr().out

    return measured


def test_every_candidate_takes_its_turns_and_is_held_against_the_exact_gradient(measure: Measure) -> None:
    evaluations = {"torchdiffeq adjoint": (26, 20), "odenet checkpointed, fp32": (26, 24)}
    chosen = [part for name in evaluations for part in ("--candidate", name)]
    words = ("--network", "digits", "--device", "cpu", "--repeats", "2", "--reference", "1e-4")
    (result,), told = measure(*words, *chosen)
    measured = result["candidates"]
    assert {name: (facts["nfe_forward"], facts["nfe_backward"]) for name, facts in measured.items()} == evaluations
    for name, facts in measured.items():
        assert f"| {name} |" in told
        assert len(facts["train_ms"]) == len(facts["inference_ms"]) == 2
        assert facts["memory_mb"] > 0
    adjoint, ours = (facts["gradient_error"] for facts in measured.values())
    assert 0.05 < ours < 0.1 < adjoint < 0.3
    assert result["ceiling_ms_per_evaluation"].keys() == {"fp32", "bf16"}


def test_small_fields_are_solved_by_all_candidates_to_the_exact_gradient(measure: Measure) -> None:
    chosen, networks = ["torchdiffeq direct", "odenet direct"], ["mlp-2", "cnf", "latent-ode"]
    words = ["--repeats", "2", "--reference", "1e-7", "--iterations", "2"]
    words += [part for name in chosen for part in ("--candidate", name)]
    words += [part for name in networks for part in ("--network", name)]
    measured, told = measure(*words)
    results = {result["network"]: result for result in measured}
    assert list(results) == networks
    for name, result in results.items():
        assert f"### {name}" in told
        measured = result["candidates"]
        assert list(measured) == chosen
        for candidate, facts in measured.items():
            assert f"| {candidate} |" in told
            assert len(facts["cpu_ms"]) == 2
            assert facts["nfe_forward"] > 0
            assert facts["gradient_error"] < 1e-2
    assert {facts["nfe_forward"] for facts in results["mlp-2"]["candidates"].values()} == {20}
    assert (results["cnf"]["iterations"], results["mlp-2"]["iterations"]) == (2, None)


def test_the_training_step_of_a_latent_ode_is_the_same_in_all_hands(measure: Measure) -> None:
    chosen = ["torchdiffeq example at 1e-5", "odenet at 1e-5"]
    words = ["--network", "latent-training", "--repeats", "1", "--reference", "1e-6", "--latent-iterations", "1"]
    (result,), told = measure(*words, *(part for name in chosen for part in ("--candidate", name)))
    assert "### latent-training, after 1 iterations of training" in told
    plain, ours = (result["candidates"][name] for name in chosen)
    assert ours["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    assert ours["nfe_forward"] == plain["nfe_forward"]
    assert max(facts["gradient_error"] for facts in (plain, ours)) < 1e-3


def test_the_trace_of_planar_units_is_that_of_their_jacobian() -> None:
    problem = PROBLEMS["cnf"]
    field, (z, log_p) = problem.field(), problem.start()
    assert isinstance(field, Planar)
    (weights,) = field.at_times(torch.tensor([3.0]))
    _, change = field(torch.tensor(3.0), (z[:1], log_p[:1]))
    jacobian = torch.autograd.functional.jacobian(lambda z: field(torch.tensor(3.0), (z, log_p[:1]), weights)[0], z[:1])
    torch.testing.assert_close(-change[0, 0], jacobian[0, :, 0].trace())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch: it advises to compile
def test_the_field_of_the_flow_can_be_scripted_as_torchode_has_it() -> None:
    """In an environment that has torchode; here it is only seen that TorchScript takes the field."""
    field, state = Planar(units=5), (torch.randn(3, 2), torch.zeros(3, 1))
    scripted = torch.jit.script(field)
    for ours, theirs in zip(field(torch.tensor(0.5), state), scripted(torch.tensor(0.5), state), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_device_is_the_cpu_where_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert parser(None, None).parse_args([]).device == "cpu"
    with pytest.raises(SystemExit):
        parser(None, None).parse_args(["--device", "cuda"])
    assert "torch finds no GPU here" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--out", "nowhere/measured.json"], "there is no folder nowhere for measured.json"),
        (["--repeats", "0"], "0 is below 1"),
        (["--threads", "-1"], "-1 is below 1"),
        (["--reference", "0"], "0 is not above 0"),
    ],
)
def test_what_cannot_be_measured_or_written_is_refused_before_anything_is_measured(
    words: list[str], refusal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    with pytest.raises(SystemExit):
        runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
    assert refusal in capsys.readouterr().err.splitlines()[-1]


def test_where_none_of_the_candidates_can_train_a_network_nothing_was_measured(
    measure: Measure,
) -> None:
    with pytest.raises(SystemExit, match="nothing was measured"):
        measure("--network", "digits", "--candidate", "odenet direct")


def test_a_device_that_nobody_knows_is_refused_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser(None, None).parse_args(["--device", "gpu"])
    assert "auto, cpu, cuda" in capsys.readouterr().err.splitlines()[-1]
