"""All kernels of a computation, launched by one call.

A GPU runs the kernels of a small network faster than Python launches them, one by one. A CUDA graph launches them as
they were once launched: with the same arguments, from and to the same memory.

Source: torch's documentation, *CUDA semantics*, section *CUDA Graphs*, for what may be recorded and how.
"""

import gc
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.device.out_of_memory import is_out_of_memory
from pipeline.util.errors import OdenetError

WARM_UPS = 3
"""Computations before the one that is recorded, in which libraries choose their kernels and take their memory."""


class NotRecorded(OdenetError):
    """A computation that a GPU could not record; what it computes from then on may not be relied upon."""


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
    """Records on one device; its recordings share the memory within, so that one is played at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        # One for all: the memory of a pool is given back to the stream alone that it was taken by.
        self._stream = torch.cuda.Stream(device)

    def __call__(self, compute: Callable[[], Sequence[Tensor]]) -> Recording:
        """
        Raises:
            NotRecorded: it does what a graph cannot.
        """
        with torch.cuda.device(self._device):
            before = torch.cuda.current_stream()
            self._stream.wait_stream(before)
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UPS):
                    compute()
            before.wait_stream(self._stream)
            graph, outputs = torch.cuda.CUDAGraph(), list[Tensor]()
            gc.collect()  # what is collected while a graph is recorded may destroy another one, which spoils it
            was_collecting = gc.isenabled()
            gc.disable()
            try:
                # What other threads do meanwhile, as one that reads losses, does not spoil it.
                mode = "thread_local"
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode=mode):
                    outputs = list(compute())
            except RuntimeError as error:
                torch.cuda.set_stream(before)
                if is_out_of_memory(error):
                    raise
                why = str(error.__context__ or error).strip().splitlines()[0]
                raise NotRecorded(
                    f"the GPU cannot record what is computed as a CUDA graph ({why}): use training.cuda_graphs=False"
                ) from error
            finally:
                if was_collecting:
                    gc.enable()
        return Recording(graph.replay, outputs)
