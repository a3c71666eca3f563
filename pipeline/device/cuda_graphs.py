"""All kernels of a computation, launched by one call.

A GPU runs the kernels of a small network faster than Python launches them, one by one. A CUDA graph launches them as
they were once launched: with the same arguments, from and to the same memory.

Source: torch's documentation, *CUDA semantics*, section *CUDA Graphs*, for what may be recorded and how.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

WARM_UPS = 3
"""Computations before the one that is recorded, in which libraries choose their kernels and take their memory."""


class Recording(NamedTuple):
    """A computation that can be made again.

    Attributes:
        replay: makes it again, from what is then where its inputs were.
        outputs: where it leaves its results, until the next replay of any recording.
    """

    replay: Callable[[], None]
    outputs: Sequence[Tensor]


Recorder = Callable[[Callable[[], Sequence[Tensor]]], Recording]


class GpuRecorder:
    """Records on the current device; the memory within a computation is shared by all that it recorded."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Callable[[], Sequence[Tensor]]) -> Recording:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                compute()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=stream):
            outputs = list(compute())
        return Recording(graph.replay, outputs)
