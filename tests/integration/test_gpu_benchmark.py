"""What is measured on a GPU: without one it says so, in time it ends, and its way into the docs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from benchmarks.gpu.__main__ import carry_out, page
from benchmarks.gpu.merge import merged
from benchmarks.gpu.parts import Part, parts
from tests.helpers.paths import ROOT
from tests.helpers.waiting import wait_until

ECHO = Part(
    "echo", "An echo", ("-c", "import sys, json; json.dump({'a': 1}, open(sys.argv[1], 'w')); print('told')"), 0
)


def is_at_work(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def run(module: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_looks_around_and_says_that_nothing_is_measured(tmp_path: Path) -> None:
    done = run("benchmarks.gpu", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "torch finds no GPU here, so nothing is measured" in done.stdout
    assert "| compiler | ok |" in done.stdout
    for part in parts("cuda"):
        assert part.title in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_part_is_kept_with_what_it_wrote_and_printed(tmp_path: Path) -> None:
    told = carry_out(ECHO, tmp_path, 60)
    assert (told["ended"], told["printed"], told["measured"]) == ("done", "told", {"a": 1})


def test_a_part_without_enough_time_is_left_out_one_that_takes_too_long_is_cut_off_and_one_that_fails_is_told(
    tmp_path: Path,
) -> None:
    assert carry_out(replace(ECHO, minutes=2), tmp_path, 60)["ended"] == "left out: it needs 2 min, and 1.0 are left"
    slow = replace(ECHO, arguments=("-c", "import time; time.sleep(60)"))
    assert carry_out(slow, tmp_path, 0.5)["ended"] == "cut off as the time was up"
    starts_another = (
        "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    started = tmp_path / "started"
    slow = replace(ECHO, arguments=("-c", f"{starts_another}; open({str(started)!r}, 'w').write(str(c.pid)); c.wait()"))
    assert carry_out(slow, tmp_path, 5)["ended"] == "cut off as the time was up"
    wait_until(lambda: not is_at_work(int(started.read_text())))
    failing = replace(ECHO, arguments=("-c", "raise SystemExit('out of memory')"))
    assert carry_out(failing, tmp_path, 60)["ended"] == "failed: out of memory"


def test_tests_that_all_are_skipped_are_no_failure(tmp_path: Path) -> None:
    (of_tests,) = (part for part in parts("cpu") if part.is_tests)
    told = carry_out(of_tests, tmp_path, 300)
    assert told["ended"] == "done", told
    assert torch.cuda.is_available() or "skipped" in told["printed"]


FOUND = {
    "card": "Some card (driver 1, CUDA 2, cuDNN 3)",
    "check": {"torch": "2"},
    "parts": [
        {"title": "Steps", "ended": "done", "printed": "### simple\n\n| a |\n"},
        {"title": "Others", "ended": "cut off as the time was up"},
    ],
}


def test_a_cards_section_takes_the_place_of_its_older_one_and_leaves_others() -> None:
    section = page(FOUND)
    assert "#### simple" in section
    assert "### Others\n\ncut off as the time was up." in section
    before = "# On a GPU\n\nWords.\n\n## Not measured yet\n\nNothing.\n\n## Other card\n\nIts table.\n"
    once = merged(before, section)
    assert once.startswith("# On a GPU\n\nWords.\n\n## Other card\n\nIts table.\n")
    assert "Not measured yet" not in once
    assert once.count("## Some card") == 1
    assert merged(once, section) == once


def test_a_rehearsal_is_not_taken_into_the_docs(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text(json.dumps(FOUND | {"card": None}))
    done = run("benchmarks.gpu.merge", str(tmp_path), "--page", str(tmp_path / "page.md"))
    assert done.returncode == 2
    assert "is of a rehearsal on a CPU, which measures nothing" in done.stderr
    done = run("benchmarks.gpu.merge", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "holds no measurements" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_all_parts_run_through_at_small_sizes_on_a_cpu(tmp_path: Path) -> None:
    done = run("benchmarks.gpu", "--rehearse", "--out", str(tmp_path), "--minutes", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "measured.json").read_text())
    assert [part["ended"] for part in found["parts"]] == ["done"] * 5
    assert "Rehearsal on a CPU: not a measurement" in (tmp_path / "measured.md").read_text()
    _, steps, epoch, small, sharing = (part.get("measured") for part in found["parts"])
    assert len(steps["results"][0]["candidates"]) == 3
    assert epoch["facts"]["simple ODE-Net, fp32"]["epoch_seconds"] > 0
    assert small["facts"]["mlp-2"]["odenet direct"]["gradient_error"] < 1e-3
    assert len(sharing["facts"]["2"]) == 2
