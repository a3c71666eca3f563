"""A tracked run on a Ray worker, which reports each epoch to Ray Tune and heeds stop signals: of a sweep or a study."""

import gc
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from pymongo.database import Database
from ray import tune

from experiments.prepare import prepare
from experiments.recording import Pruned, describe_failure
from experiments.tracked import resume_tracked
from pipeline.device.host_memory import give_back_freed_memory
from pipeline.runs.query import StoredRun
from pipeline.runs.resume import StillRunning, prepare_resume, take_over
from pipeline.runs.stored_parts import config_of
from pipeline.sweeps.state import COMPLETED, DISK_FULL, FAILURES, INTERRUPTED, PRUNED
from pipeline.sweeps.stop_signals import begin_trial, end_trial, get_stop_signal
from pipeline.sweeps.trial_spec import TrialSpec
from pipeline.tracking.address import StoreError
from pipeline.tracking.lean_sacred import SacredInterrupt
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.run_folder import run_folder
from pipeline.tracking.store import connect
from pipeline.training import Callback
from pipeline.training.callback import Metrics
from pipeline.util.errors import OdenetError, is_disk_full
from pipeline.util.paths import home

STOP_SIGNAL_SECONDS = 1.0
"""How often a trial asks for its stop_signal while it trains."""
WORKER_SECONDS = 120.0
"""How long a trial waits for its earlier worker to be seen as dead; a heartbeat's patience is half of it."""
STORE_SECONDS = 900.0
"""How long a trial that is to begin waits for a store that is away."""
OUT_OF_MEMORY_ERROR = (
    "the machine ran out of memory, and its worker was killed: fewer trials at once (--parallel), or less each"
)
T = TypeVar("T")


class Interrupted(SacredInterrupt):
    """The sweep or the study is being interrupted."""


class TrialRun(Callback):
    """The run, in a thread that waits after each epoch until the next one is wanted."""

    def __init__(self, spec: TrialSpec, shared: Any, stop_signals: Any) -> None:
        """Begin.

        Args:
            shared: what all trials of the sweep or the study have in common.
        """
        self._spec, self._shared, self._stop_signals = spec, shared, stop_signals
        self._reports: queue.Queue[dict[str, Any]] = queue.Queue()
        self._wanted = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._asked = time.monotonic()
        self._run_id: int | None = None
        self._thread = threading.Thread(target=self._work, name="odenet-trial", daemon=True)
        self._thread.start()

    # Tune's side

    def next_report(self) -> dict[str, Any]:
        """What the next epoch came to, or the end."""
        self._wanted.release()
        return {"key": self._spec.key, **self._reports.get()}

    def stop(self) -> None:
        """End the run, if it is not over, and wait for its end."""
        self._stopping.set()
        self._thread.join()

    # The run's side

    def run_started(self, run_id: int) -> None:
        self._run_id = run_id

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:  # noqa: ARG002
        if time.monotonic() - self._asked > STOP_SIGNAL_SECONDS or self._stopping.is_set():
            self._heed()

    def epoch_done(self, epoch: int, history: Sequence[Metrics]) -> None:  # noqa: ARG002 - the history has it
        self._reports.put({**self.epoch_report(history), "run_id": self._run_id})
        while not self._wanted.acquire(timeout=STOP_SIGNAL_SECONDS / 4):
            self._heed()

    @abstractmethod
    def epoch_report(self, history: Sequence[Metrics]) -> dict[str, Any]:
        """What is told after an epoch."""

    @abstractmethod
    def carry_out(self) -> dict[str, Any]:
        """Run; what is told at the end, an `outcome` in it."""

    def last_report(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """The same as Tune is told it."""
        return dict(report)

    def wait(self, seconds: float) -> None:
        """Do nothing for so long, unless the trial is to end."""
        self._stopping.wait(seconds)
        self._heed()

    def _heed(self) -> None:
        self._asked = time.monotonic()
        stop_signal = get_stop_signal(self._stop_signals, self._spec.key)
        if stop_signal == PRUNED:
            raise Pruned
        if stop_signal is not None or self._stopping.is_set():
            raise Interrupted

    def _work(self) -> None:
        self._wanted.acquire()
        report: dict[str, Any] = {"outcome": INTERRUPTED, "error": None}
        try:
            if begin_trial(self._stop_signals, self._spec.key):
                report = self.carry_out()
        except Interrupted:  # where it waits for another run
            pass
        except Exception as error:  # whatever it is, it is this trial's end and not the others'
            if is_disk_full(error):
                report = {"outcome": INTERRUPTED, "error": describe_failure(error)}
            else:
                said = str(error) if isinstance(error, OdenetError) else f"{type(error).__name__}: {error}"
                report = {"outcome": "failed", "error": said}
        end_trial(self._stop_signals, self._spec.key)
        self._reports.put({**self.last_report(report), "done": True})


class TrackedTrial(tune.Trainable):
    """The trial as Tune sees it: `step` is an epoch. A worker does one trial after the other."""

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], kind: type[TrialRun], shared: Any, stop_signals: Any
    ) -> None:
        self._kind, self._shared, self._stop_signals = kind, shared, stop_signals
        self._begin(config)

    def step(self) -> dict[str, Any]:
        return self._run.next_report()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """The run is over, and its memory free, when this returns.

        Raises:
            RuntimeError: an error in a kernel has left CUDA useless to this process; Tune then replaces the worker.
        """
        self._run.stop()
        gc.collect()
        give_back_freed_memory()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        torch.cuda.empty_cache()

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._run = self._kind(TrialSpec.from_json(config["trial"]), self._shared, self._stop_signals)


