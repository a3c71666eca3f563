"""What is measured on. A GPU goes on computing behind the caller's back, so that its clock has to wait for it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import torch

from pipeline.device.host_memory import give_back_freed_memory

T = TypeVar("T")
Device = Literal["cpu", "cuda"]


class Stopwatch:
    """Running since it was made, when all that the device had to do was done."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._wait()
        self._started = time.perf_counter()

    def milliseconds(self) -> float:
        """Until all is done that the device was given since."""
        self._wait()
        return 1000 * (time.perf_counter() - self._started)

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def growth_mb(device: Device, work: Callable[[], T]) -> tuple[float, T]:
    """How much more memory was in use while `work` was done, at the highest, and what it returned."""
    leave_memory(device)  # what was freed before counts anew
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
        result = work()
        return (torch.cuda.max_memory_allocated() - allocated) / 2**20, result
    before = _process_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high water mark begins anew
    result = work()
    return _process_mb("VmHWM") - before, result


def leave_memory(device: Device) -> None:
    """Leave to other processes what this one has freed and kept."""
    if device == "cuda":
        torch.cuda.empty_cache()
    give_back_freed_memory()


def _process_mb(key: str) -> float:
    """VmRSS, the memory in use, or VmHWM, its high water mark."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024
