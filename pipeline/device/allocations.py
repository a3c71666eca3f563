"""How much memory torch allocates while something runs: its allocator's own count, on a CPU as on a GPU."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile, record_function

MB = 2**20
MARK = "odenet.mark"


class Allocations:
    """Within it torch's allocations are counted; what was allocated before, and is freed within, is not.

    Attributes:
        peak_mb: the most that was allocated at once, above what there was at the beginning.
        marked_mb: what was allocated when `mark` was called.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_cuda = device.type == "cuda"
        self._stack = ExitStack()
        self.peak_mb = self.marked_mb = 0.0

    def __enter__(self) -> Self:
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._stack.enter_context(_quiet())
            self._profile = self._stack.enter_context(profile(activities=[ProfilerActivity.CPU], profile_memory=True))
        return self

    def mark(self) -> None:
        """Take what is allocated now for `marked_mb`."""
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
            self.marked_mb = (torch.cuda.memory_allocated(self._device) - self._before) / MB
        else:
            with record_function(MARK):
                pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
            self.peak_mb = (torch.cuda.max_memory_allocated(self._device) - self._before) / MB
            return
        self._stack.__exit__(kind, error, trace)
        now = peak = 0
        events = self._profile.profiler.kineto_results.events()
        for event in sorted(events, key=lambda event: event.start_ns()):
            if event.name() == MARK:
                self.marked_mb = now / MB
            elif event.name() == "[memory]":
                now += event.nbytes()
                peak = max(peak, now)
        self.peak_mb = peak / MB


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the profiler's own lines on standard error, which it writes past Python."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
