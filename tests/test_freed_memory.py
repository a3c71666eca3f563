"""Memory that tensors freed: kept for the next ones by a process that trains, and counted as free all the same."""

import resource
import subprocess
import sys
from pathlib import Path

import torch

from pipeline.freed_memory import keep_freed_memory, kept_memory
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
from test_freed_memory import pages_taken

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


def test_what_is_kept_counts_as_free() -> None:
    keep_freed_memory()
    tensors = [torch.ones(5 * MEGABYTE // 4) for _ in range(60)]
    used, free = kept_memory(), free_memory(torch.device("cpu"))
    del tensors
    assert kept_memory() - used > 290 * MEGABYTE
    assert free_memory(torch.device("cpu")) - free > 150 * MEGABYTE  # others on this machine take and free memory too
