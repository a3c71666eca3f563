"""A trial of a sweep: one tracked run on a Ray worker, which reports each epoch to Ray Tune and heeds stop signals."""

import gc
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from pymongo.database import Database
from ray import tune
from sacred.utils import SacredInterrupt

from experiments.recording import Pruned
from experiments.tracked import prepare, resume_tracked, run_tracked
from pipeline.config import Config
from pipeline.device.host_memory import give_back_freed_memory
from pipeline.plugins.loading import load_sources
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.resume import StillRunning, prepare_resume, take_over
from pipeline.runs.stored_parts import config_of
from pipeline.sweeps.pruning import EPOCH
from pipeline.sweeps.search import OBJECTIVE, worst
from pipeline.sweeps.state import COMPLETED, FAILURES, PRUNED, RUNNING
from pipeline.sweeps.stop_signals import get_stop_signal
from pipeline.sweeps.trial_spec import SweepOfTrial, TrialSpec
from pipeline.tasks.lookup import config_class
from pipeline.tracking.address import StoreError
from pipeline.tracking.record import run_folder
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.store import connect, translate_store_errors
from pipeline.training import Callback
from pipeline.training.callback import Metrics
from pipeline.util.errors import OdenetError
from pipeline.util.nested import flatten
from pipeline.util.paths import home

STOP_SIGNAL_SECONDS = 1.0
"""How often a trial asks for its stop_signal while it trains."""
WORKER_SECONDS = 120.0
"""How long a trial waits for its earlier worker to be seen as dead; a heartbeat's patience is half of it."""
STORE_SECONDS = 900.0
"""How long a trial that is to begin waits for a store that is away."""
T = TypeVar("T")
Points = Mapping[str, Mapping[str, list[Any]]]
"""Metric -> its steps and values."""


class Interrupted(SacredInterrupt):
    """The sweep is being interrupted."""


class TrackedTrial(tune.Trainable):
    """The trial as Tune sees it: `step` is an epoch. A worker does one trial after the other."""

    def setup(self, config: dict[str, Any], sweep: SweepOfTrial, stop_signals: Any) -> None:  # type: ignore[override]
        self._sweep, self._stop_signals = sweep, stop_signals
        self._begin(config)

    def step(self) -> dict[str, Any]:
        return self._run.next_report()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """The run is over, and its memory free, when this returns."""
        self._run.stop()
        gc.collect()
        give_back_freed_memory()
        torch.cuda.empty_cache()

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._run = TrialRun(TrialSpec.from_json(config["trial"]), self._sweep, self._stop_signals)


class TrialRun(Callback):
    """The run, in a thread that waits after each epoch until the next one is wanted."""

    def __init__(self, spec: TrialSpec, sweep: SweepOfTrial, stop_signals: Any) -> None:
        self._spec, self._sweep, self._stop_signals = spec, sweep, stop_signals
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
        report = summarise({name: {"values": [row[name] for row in history]} for name in history[-1]}, self._sweep)
        objective = worst(self._sweep.mode) if report["value"] is None else report["value"]
        self._reports.put(
            {**report, "run_id": self._run_id, "outcome": RUNNING, OBJECTIVE: objective, EPOCH: report["epochs"]}
        )
        while not self._wanted.acquire(timeout=STOP_SIGNAL_SECONDS / 4):
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
        try:
            report = self._carry_out()
        except Exception as error:  # whatever it is, it is this trial's end and not the sweep's
            report = {"outcome": "failed", "error": f"{type(error).__name__}: {error}"}
        # Without an epoch: for ASHA it has said everything already.
        value = report.get("value")
        known = report["outcome"] in (COMPLETED, PRUNED) and value is not None
        self._reports.put({**report, OBJECTIVE: value if known else worst(self._sweep.mode), "done": True})

    def _carry_out(self) -> dict[str, Any]:
        database = connect_patiently()
        self._refuse_other_store(database)
        load_sources(self._sweep.plugins)
        config = config_class(self._spec.task).from_dict(self._spec.config)
        run = self._find(database)
        skips = run is None and self._sweep.skips_existing
        if skips and (existing := find_completed(database, self._spec.task, config)) is not None:
            return report_of(existing, self._sweep) | {"is_reused": True}
        if get_stop_signal(self._stop_signals, self._spec.key) == "out_of_memory":
            return self._killed_for_memory(run, database)
        failure: Exception | None = None
        try:
            if run is None:
                prepared = prepare(self._spec.task, config)
                run_tracked(prepared, info=self._spec.mark(self._sweep), callbacks=[self])
            elif run.status in (RunStatus.INTERRUPTED, RunStatus.RUNNING, RunStatus.DIED):
                take_up(run.run_id, database, self)
        except Exception as error:  # which the run tells of, unless it never was one
            failure = error
        database.client.close()
        database = connect_patiently()  # it may have gone meanwhile
        ended = self._find(database)
        if ended is not None and ended.status is RunStatus.RUNNING:  # its end waits on disk
            ended = inherit(ended.run_id, database)
        if ended is None:
            raise failure or OdenetError("the store no longer has the run of this trial: was it deleted?")
        if ended.whole_config != flatten(config.to_dict()):
            raise OdenetError(f"run {ended.run_id} was trained with another configuration than the suggested one")
        return report_of(ended, self._sweep)

    def _find(self, database: Database[dict[str, Any]]) -> StoredRun | None:
        """The run of this trial that an earlier worker, or this one, has begun."""
        mark = self._spec.mark(self._sweep)["sweep"]
        with translate_store_errors():
            document = database.runs.find_one({f"info.sweep.{key}": value for key, value in mark.items()})
        return StoredRun(document, database) if document else None

    def _refuse_other_store(self, database: Database[dict[str, Any]]) -> None:
        with translate_store_errors():
            known = database.runs.find_one({"_id": self._sweep.run_id, "uid": self._sweep.uid}, {"_id": True})
        if known is None:
            raise OdenetError(
                f"the worker on {socket.gethostname()} writes to another store than the sweep's: set ODENET_MONGO_URL "
                "on the workers to what it is on the driver"
            )

    def _killed_for_memory(self, run: StoredRun | None, database: Database[dict[str, Any]]) -> dict[str, Any]:
        report = {} if run is None else report_of(inherit(run.run_id, database), self._sweep)
        error = (
            "the machine ran out of memory, and its worker was killed: fewer trials at once (--parallel), or less each"
        )
        return report | {"outcome": "out_of_memory", "error": error}


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


