"""Memory for tensors: what there is, and that a process which trains keeps what its tensors freed."""

import math
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from pipeline import host_memory
from pipeline.host_memory import give_back_freed_memory, keep_freed_memory, kept_memory, left_in_container
from pipeline.ode.gradients import free_memory

MEGABYTE = 2**20


def pages_taken() -> int:
    """From the system, by tensors of thirty megabytes that are made and freed ten times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tensors = [torch.ones(5 * MEGABYTE // 4) for _ in range(6)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_process_that_trains_keeps_what_its_tensors_free(tmp_path: Path) -> None:
    # In a process of its own, as it stays so until the end.
    script = f"""
from pathlib import Path
from test_compilation import trained
from test_host_memory import pages_taken

before = pages_taken()
trained("resnet", "simple", False, Path({str(tmp_path)!r}))
pages_taken()
print(before, pages_taken())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 10 * 5 * MEGABYTE / 4096
    assert after < before / 20


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """A control group's files, as Linux shows them, and the process's own that names it."""
    group = tmp_path / "system.slice" / "run"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("8589934592\n")
    (group / "memory.current").write_text("5368709120\n")
    (group / "memory.stat").write_text("anon 1073741824\nfile 4294967296\ninactive_file 2147483648\n")
    (tmp_path / "own").write_text("1:name=systemd:/init\n0::/system.slice/run\n")
    return tmp_path


def test_a_containers_limit_bounds_the_memory_that_there_is(container: Path) -> None:
    assert left_in_container(container, container / "own") == (8 - 5 + 2) * 2**30
    group = container / "system.slice" / "run"
    (group / "memory.current").write_text("12884901888\n")  # while the system has yet to take files back
    assert left_in_container(container, container / "own") == 0
    (group / "memory.max").write_text("max\n")
    assert left_in_container(container, container / "own") == math.inf
    assert left_in_container(container / "none", container / "own") == math.inf
    assert left_in_container(container, container / "none") == math.inf


def test_auto_is_told_of_a_containers_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "left_in_container", lambda: 1000)
    assert free_memory(torch.device("cpu")) == pytest.approx(1000 + kept_memory(), abs=MEGABYTE)


def test_what_is_kept_can_be_given_back() -> None:
    keep_freed_memory()
    process = psutil.Process()
    tensors = [torch.ones(5 * MEGABYTE // 4) for _ in range(60)]
    del tensors
    before = process.memory_info().rss
    give_back_freed_memory()
    assert before - process.memory_info().rss > 290 * MEGABYTE


def test_what_is_kept_counts_as_free() -> None:
    keep_freed_memory()
    tensors = [torch.ones(5 * MEGABYTE // 4) for _ in range(60)]
    used, free = kept_memory(), free_memory(torch.device("cpu"))
    del tensors
    assert kept_memory() - used > 290 * MEGABYTE
    assert free_memory(torch.device("cpu")) - free > 150 * MEGABYTE  # others on this machine take and free memory too
