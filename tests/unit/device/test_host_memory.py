"""Memory for tensors: what there is, and that a process which trains keeps what its tensors freed."""

import math
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from pipeline.device import host_memory
from pipeline.device.host_memory import give_back_freed_memory, keep_freed_memory, kept_memory, left_in_container
from pipeline.ode.memory import free_memory
from tests.helpers.paths import ROOT

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
from tests.unit.device.test_compilation import trained
from tests.unit.device.test_host_memory import pages_taken

before = pages_taken()
trained("resnet", "simple", False, Path({str(tmp_path)!r}))
pages_taken()
print(before, pages_taken())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 10 * 5 * MEGABYTE / 4096
    assert after < before / 20


GIBIBYTE = 2**30


@dataclass
class Container:
    """A folder with control groups' files as Linux shows them, and with the process's own that names its groups."""

    folder: Path

    def limit(self, group: str, gibibytes: int | None, used: int, files: int, version: int = 2) -> None:
        """A group with a limit, of which `used` is taken, `files` of that by files that are not in use."""
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
        unlimited = {1: "9223372036854771712", 2: "max"}[version]
        (self.folder / group).mkdir(parents=True, exist_ok=True)
        limit = unlimited if gibibytes is None else str(gibibytes * GIBIBYTE)
        (self.folder / group / names[0]).write_text(f"{limit}\n")
        (self.folder / group / names[1]).write_text(f"{used * GIBIBYTE}\n")
        entry = "total_inactive_file" if version == 1 else "inactive_file"
        (self.folder / group / "memory.stat").write_text(f"anon 1073741824\n{entry} {files * GIBIBYTE}\n")

    def left(self, memberships: str) -> float:
        (self.folder / "own").write_text(memberships)
        return left_in_container(self.folder, self.folder / "own")


SECOND_VERSION = "1:name=systemd:/init\n0::/system.slice/run\n"
FIRST_VERSION = "9:cpu,cpuacct:/job\n4:memory:/job/step\n0::/\n"


def test_a_containers_limit_bounds_the_memory_that_there_is(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.limit("system.slice/run", 8, used=5, files=2)
    assert container.left(SECOND_VERSION) == (8 - 5 + 2) * GIBIBYTE
    container.limit("system.slice/run", 8, used=12, files=2)  # while the system has yet to take files back
    assert container.left(SECOND_VERSION) == 0
    container.limit("system.slice/run", None, used=5, files=2)
    assert container.left(SECOND_VERSION) == math.inf
    assert left_in_container(tmp_path / "none", tmp_path / "own") == math.inf
    assert left_in_container(tmp_path, tmp_path / "none") == math.inf


def test_so_does_one_of_the_first_version_of_control_groups(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.limit("memory/job/step", 8, used=5, files=2, version=1)
    assert container.left(FIRST_VERSION) == (8 - 5 + 2) * GIBIBYTE
    container.limit("memory/job/step", None, used=5, files=2, version=1)
    assert container.left(FIRST_VERSION) > 1e18


@pytest.mark.parametrize(("version", "memberships"), [(1, FIRST_VERSION), (2, "0::/job/step\n")])
def test_the_limit_may_be_that_of_a_group_around_the_process_s_own(
    tmp_path: Path, version: int, memberships: str
) -> None:
    container, top = Container(tmp_path), "memory/" if version == 1 else ""
    container.limit(f"{top}job/step", None, used=1, files=0, version=version)
    container.limit(f"{top}job", 6, used=2, files=1, version=version)
    assert container.left(memberships) == (6 - 2 + 1) * GIBIBYTE


def test_a_container_that_sees_its_own_group_at_the_top_finds_it(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.limit("memory", 4, used=1, files=0, version=1)  # Docker mounts it there, and names it as seen outside
    assert container.left("4:memory:/docker/5f2b\n") == 3 * GIBIBYTE


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
