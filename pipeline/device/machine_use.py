"""How busy the machine is: processors, memory and, where a run computes on it, the GPU."""

import resource
import sys
import time
from collections.abc import Callable

import psutil
import torch


class MachineUse:
    """Reads what the machine does, at one moment or, for shares of time, since the last reading.

    To be made and read by one thread: psutil counts the processors' time for each thread apart.
    """

    def __init__(self, device: torch.device) -> None:
        self._process = psutil.Process()
        self._of_gpu = _gpu_readings(device) if device.type == "cuda" else {}
        psutil.cpu_percent()  # what is counted from
        self._busy, self._then = time.process_time(), time.monotonic()

    def read(self) -> dict[str, float]:
        """Name -> value now.

        cpu_percent of all processors, whoever uses them; process_cpu_percent of this process, 100 for one processor;
        memory_percent of the machine's; process_memory_mb resident. Of the GPU, whoever uses it, gpu_percent of the
        time in which it computed, gpu_memory_mb, gpu_celsius and gpu_watts, without those that the driver does not
        tell, as of a part of a card (MIG).
        """
        values: dict[str, float] = {
            "cpu_percent": psutil.cpu_percent(),
            "process_cpu_percent": self._process_share(),
            "memory_percent": psutil.virtual_memory().percent,
            "process_memory_mb": self._process.memory_info().rss / 2**20,
        }
        for name, read in list(self._of_gpu.items()):
            try:
                values[name] = float(read())
            except Exception:  # whatever the driver or its library raises: it is not asked for this again
                del self._of_gpu[name]
        return values

    def _process_share(self) -> float:
        """By a clock of nanoseconds: psutil's of a hundredth of a second gives some hundred for a short run."""
        busy, now = time.process_time(), time.monotonic()
        share = (busy - self._busy) / max(now - self._then, 1e-9)
        self._busy, self._then = busy, now
        return 100 * share


def _gpu_readings(device: torch.device) -> dict[str, Callable[[], float]]:
    """By way of torch, which asks NVML for the card that it computes on, whichever number the card has there."""
    return {
        "gpu_percent": lambda: torch.cuda.utilization(device),
        "gpu_memory_mb": lambda: torch.cuda.device_memory_used(device) / 2**20,
        "gpu_celsius": lambda: torch.cuda.temperature(device),
        "gpu_watts": lambda: torch.cuda.power_draw(device) / 1000,
    }


def peak_memory_mb(device: torch.device) -> float:
    """Peak of the epoch on a GPU, of the process so far on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
