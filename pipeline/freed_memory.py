"""What becomes of the memory that tensors free on a CPU.

By itself the C library gives much of it back to the system, which clears and maps every page anew for the next step:
a tenth of a training step's time, of small networks' more (docs/performance.md).
"""

import ctypes
import platform

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NAMES = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]


class _MallInfo2(ctypes.Structure):
    """As in glibc's malloc.h; `fordblks` is what is free of the memory that was taken from the system."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _NAMES)
    fordblks: int


def keep_freed_memory() -> None:
    """Have this process keep what its tensors free, for those that follow; with another C library than glibc, nothing.

    The process grows no larger at its highest, but stays as large. Tensors of a gibibyte and more are still given back.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_TRIM_THRESHOLD, -1)  # never shrink
        library.mallopt(_MMAP_THRESHOLD, 2**30)


def kept_memory() -> int:
    """Bytes that are free in this process and that the system does not count as free."""
    library = _glibc()
    if library is None:
        return 0
    library.mallinfo2.restype = _MallInfo2
    return int(library.mallinfo2().fordblks)


def _glibc() -> ctypes.CDLL | None:
    """None where it is another library, or one too old to be asked (before 2.33)."""
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 33):
        return None
    return ctypes.CDLL(None)
