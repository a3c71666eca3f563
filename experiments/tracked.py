"""How a tracked experiment is run, resumed and told of, whatever its task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.prepare import Prepared
from experiments.recording import describe_failure
from experiments.task_experiment import TaskExperiment, experiment_of, new_experiment
from experiments.worker_processes import OtherWorkers, facts_of, started
from pipeline.runs.notification import notify_of_end
from pipeline.runs.query import StoredRun
from pipeline.tasks.base import Task
from pipeline.tracking.lean_sacred import Experiment, Run, SacredInterrupt
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.run_document import metric_entry
from pipeline.tracking.run_log import RunLog
from pipeline.training import Callback
from pipeline.util.errors import OdenetError
from pipeline.util.interruption import terminable
from pipeline.util.nested import merge
from pipeline.util.paths import home

FAILURES = (OdenetError, OSError, KeyboardInterrupt, SacredInterrupt)
"""What may end a run and is told without a traceback."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a tracked run ended, whichever experiment it was of."""

    document: Mapping[str, Any]
    """The run's document, as the store has it or will have it."""
    error: str | None
    metrics: Mapping[str, Mapping[str, list[Any]]]
    """Metric -> its steps and values."""

    @property
    def run_id(self) -> int:
        return int(self.document["_id"])

    @property
    def status(self) -> str:
        return str(self.document["status"])

    def to_dict(self) -> dict[str, Any]:
        """What `odenet run --json` prints."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "result": self.document["result"],
            "metrics": self.metrics,
            "error": self.error,
        }


def run_tracked(
    prepared: Prepared,
    named: Sequence[str] = (),
    info: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    changed: Mapping[str, Any] | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run what is prepared, tracked in the store.

    Args:
        named: the named configurations that it was made of, for the record.
        info: first entries of the run's info, as `{"rerun_of": 3}`.
        changed: what was set beside the named configurations, nested, for the record.
        annotations: the run's `name`, `tags` and `notes`.

    Raises:
        OdenetError: the store does not take a new run.
    """
    meta_info = {"named_configs": list(named), "changed": dict(changed or {})}
    return _run(prepared, callbacks, meta_info, info=info, annotations=annotations)


def resume_tracked(
    run: StoredRun,
    prepared: Prepared,
    callbacks: Sequence[Callback] = (),
    changed: Mapping[str, Any] | None = None,
) -> Outcome:
    """Go on with a run, from its checkpoint on this machine if it has one, under its id, as is prepared.

    Args:
        changed: what is set otherwise than before, nested, for the record.

    Raises:
        OdenetError: the store does not take it.
    """
    meta = run.document.get("meta") or {}
    meta_info = {**meta, "changed": merge(meta.get("changed") or {}, changed or {})}
    return _run(prepared, callbacks, meta_info, resumed=run.document)


def observer_for(task: Task[Any, Any, Any], **of_run: Any) -> StoreObserver:
    """The observer of one run; it says of the task what shows the run's numbers where a plug-in is missing.

    Args:
        of_run: `info`, `resumed`, `annotations` and `workers`, as `StoreObserver` takes them.
    """
    metrics = [metric_entry(spec) for spec in task.metric_specs()]
    return StoreObserver(home(), experiment={"task": task.name, "metrics": metrics, "result": task.result}, **of_run)


def run_once(
    name: str,
    body: Callable[[RunLog], float | None],
    config: Mapping[str, Any],
    observer: StoreObserver,
    if_interrupted: str,
) -> str | None:
    """Run `body` as an experiment; what broke it off, in a sentence, or None where nothing did.

    Args:
        if_interrupted: the remedy, with `{run_id}` for the number of the run.

    Raises:
        OdenetError: it could not begin.
    """
    experiment = new_experiment(name)

    def main(_run: Run) -> float | None:
        return body(RunLog(_run))

    main.__name__ = name
    experiment.main(main)
    ended = _carry_out(experiment, config, observer, {})
    if isinstance(ended, KeyboardInterrupt):
        return f"interrupted; {if_interrupted.format(run_id=observer.record.run_id)}"
    return None if ended is None else describe_failure(ended)


def _run(prepared: Prepared, callbacks: Sequence[Callback], meta_info: Mapping[str, Any], **of_run: Any) -> Outcome:
    """Run it, with the workers that it is prepared for; `of_run` is what the observer is told."""
    task, config = prepared.task, prepared.config
    experiment, sha256 = experiment_of(task.name), prepared.facts["data"]["sha256"]
    with terminable(), started(task.name, config, sha256, prepared.workers) as others:
        observer = observer_for(task, **of_run, workers=facts_of(others))
        return _run_with(experiment, observer, prepared, callbacks, meta_info, others)


def _run_with(
    experiment: TaskExperiment,
    observer: StoreObserver,
    prepared: Prepared,
    callbacks: Sequence[Callback],
    meta_info: Mapping[str, Any],
    others: OtherWorkers | None,
) -> Outcome:
    with experiment.given(prepared, callbacks, others):
        ended = _carry_out(experiment.sacred, prepared.config.to_dict(), observer, meta_info)
    error = None if ended is None else describe_failure(ended)
    return Outcome(document=observer.record.document, metrics=observer.record.metrics(), error=error)


def _carry_out(
    experiment: Experiment, config: Mapping[str, Any], observer: StoreObserver, meta_info: Mapping[str, Any]
) -> BaseException | None:
    """What broke the run off, once it has begun."""
    experiment.observers = [observer]
    try:
        # Forced: Sacred's own check of added keys ends below captured dictionaries; ours knows every key.
        experiment.run(config_updates=dict(config), options={"--force": True}, meta_info=dict(meta_info))
    except FAILURES as ended:
        if not observer.has_started:
            raise
        _tell_end(observer, ended)
        return ended
    except Exception as unforeseen:
        _tell_end(observer, unforeseen)
        raise
    _tell_end(observer, None)
    return None


def _tell_end(observer: StoreObserver, ended: BaseException | None) -> None:
    if observer.has_started:
        notify_of_end(observer.named_document, None if ended is None else describe_failure(ended))
