"""The processes that train one model together, each on some items of every batch.

They speak through gloo, of tensors on the CPU, wherever the model is: a solve asks for two numbers a step, for which
the host waits anyway, and the gradients of these networks are some megabytes.
"""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from pipeline.util.errors import OdenetError

LONGEST_WAIT = timedelta(days=7)
"""For the others, which may be validating; one that is lost is noticed when its connection ends."""
HEEDING = timedelta(seconds=1)
"""How often a process that waits looks whether it was interrupted."""


class WorkersParted(OdenetError):
    """Another of the processes is gone."""


@dataclass(frozen=True)
class Workers:
    """The processes, from one of them. All must call the same methods in the same order.

    Attributes:
        rank: of this process, from 0; the first one validates, keeps checkpoints and the record.
        size: how many there are.
    """

    rank: int
    size: int

    def gather(self, values: Tensor) -> Tensor:
        """Those of all, shape (size, *values.shape), on the CPU."""
        own = values.detach().cpu().contiguous()
        of_all = [torch.empty_like(own) for _ in range(self.size)]
        _wait_for(distributed.all_gather(of_all, own, async_op=True))
        return torch.stack(of_all)

    def sum(self, values: Tensor) -> Tensor:
        """Added up in the order of the ranks, so that it is the same to the bit in all, on the CPU."""
        return self.gather(values).sum(0)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of the same shapes in all, by their sums."""
        real = [torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors]
        for dtype in dict.fromkeys(tensor.dtype for tensor in real):
            alike = [tensor for tensor in real if tensor.dtype is dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in alike]).cpu()
            _wait_for(distributed.all_reduce(flat, async_op=True))
            for tensor, piece in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(piece.view(tensor.shape))

    def gradients(self, parameters: Iterable[Tensor]) -> list[Tensor]:
        """Those of all parameters that any of the processes has one of; zeros become its own where it has none.

        Chance may choose what a model computes, as with layers that are skipped at random, and each process draws its
        own.
        """
        every = [one for one in parameters if one.requires_grad]
        own = torch.tensor([one.grad is not None for one in every], dtype=torch.int64)
        held = [one for one, owners in zip(every, self.sum(own).tolist(), strict=True) if owners]
        for one in held:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
        return [one.grad for one in held if one.grad is not None]

    def agree(self, value: bool) -> bool:
        """What the first one says, whatever the others do."""
        said = torch.tensor([int(value)])
        _wait_for(distributed.broadcast(said, 0, async_op=True))
        return bool(said)

    def share(self, state: dict[str, Any] | None, source: int = 0) -> dict[str, Any]:
        """A state of tensors and plain values from the one of rank `source`; what the others give does not count."""
        buffer = io.BytesIO()
        if self.rank == source:
            torch.save(state, buffer)
        content = torch.frombuffer(bytearray(buffer.getvalue()) or bytearray(1), dtype=torch.uint8)
        length = torch.tensor([len(content)])
        _wait_for(distributed.broadcast(length, source, async_op=True))
        content = content if self.rank == source else torch.empty(int(length), dtype=torch.uint8)
        _wait_for(distributed.broadcast(content, source, async_op=True))
        received: dict[str, Any] = torch.load(
            io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True
        )
        return received


@contextmanager
def joined(rank: int, size: int, meeting: Path, is_in_vain: Callable[[], bool] = lambda: False) -> Iterator[Workers]:
    """Meet the other processes of this machine, all of which name the same new file; leave them at the end.

    Args:
        is_in_vain: asked while they are waited for: whether one of them will not come.

    Raises:
        WorkersParted: one did not come, or in it, one is gone.
    """
    # The loopback interface alone: who trains listens to nobody else.
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    store = distributed.FileStore(str(meeting), size)  # type: ignore[attr-defined]
    with _group(is_in_vain, store=store, rank=rank, world_size=size) as workers:
        yield workers


@contextmanager
def joined_by_torchrun() -> Iterator[Workers]:
    """Meet the processes that torchrun has started, on whichever machines; leave them at the end.

    Raises:
        WorkersParted: in it, where another one is gone.
    """
    with _group(lambda: False) as workers:
        yield workers


@contextmanager
def _group(is_in_vain: Callable[[], bool], **place: Any) -> Iterator[Workers]:
    _meet(is_in_vain, place)
    try:
        yield Workers(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def _meet(is_in_vain: Callable[[], bool], place: Mapping[str, Any]) -> None:
    """Wait for all of them; in a thread, as Python's signals would not be heeded within torch's own wait."""
    met: futures.Future[None] = futures.Future()

    def wait() -> None:
        try:
            distributed.init_process_group("gloo", timeout=LONGEST_WAIT, **place)
        except BaseException as error:
            met.set_exception(error)
        else:
            met.set_result(None)

    try:
        threading.Thread(target=wait, daemon=True, name="meeting").start()
        _heed(met, is_in_vain)
    except KeyboardInterrupt:
        # Python aborts where it ends while a thread is on its way into a wait of C++, but not once it is there.
        futures.wait([met], HEEDING.total_seconds())
        raise


def _heed(met: futures.Future[None], is_in_vain: Callable[[], bool]) -> None:
    while True:
        try:
            return met.result(HEEDING.total_seconds())
        except TimeoutError as error:
            if is_in_vain():
                raise WorkersParted("one of the processes of the training ended before all had met") from error
        except RuntimeError as error:
            raise WorkersParted(f"the processes of the training do not meet ({error})") from error


def _wait_for(work: Any) -> None:
    """Until all have come so far; Python's signals are heeded meanwhile, as within one long wait they would not be."""
    while not work.is_completed():
        with suppress(RuntimeError):  # time that is up, or what the next wait raises again
            work.wait(HEEDING)
    try:
        work.wait()
    except RuntimeError as error:  # gloo has no kind of its own
        raise WorkersParted(f"another process of the training is gone ({error})") from error
