"""The benchmarks: what `make bench` says of a small network, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.worker import parser
from tests.helpers.paths import ROOT


def test_every_candidate_takes_its_turns_and_is_held_against_the_exact_gradient(tmp_path: Path) -> None:
    evaluations = {"torchdiffeq adjoint": (26, 20), "odenet checkpointed, fp32": (26, 24)}
    out = tmp_path / "measured.json"
    chosen = [part for name in evaluations for part in ("--candidate", name)]
    command = [sys.executable, "-m", "benchmarks", "--network", "digits", "--device", "cpu", *chosen]
    command += ["--repeats", "2", "--reference", "1e-4", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(out.read_text())["results"]
    measured = result["candidates"]
    assert {name: (facts["nfe_forward"], facts["nfe_backward"]) for name, facts in measured.items()} == evaluations
    for name, facts in measured.items():
        assert f"| {name} |" in done.stdout
        assert len(facts["train_ms"]) == len(facts["inference_ms"]) == 2
        assert facts["memory_mb"] > 0
    adjoint, ours = (facts["gradient_error"] for facts in measured.values())
    assert 0.05 < ours < 0.1 < adjoint < 0.3
    assert result["ceiling_ms_per_evaluation"].keys() == {"fp32", "bf16"}


def test_the_device_is_the_cpu_where_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert parser(None, None).parse_args([]).device == "cpu"
    with pytest.raises(SystemExit):
        parser(None, None).parse_args(["--device", "cuda"])
    assert "torch finds no GPU here" in capsys.readouterr().err.splitlines()[-1]


def test_a_device_that_nobody_knows_is_refused_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser(None, None).parse_args(["--device", "gpu"])
    assert "auto, cpu, cuda" in capsys.readouterr().err.splitlines()[-1]
