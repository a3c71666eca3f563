"""The other workers of a training, as the first one sees them; their side is `experiments.worker`."""

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from pipeline.config import Config
from pipeline.device.precision import choose_device
from pipeline.device.workers import Workers, WorkersParted, joined, joined_by_torchrun
from pipeline.plugins.loading import loaded_sources
from pipeline.tracking.provenance import worker_facts
from pipeline.util.errors import OdenetError
from pipeline.util.torchrun import is_under_torchrun

END_SECONDS = 10.0
"""How long a worker may take to end by itself."""
LEFT_ALONE = 75
"""Exit status of a worker that ends since another one is gone."""


class WorkerLost(OdenetError):
    """A worker that ended before the training did."""


class WorkerProcesses:
    """All workers of a training but the first, which is this process.

    Attributes:
        facts: of each worker, this one first: `rank`, `hostname`, `process`, `device`.
    """

    def __init__(self, assignment: Mapping[str, Any], size: int, device: torch.device, folder: Path) -> None:
        """Start them; they load the data and build the model.

        Args:
            assignment: what is trained, plain values.
            device: of this process.
            folder: for their meeting and what they say on standard error; their owner's alone.

        Raises:
            OdenetError: one cannot begin.
        """
        self.size, self._folder = size, folder
        self._threads = max(1, torch.get_num_threads() // size)
        assignment = {**assignment, "size": size, "meeting": str(folder / "meeting"), "threads": self._threads}
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for rank in range(1, size):
                self._processes.append(self._start({**assignment, "rank": rank}))
            self.facts = [worker_facts(0, device), *map(self._ready, self._processes)]
        except BaseException:
            self.end()
            raise

    def _start(self, assignment: Mapping[str, Any]) -> subprocess.Popen[str]:
        with (self._folder / f"worker-{assignment['rank']}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "experiments.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the first, which ends them
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone, and its first answer will be missed
            process.stdin.write(json.dumps(assignment) + "\n")
            process.stdin.flush()
        return process

    def _ready(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        answer = json.loads(process.stdout.readline() or "{}")
        if "facts" not in answer:
            raise OdenetError(self._how_it_ended(process, answer.get("error")))
        facts: dict[str, Any] = answer["facts"]
        return facts

    @contextmanager
    def joined(self) -> Iterator[Workers]:
        """Within it all of them train together.

        Raises:
            WorkerLost: one of them ended.
        """
        if self._has_lost_one():
            raise self._lost()
        threads_before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with joined(0, self.size, self._folder / "meeting", self._has_lost_one) as workers:
                yield workers
        except WorkersParted as parted:
            raise self._lost() from parted
        finally:
            torch.set_num_threads(threads_before)

    def _has_lost_one(self) -> bool:
        return any(process.poll() is not None for process in self._processes)

    def _lost(self) -> WorkerLost:
        """What the one came to that the others ended for."""
        until = time.monotonic() + END_SECONDS
        while time.monotonic() < until and any(process.poll() is None for process in self._processes):
            time.sleep(0.05)
        for process in self._processes:
            if process.returncode not in (None, LEFT_ALONE):
                assert process.stdout is not None
                error = json.loads(process.stdout.readline() or "{}").get("error")
                return WorkerLost(self._how_it_ended(process, error))
        return WorkerLost("the workers have lost each other")

    def _how_it_ended(self, process: subprocess.Popen[str], error: str | None) -> str:
        rank = self._processes.index(process) + 1
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        said = (self._folder / f"worker-{rank}").read_text(errors="replace").strip().splitlines()
        status = process.returncode
        if error is None and status is not None and status < 0:
            error = f"it was ended by {signal.Signals(-status).name}"
        why = error or (said[-1] if said else f"exit status {status}")
        return f"worker {rank + 1} of {self.size} (process {process.pid}) failed: {why}"

    def end(self) -> None:
        """End those that have not ended."""
        for process in self._processes:
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()
        for process in self._processes:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class TorchrunWorkers:
    """The processes that torchrun has started, on this machine and others, of which this is the first.

    Attributes:
        facts: of each worker, this one first: `rank`, `hostname`, `process`, `device`.
    """

    def __init__(self, assignment: Mapping[str, Any], device: torch.device, workers: Workers) -> None:
        """Say to all what is trained; they load the data and build the model.

        Raises:
            OdenetError: one cannot begin.
        """
        self._workers = workers
        workers.share({"assignment": json.dumps(assignment)})
        own = {"facts": worker_facts(0, device)}
        answers = [workers.share(own, source=rank) for rank in range(workers.size)]
        for rank, answer in enumerate(answers):
            if "error" in answer:
                raise OdenetError(f"worker {rank + 1} of {workers.size} failed: {answer['error']}")
        self.facts = [answer["facts"] for answer in answers]

    @contextmanager
    def joined(self) -> Iterator[Workers]:
        """Within it all of them train together.

        Raises:
            WorkerLost: one of them ended.
        """
        try:
            yield self._workers
        except WorkersParted as parted:
            raise WorkerLost("a worker of torchrun's is lost, which it names") from parted


OtherWorkers = WorkerProcesses | TorchrunWorkers


@contextmanager
def started(task_name: str, config: Config, data_sha256: str, size: int) -> Iterator[OtherWorkers | None]:
    """The other workers of a training by so many; None for one alone. They end with the block.

    Args:
        data_sha256: of the data that all must have.

    Raises:
        OdenetError: one cannot begin.
    """
    if size == 1:
        yield None
        return
    assignment = {
        "task": task_name,
        "config": config.to_dict(),
        "data_sha256": data_sha256,
        "plugins": [[s.spec, s.name, base64.b64encode(s.content).decode()] for s in loaded_sources()],
    }
    if is_under_torchrun():
        with joined_by_torchrun() as workers:
            yield TorchrunWorkers(assignment, choose_device(config.training), workers)
        return
    with tempfile.TemporaryDirectory(prefix="odenet-workers-", ignore_cleanup_errors=True) as folder:
        processes = WorkerProcesses(assignment, size, choose_device(config.training), Path(folder))
        try:
            yield processes
        finally:
            processes.end()


def facts_of(others: OtherWorkers | None) -> Sequence[Mapping[str, Any]]:
    """Of all workers, for the record of the run; none for one alone."""
    return () if others is None else others.facts
