"""A study carried out: what the store lacks is trained, measured and evaluated by Ray's workers.

odenet paper bijsterbosch-7.1 --scale small

Nothing is kept of a study but its runs: what is done already is found by their configurations, so that the same
command goes on after a kill. To be imported after `pipeline.sweeps.ray_environment.prepare`.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from experiments.ray_pool import Pool, joined
from experiments.study_plan import Job, StudyPlan
from experiments.study_standing import Standing, look
from experiments.study_trial import StudyOfRun, StudyTrialRun
from pipeline.plugins.loading import loaded_sources
from pipeline.runs.query import Runs
from pipeline.studies.progress import JobProgress, StudyProgress
from pipeline.sweeps.interruption import Interruption, interruptible
from pipeline.sweeps.ray_environment import LOCAL
from pipeline.sweeps.state import COMPLETED, INTERRUPTED, REPEATABLE
from pipeline.sweeps.stop_signals import StopSignals
from pipeline.sweeps.trial_spec import TrialSpec
from pipeline.sweeps.tune_callback import TrialsCallback


def carry_out(
    plan: StudyPlan,
    device: str,
    estimates: Mapping[int, float | None],
    *,
    same_sources: bool = False,
    address: str = LOCAL,
    parallel: int | None = None,
    cpus_per_run: float | None = None,
    gpus_per_run: float | None = None,
) -> dict[int, str]:
    """Do what is missing; number of a job -> why it came to nothing, for those without a run that can be read.

    Args:
        estimates: number of a job -> seconds.

    Raises:
        KeyboardInterrupt: it was interrupted; what is done stays, and calling again goes on.
        OdenetError: it could not begin, or could not go on, as where a disk is full.
    """
    standing = look(plan, Runs(), device, same_sources)
    if not standing.missing:
        return {}
    with joined(address, parallel, cpus_per_run, gpus_per_run, of="run") as pool:
        shared = StudyOfRun(plan.study.name, plan.scale.name, device, same_sources, loaded_sources())
        return _Driver(plan, shared, pool, estimates).carry_out(standing)


class _Driver:
    """One session of a study."""

    def __init__(self, plan: StudyPlan, shared: StudyOfRun, pool: Pool, estimates: Mapping[int, float | None]) -> None:
        self._plan, self._shared, self._pool, self._estimates = plan, shared, pool, estimates
        self._stop_signals = StopSignals()
        self._failures: dict[int, str] = {}

    def carry_out(self, standing: Standing) -> dict[int, str]:
        """First what is trained and measured, then what evaluates what was trained."""
        with interruptible(self._stop_signals) as interruption:
            first = _each_once([job for job in standing.missing if job.kind != "evaluate"])
            self._do([_spec(job) for job in first], first, interruption)
            if not interruption.is_asked and any(job.kind == "evaluate" for job in standing.missing):
                standing = look(self._plan, Runs(), self._shared.device, self._shared.same_sources)
                specs, jobs = _evaluations(standing)
                self._do(specs, jobs, interruption)
        interruption.raise_if_asked("the same command goes on")
        return self._failures

    def _do(self, specs: Sequence[TrialSpec], jobs: Sequence[Job], interruption: Interruption) -> None:
        if not specs:
            return
        waiting = [_progress(job, self._estimates.get(job.number)) for job in jobs]
        progress = StudyProgress(waiting, self._pool.share.parallel, sys.__stderr__ or sys.stderr)
        callback = _ProgressCallback(progress, self._stop_signals)
        try:
            self._pool.run(
                "study", StudyTrialRun, self._shared, interruption, callback, self._stop_signals, specs=specs
            )
        finally:
            progress.close()
        for job in jobs:
            done = progress.jobs[job.number]
            is_in_order = done.outcome in (COMPLETED, *REPEATABLE)
            if done.outcome != INTERRUPTED and (done.run_id is None or not is_in_order):
                why = done.error or "its worker was lost again and again: look at the machines' logs"
                stands_for = [other for other in self._plan.jobs if _work(other) == _work(job)]
                self._failures |= dict.fromkeys((other.number for other in stands_for), why)


class _ProgressCallback(TrialsCallback):
    """Keeps the display of a study going."""

    def __init__(self, progress: StudyProgress, stop_signals: StopSignals) -> None:
        super().__init__(stop_signals)
        self._progress = progress

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:  # noqa: ARG002
        self._progress.report(TrialSpec.from_json(trial.config["trial"]).number, result)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._progress.report(TrialSpec.from_json(trial.config["trial"]).number, {"outcome": "running"})

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._progress.report(TrialSpec.from_json(trial.config["trial"]).number, trial.last_result)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        self._progress.update()

    def worker_lost(self, spec: TrialSpec) -> None:
        label = self._progress.jobs[spec.number].label
        self._progress.note(f"the worker of {label} was lost; another goes on with it")


def _each_once(jobs: Sequence[Job]) -> list[Job]:
    """The jobs without those that do what an earlier one does: rows may share a configuration."""
    found: dict[str, Job] = {}
    for job in jobs:
        found.setdefault(_work(job), job)
    return list(found.values())


def _work(job: Job) -> str:
    """The same of jobs that one run does: of one configuration, or evaluations of one trained model."""
    return repr((job.kind, job.resolved))


def _progress(job: Job, estimate: float | None) -> JobProgress:
    epochs = job.resolved.config.training.max_epochs if job.kind == "train" else 0
    return JobProgress(job.number, job.row.name, job.label, epochs, estimate)


def _spec(job: Job) -> TrialSpec:
    return TrialSpec(job.number, job.kind, job.resolved.task, job.resolved.config.to_dict())


def _evaluations(standing: Standing) -> tuple[list[TrialSpec], list[Job]]:
    """One for each trained model that lacks some, with all settings of the study, under the first job that needs it."""
    specs, jobs = [], []
    parents = {standing.parents[job.number].number for job in standing.missing if job.kind == "evaluate"}
    for parent in _each_once([job for job in standing.plan.jobs if job.number in parents]):
        run = standing.found.get(parent.number)
        if run is None or run.status != "COMPLETED":
            continue  # its own row says how it ended
        settings = [
            {"solver": asdict(each.solver), "final_time": each.final_time} for each in standing.settings_of(parent)
        ]
        first = next(job for job in standing.missing if standing.parents.get(job.number) is parent)
        evaluation = {"parent": run.run_id, "settings": settings}
        specs.append(TrialSpec(first.number, "evaluate", parent.resolved.task, {}, evaluation))
        jobs.append(first)
    return specs, jobs