def connect_patiently() -> Database[dict[str, Any]]:
    """The store, waited for while it is away.

    Raises:
        StoreError: it stayed away for `STORE_SECONDS`.
    """
    return _patiently(connect, StoreError, STORE_SECONDS)


def inherit(run_id: int, database: Database[dict[str, Any]]) -> StoredRun:
    """The run of a worker that is gone, or about to go.

    Raises:
        StillRunning: it does not go.
    """
    return _patiently(lambda: take_over(run_id, home(), database), StillRunning, WORKER_SECONDS)


def settled(run: StoredRun, database: Database[dict[str, Any]]) -> StoredRun:
    """A run that is over, as the store has it once it has its end, which may wait on disk.

    Raises:
        StillRunning: it is not over.
    """
    return inherit(run.run_id, database) if run.status in (RunStatus.RUNNING, RunStatus.DIED) else run


def _patiently(attempt: Callable[[], T], refusal: type[OdenetError], seconds: float) -> T:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except refusal:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def take_up(run_id: int, database: Database[dict[str, Any]], callback: Callback) -> None:
    """Go on with such a run: from its checkpoint, or from the beginning where it left none here."""
    run = inherit(run_id, database)
    config, data = config_of(run), None
    if (run_folder(home(), run.document) / "checkpoint.pt").exists():
        run, config, data = prepare_resume(run_id, {}, home(), database)
    resume_tracked(run, prepare(run.task, config, data), [callback])


def is_broken_off(run: StoredRun) -> bool:
    """Whether it can go on: it was stopped, or had no room on its disk."""
    if run.status is RunStatus.FAILED:
        return _reason(run) == DISK_FULL
    return run.status in (RunStatus.INTERRUPTED, RunStatus.RUNNING, RunStatus.DIED)


def outcome_of(run: StoredRun) -> dict[str, Any]:
    """How an ended run ended: an `outcome` of a sweep's state, and the sentence where there is one.

    One that had no room on its disk counts as interrupted, as its configuration had no part in that.
    """
    failure = run.facts.failure
    if run.status is RunStatus.COMPLETED:
        return {"outcome": COMPLETED, "error": None}
    if run.status is RunStatus.FAILED and failure is not None:
        reason = _reason(run)
        return {"outcome": INTERRUPTED if reason == DISK_FULL else reason, "error": failure["message"]}
    if run.status in (RunStatus.PRUNED, RunStatus.INTERRUPTED):
        return {"outcome": run.status.lower(), "error": None}
    return {"outcome": "failed", "error": f"run {run.run_id} ended as {run.status}"}


def _reason(run: StoredRun) -> str:
    """Of a failed run: one of `FAILURES`."""
    failure = run.facts.failure
    return failure["reason"] if failure is not None and failure["reason"] in FAILURES else "failed"
