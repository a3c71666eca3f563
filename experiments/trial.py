"""A trial of a sweep: one tracked run on a Ray worker."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pymongo.database import Database

from experiments.ray_trial import (
    BROKEN_OFF,
    OUT_OF_MEMORY_ERROR,
    TrialRun,
    connect_patiently,
    inherit,
    outcome_of,
    take_up,
)
from experiments.tracked import prepare, run_tracked
from pipeline.config import Config
from pipeline.plugins.loading import load_sources
from pipeline.runs.alike import find_alike
from pipeline.runs.query import Runs, StoredRun
from pipeline.sweeps.pruning import EPOCH
from pipeline.sweeps.search import OBJECTIVE, worst
from pipeline.sweeps.state import COMPLETED, PRUNED, RUNNING
from pipeline.sweeps.stop_signals import get_stop_signal
from pipeline.sweeps.trial_spec import SweepOfTrial
from pipeline.tasks.lookup import config_class
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.store import translate_store_errors
from pipeline.training.callback import Metrics
from pipeline.util.errors import OdenetError
from pipeline.util.nested import flatten

Points = Mapping[str, Mapping[str, list[Any]]]
"""Metric -> its steps and values."""


class SweepTrialRun(TrialRun):
    """The run of a trial, which reports the searched metric."""

    @property
    def _sweep(self) -> SweepOfTrial:
        shared: SweepOfTrial = self._shared
        return shared

    def epoch_report(self, history: Sequence[Metrics]) -> dict[str, Any]:
        report = summarise({name: {"values": [row[name] for row in history]} for name in history[-1]}, self._sweep)
        objective = worst(self._sweep.mode) if report["value"] is None else report["value"]
        return {**report, "outcome": RUNNING, OBJECTIVE: objective, EPOCH: report["epochs"]}

    def last_report(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Without an epoch: for ASHA it has said everything already."""
        value = report.get("value")
        known = report["outcome"] in (COMPLETED, PRUNED) and value is not None
        return {**report, OBJECTIVE: value if known else worst(self._sweep.mode)}

    def carry_out(self) -> dict[str, Any]:
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
            elif run.status in BROKEN_OFF:
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
        return report | {"outcome": "out_of_memory", "error": OUT_OF_MEMORY_ERROR}


def find_completed(database: Database[dict[str, Any]], task: str, config: Config) -> StoredRun | None:
    """The newest completed run with exactly this configuration, its seed included."""
    alike = find_alike(Runs(database), task, config)
    return next((run for run in alike if run.status is RunStatus.COMPLETED), None)


def report_of(run: StoredRun, sweep: SweepOfTrial) -> dict[str, Any]:
    """What the trial of an ended run reports."""
    report = {**summarise(run.points(), sweep), "run_id": run.run_id, **outcome_of(run)}
    if run.status is not RunStatus.COMPLETED:
        return report
    if report["value"] is None:
        return report | {"outcome": "loss_diverged", "error": f"{sweep.metric} never was a finite number"}
    return report | {"test_result": run.result}


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