def find_completed(database: Database[dict[str, Any]], task: str, config: Config) -> StoredRun | None:
    """The newest completed run with exactly this configuration, its seed included."""
    wanted, defaults = flatten(config.to_dict()), type(config).complete({})
    # Keys are added with time: an older run may lack one, and then it has the default.
    certain = {f"config.{key}": value for key, value in wanted.items() if key not in defaults or value != defaults[key]}
    filters = {**certain, "status": RunStatus.COMPLETED.value, "experiment.name": task}
    return next((run for run in Runs(database).find(filters) if run.whole_config == wanted), None)


def report_of(run: StoredRun, sweep: SweepOfTrial) -> dict[str, Any]:
    """What the trial of an ended run reports."""
    report = {**summarise(run.points(), sweep), "run_id": run.run_id, "outcome": COMPLETED, "error": None}
    failure = run.facts.failure
    if run.status is RunStatus.COMPLETED and report["value"] is None:
        return report | {"outcome": "loss_diverged", "error": f"{sweep.metric} never was a finite number"}
    if run.status is RunStatus.COMPLETED:
        return report | {"test_result": run.result}
    if run.status is RunStatus.FAILED and failure is not None:
        reason = failure["reason"] if failure["reason"] in FAILURES else "failed"
        return report | {"outcome": reason, "error": failure["message"]}
    if run.status in (RunStatus.PRUNED, RunStatus.INTERRUPTED):
        return report | {"outcome": run.status.lower()}
    return report | {"outcome": "failed", "error": f"run {run.run_id} ended as {run.status}"}


def summarise(metrics: Points, sweep: SweepOfTrial) -> dict[str, Any]:
    """The best epoch so far and what the epochs cost, under the state's names."""
    values = np.array(metrics.get(sweep.metric, {}).get("values", []), dtype=float)
    scored = np.where(np.isfinite(values), values if sweep.mode == "max" else -values, -np.inf)
    is_known = bool(np.isfinite(scored).any())
    best = int(scored.argmax()) if is_known else 0
    results = metrics.get(sweep.validation_result or "", {}).get("values", [])
    evaluations = metrics.get("solver.nfe_forward", {}).get("values", [])
    memory = metrics.get("memory.peak_mb", {}).get("values", [])
    return {
        "value": float(values[best]) if is_known else None,
        "validation_result": results[best] if is_known and len(results) > best else None,
        "nfe_forward": evaluations[-1] if evaluations else None,
        "epochs": len(values),
        "seconds": float(sum(metrics.get("time.epoch_seconds", {}).get("values", []))),
        "peak_memory_mb": max(memory, default=None),
    }
