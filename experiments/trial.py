"""A trial of a sweep: one tracked run on a Ray worker."""

import math
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pymongo.database import Database

from experiments.prepare import prepare
from experiments.ray_trial import (
    OUT_OF_MEMORY_ERROR,
    TrialRun,
    connect_patiently,
    inherit,
    is_broken_off,
    outcome_of,
    settled,
    take_up,
)
from experiments.tracked import run_tracked
from pipeline.config import Config
from pipeline.plugins.loading import load_sources
from pipeline.runs.alike import find_alike, has_same_plugins
from pipeline.runs.query import Runs, StoredRun
from pipeline.sweeps.goal import Goal
from pipeline.sweeps.reported import EPOCH, MEASURED, OBJECTIVE, objective_value, worst
from pipeline.sweeps.state import COMPLETED, PRUNED, RUNNING
from pipeline.sweeps.stop_signals import get_stop_signal
from pipeline.sweeps.trial_spec import SweepOfTrial
from pipeline.tasks.lookup import config_class, get_task
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.store import translate_store_errors
from pipeline.training.callback import Metrics
from pipeline.util.array_types import FloatArray
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
        return {
            **report,
            "outcome": RUNNING,
            OBJECTIVE: objective_of(report, self._sweep.goal),
            EPOCH: report["epochs"],
        }

    def last_report(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Without an epoch: for ASHA it has said everything already."""
        goal, is_known = self._sweep.goal, report["outcome"] in (COMPLETED, PRUNED)
        return {**report, OBJECTIVE: objective_of(report, goal) if is_known else worst(goal.objectives[0].mode)}

    def carry_out(self) -> dict[str, Any]:
        database = connect_patiently()
        self._refuse_other_store(database)
        load_sources(self._sweep.plugins)
        config = config_class(self._spec.task).from_dict(self._spec.config)
        run = self._find(database, config)
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
            elif is_broken_off(run):
                take_up(run.run_id, database, self)
        except Exception as error:  # which the run tells of, unless it never was one
            failure = error
        database.client.close()
        database = connect_patiently()  # it may have gone meanwhile
        ended = self._find(database, config)
        if ended is None:
            raise failure or OdenetError("the store no longer has the run of this trial: was it deleted?")
        if ended.whole_config != flatten(config.to_dict()):
            raise OdenetError(f"run {ended.run_id} was trained with another configuration than the suggested one")
        return report_of(settled(ended, database), self._sweep)

    def _find(self, database: Database[dict[str, Any]], config: Config) -> StoredRun | None:
        """The run of this trial that an earlier worker, or this one, has begun.

        Of fresh seeds there may be runs of a configuration that was the best before.
        """
        mark = self._spec.mark(self._sweep)["sweep"]
        with translate_store_errors():
            documents = list(database.runs.find({f"info.sweep.{key}": value for key, value in mark.items()}))
        found = [StoredRun(document, database) for document in documents]
        if self._spec.phase == "check":
            found = [run for run in found if run.whole_config == flatten(config.to_dict())]
        return found[0] if found else None

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
    """The newest completed run with exactly this configuration, its seed included, on the data that are here now.

    Its plug-ins are those that are loaded, by content. Of a run that does not say what its data were, they are taken
    for the same.
    """
    found = find_alike(Runs(database), task, config)
    alike = [run for run in found if run.status is RunStatus.COMPLETED and has_same_plugins(run)]
    says = [run.facts.data_sha256 for run in alike]
    here = get_task(task).load_data(config).sha256 if any(says) else ""
    return next((run for run, sha256 in zip(alike, says, strict=True) if sha256 in (None, here)), None)


def report_of(run: StoredRun, sweep: SweepOfTrial) -> dict[str, Any]:
    """What the trial of an ended run reports."""
    points = run.points()
    report = {**summarise(points, sweep), "run_id": run.run_id, **outcome_of(run)}
    if run.status is not RunStatus.COMPLETED:
        return report
    if report["value"] is None:
        return report | _why_no_value(points, sweep.goal)
    return report | {"test_result": run.result}


def _why_no_value(points: Points, goal: Goal) -> dict[str, str]:
    """The outcome of a completed run in which a metric of the goal has no value, and the sentence."""
    for metric in goal.metrics:
        if metric not in points:
            why = "a network without an ODE has no solver" if metric.startswith("solver.") else "its training has none"
            return {"outcome": "failed", "error": f"the run recorded no {metric}, which the sweep asks for: {why}"}
    return {"outcome": "loss_diverged", "error": f"{' or '.join(goal.metrics)} never was a finite number"}


def summarise(metrics: Points, sweep: SweepOfTrial) -> dict[str, Any]:
    """The epoch by which the trial counts and what the epochs cost, under the state's names."""
    goal = sweep.goal
    values = np.array(metrics.get(goal.objectives[0].metric, {}).get("values", []), dtype=float)
    counting = _kept_epoch(metrics) if goal.is_of_kept_weights else _best_epoch(values, goal.objectives[0].mode)
    measured = {} if counting is None else _measured(metrics, goal, counting)
    is_known = measured.keys() == set(goal.metrics)
    results = metrics.get(sweep.validation_result or "", {}).get("values", [])
    evaluations = metrics.get("solver.nfe_forward", {}).get("values", [])
    memory = metrics.get("memory.peak_mb", {}).get("values", [])
    solved = counting if goal.is_of_kept_weights else -1
    return {
        "value": measured[goal.objectives[0].metric] if is_known else None,
        "validation_result": results[counting] if counting is not None and len(results) > counting else None,
        "nfe_forward": evaluations[solved] if evaluations and solved is not None else None,
        "epochs": len(metrics.get("validation.loss", {}).get("values", values)),
        "seconds": float(sum(metrics.get("time.epoch_seconds", {}).get("values", []))),
        "peak_memory_mb": max(memory, default=None),
        **(_judged(measured, goal) if is_known and goal.is_of_kept_weights else {}),
    }


def objective_of(report: Mapping[str, Any], goal: Goal) -> float:
    """What Tune ranks a trial by that has reported so far."""
    return objective_value(goal, report.get("value"), dict(report.get(MEASURED, ())))


def _best_epoch(values: FloatArray, mode: str) -> int | None:
    """The index of the best value; None where none is finite."""
    scored = np.where(np.isfinite(values), values if mode == "max" else -values, -np.inf)
    return int(scored.argmax()) if np.isfinite(scored).any() else None


def _kept_epoch(metrics: Points) -> int | None:
    """The index of the epoch whose weights the run keeps."""
    return _best_epoch(np.array(metrics.get("validation.loss", {}).get("values", []), dtype=float), "min")


def _measured(metrics: Points, goal: Goal, epoch: int) -> dict[str, float]:
    """Of the goal's metrics those that have a finite value at this epoch."""
    series = {name: metrics.get(name, {}).get("values", []) for name in goal.metrics}
    found = {name: values[epoch] for name, values in series.items() if len(values) > epoch}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def _judged(measured: Mapping[str, float], goal: Goal) -> dict[str, Any]:
    return {MEASURED: list(measured.items()), "violates": [str(constraint) for constraint in goal.violated(measured)]}
