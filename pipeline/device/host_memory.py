"""The computer's memory, GPUs apart: what there is for tensors, and what becomes of it when they free it.

By itself the C library gives much of what is freed back to the system, which clears and maps every page anew for the
next step: up to an eighth of a training step's time (docs/performance-measured.md).
"""

import ctypes
import platform
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path

import psutil

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NAMES = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]


class _MallInfo2(ctypes.Structure):
    """As in glibc's malloc.h; `fordblks` is what is free of the memory that was taken from the system."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _NAMES)
    fordblks: int


def keep_freed_memory() -> None:
    """Have this process keep what its tensors free, for those that follow; with another C library than glibc, nothing.

    The process stays as large as it was at its highest, which with large states is more than without this. Tensors of a
    gibibyte and more are still given back; in other threads than the main one, as glibc has it, those above 64 MiB.
    """
    library = _glibc()
    if library is None:
        return
    if not library.mallopt(_MMAP_THRESHOLD, 2**30):
        library.mallopt(_MMAP_THRESHOLD, 2**25)  # the most that older releases take
    library.mallopt(_TRIM_THRESHOLD, -1)  # never shrink


def give_back_freed_memory() -> None:
    """Give the system back what this process has freed and kept."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def available_memory() -> int:
    """Bytes that tensors of this process can take: what the system has, or its container may, and what it keeps."""
    return int(min(psutil.virtual_memory().available, left_in_container())) + kept_memory()


def kept_memory() -> int:
    """Bytes that are free in this process and that the system does not count as free."""
    library = _glibc()
    if library is None:
        return 0
    return int(library.mallinfo2().fordblks)


def left_in_container(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Bytes that the limits of this process's control groups and of those around them leave; infinite without any."""
    try:
        memberships = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:  # no such system
        return inf
    left = inf
    for _, controllers, path in memberships:
        if controllers and "memory" not in controllers.split(","):
            continue
        files = _FIRST_VERSION if controllers else _SECOND_VERSION
        top = groups / files.folder
        # A container sees its own group at the top, whatever the path says that it has outside.
        around = Path(path.lstrip("/"))
        left = min(left, *(files.left(top / group) for group in (around, *around.parents)))
    return left


def kills_for_memory(statistics: Path = Path("/proc/vmstat")) -> int:
    """Processes that this machine's system has killed since it started, as there was no memory left; 0 if unknown."""
    try:
        lines = statistics.read_text().splitlines()
    except OSError:  # no such system
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


@dataclass(frozen=True)
class _ControlGroupFiles:
    """Where a version of Linux's control groups says what a group may take and what it takes."""

    folder: str
    limit: str
    used: str
    reclaimable: str
    """Entry of `memory.stat`: files that were read and are not in use, which make room."""

    def left(self, group: Path) -> float:
        """Bytes that the limit of `group` leaves; infinite without one."""
        try:
            limit = (group / self.limit).read_text().strip()
            used = int((group / self.used).read_text())
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            return inf if limit == "max" else max(0, int(limit) - used + int(statistics[self.reclaimable]))
        except (OSError, ValueError, KeyError):  # no such group, or none that has a limit
            return inf


_FIRST_VERSION = _ControlGroupFiles("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_SECOND_VERSION = _ControlGroupFiles("", "memory.max", "memory.current", "inactive_file")


@cache
def _glibc() -> ctypes.CDLL | None:
    """None where it is another library, or one too old to be asked (before 2.33)."""
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 33):
        return None
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = _MallInfo2
    return library
