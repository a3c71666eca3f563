"""A run in a few plain values, as lists show it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.seeds import seed_in
from pipeline.reporting.text_table import NOTHING
from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.kind import RunKind, kind_of, model_and_data
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.readable import is_foreign
from pipeline.tracking.run_document import (
    RunInfo,
    RunStatus,
    aware,
    result_spec,
    task_of,
    test_specs,
)
from pipeline.util.nested import flatten

EVALUATIONS = ("solver.nfe_forward", "solver.nfe_backward")
LAST = (*EVALUATIONS, "time.epoch_seconds")


@dataclass(frozen=True)
class RunSummary:
    """A run in a few plain values; what it has not come to yet is None."""

    run_id: Any
    status: RunStatus
    kind: RunKind
    name: str | None
    tags: tuple[str, ...]
    task: str
    model: str
    """Of a sweep `sweep`; of a script its file; of an experiment that is of no task its name."""
    data: str
    """Of a sweep its space."""
    seed: int | None
    changed: Mapping[str, Any]
    """Keys of the configuration that its command line set beside named configurations; empty where nobody knows."""
    results: Mapping[MetricSpec, float | None]
    """Metric of the test split, the result first -> its value; of a sweep the mean result of its best configuration on
    fresh seeds."""
    tested: str | None
    """As in `1,000 of 10,000`, where the results are of a part of the test split."""
    parameters: int | None
    nfe_forward: float | None
    nfe_backward: float | None
    epochs: int | None
    epoch_seconds: float | None
    started: str
    seconds: float | None
    """From start to end, or until now where it has not ended."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: each metric of the test split by its own name, as `accuracy`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "results"}
        values |= {"status": self.status.value, "kind": str(self.kind), "tags": list(self.tags)}
        return values | {spec.quantity: value for spec, value in self.results.items()}

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.started)).total_seconds()


def summary(document: Mapping[str, Any], last: Mapping[str, float]) -> RunSummary:
    """A run's document in a few plain values.

    Args:
        last: metric -> its last value.
    """
    info, config = RunInfo.read(document), document["config"]
    results: dict[MetricSpec, float | None] = {}
    if not is_foreign(document):
        results = {spec: info.test.get(spec.quantity) for spec in test_specs(document)}
    model, data = model_and_data(document)
    result = document.get("result")
    if isinstance(result, int | float) and results.get(result_spec(document)) is None:
        results |= {result_spec(document): result}
    return RunSummary(
        run_id=document["_id"],
        status=effective_status(document),
        kind=kind_of(document),
        name=run_name(document),
        tags=tuple(document.get("omniboard", {}).get("tags", ())),
        task=task_of(document),
        model=model,
        data=data or NOTHING,
        seed=seed_in(config),
        changed=_changed(document),
        results=results,
        tested=info.tested,
        parameters=info.parameters,
        nfe_forward=last.get("solver.nfe_forward"),
        nfe_backward=last.get("solver.nfe_backward"),
        epochs=info.epochs or _epoch(last),
        epoch_seconds=info.epoch_seconds or last.get("time.epoch_seconds"),
        started=aware(document["start_time"]).isoformat(timespec="seconds"),
        seconds=seconds_taken(document),
    )


def run_name(document: Mapping[str, Any]) -> str | None:
    """The name that somebody has given the run."""
    name = document.get("omniboard", {}).get("name")
    return name if isinstance(name, str) and name else None


def _changed(document: Mapping[str, Any]) -> dict[str, Any]:
    meta = document.get("meta")
    changed = meta.get("changed") if isinstance(meta, Mapping) else None
    return flatten(changed) if isinstance(changed, Mapping) else {}


def _epoch(last: Mapping[str, float]) -> int | None:
    return int(last["epoch"]) if "epoch" in last else None


def seconds_taken(document: Mapping[str, Any]) -> float | None:
    """From the run's start to its end, or until now where it has not ended, but for what lay between its sessions."""
    if effective_status(document) is RunStatus.RUNNING:
        end = datetime.now(UTC)
    else:
        stopped = document.get("stop_time") or document.get("heartbeat")
        if not isinstance(stopped, datetime):
            return None
        end = aware(stopped)
    seconds = (end - aware(document["start_time"])).total_seconds()
    return max(0.0, seconds - sum(_seconds_between_sessions(document)))


def _seconds_between_sessions(document: Mapping[str, Any]) -> Iterator[float]:
    """Of a run that was resumed, in which nothing of it went on; earlier versions did not note it."""
    for session in document.get("resumed") or ():
        ended, begun = session.get("ended_before"), session.get("time")
        if isinstance(ended, datetime) and isinstance(begun, datetime):
            yield max(0.0, (aware(begun) - aware(ended)).total_seconds())


def summaries(runs: Runs, found: Sequence[StoredRun]) -> list[RunSummary]:
    """One `summary` a run."""
    last = runs.last_values(found, LAST)
    return [summary(run.document, last[run.run_id]) for run in found]


def mean_evaluations(metrics: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, float]:
    """Metric of evaluations -> its mean over the epochs, of series as `last_values` takes them.

    A training that reuses its first step is quicker by fewer evaluations; its last epoch alone does not tell.
    """
    counted = {name: metrics[name]["values"] for name in EVALUATIONS if name in metrics}
    return {name: fmean(values) for name, values in counted.items() if values}


def last_values(metrics: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, float]:
    """Metric -> its last value, of series given as `Record.metrics` and `StoredRun.points` give them."""
    return {name: series["values"][-1] for name, series in metrics.items() if series["values"]}
