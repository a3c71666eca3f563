"""How much memory torch allocates while something runs: its allocator's own count, on a CPU as on a GPU."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile

MB = 2**20


class Allocations:
    """Within it torch's allocations are counted.

    Attributes:
        peak_mb: the most that was allocated at once, above what there was at the beginning.
        left_mb: what is still allocated at the end.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._profile: profile | None = None
        self.peak_mb = self.left_mb = 0.0

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            with _quiet():
                self._profile.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._profile is None:
            torch.cuda.synchronize(self._device)
            self.left_mb = (torch.cuda.memory_allocated(self._device) - self._before) / MB
            self.peak_mb = (torch.cuda.max_memory_allocated(self._device) - self._before) / MB
            return
        with _quiet():
            self._profile.__exit__(kind, error, trace)
        now = peak = 0
        for event in self._profile.profiler.kineto_results.events():  # type: ignore[union-attr]
            if event.name() == "[memory]":
                now += event.nbytes()  # type: ignore[union-attr]
                peak = max(peak, now)
        self.left_mb, self.peak_mb = now / MB, peak / MB


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
