"""A sweep: Hyperopt's TPE proposes, Ray's workers try, the best is checked on fresh seeds; itself a tracked run.

odenet sweep digits --trials 20 --parallel 2
odenet sweep --resume 12

To be imported after `pipeline.sweeps.ray_environment.prepare`, which settles what Ray reads when it is imported.
"""

import math
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from ray import tune

from experiments.ray_pool import Pool, joined
from experiments.sweep_plan import SHARES, Plan
from experiments.tracked import Outcome, observer_for, run_once
from experiments.trial import SweepTrialRun, objective_of, report_of, summarise
from pipeline.config.presets import Resolved
from pipeline.plugins.loading import loaded_sources
from pipeline.reporting.seeds import mean_and_deviation
from pipeline.reporting.words import counted, duration
from pipeline.runs.query import RunNotFound, Runs, StoredRun
from pipeline.runs.resume import take_over
from pipeline.runs.stored_parts import load_plugins_of
from pipeline.sweeps.interruption import Interruption, interruptible
from pipeline.sweeps.progress import SweepProgress
from pipeline.sweeps.pruning import Pruning
from pipeline.sweeps.ray_environment import LOCAL
from pipeline.sweeps.report import page
from pipeline.sweeps.reported import update
from pipeline.sweeps.search import TpeSearch
from pipeline.sweeps.state import FAILURES, INTERRUPTED, RUNNING, Check, Phase, SweepState, Trial
from pipeline.sweeps.stop_signals import StopSignals
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.trial_spec import SweepOfTrial, TrialSpec
from pipeline.sweeps.tune_callback import TuneCallback
from pipeline.tasks.lookup import get_task
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.run_document import NAME, RunStatus, is_sweep
from pipeline.tracking.run_log import RunLog
from pipeline.tracking.store import connect
from pipeline.util.errors import InvalidInput, OdenetError, shortened
from pipeline.util.files import private_folder, write_result
from pipeline.util.paths import home
from pipeline.util.user_warnings import OdenetWarning

ASKED = "asked"
"""Key of a sweep's configuration: its shares as asked for, None for what was not; beside it is what they became."""
GOES_ON = "`odenet sweep --resume {run_id}` goes on with it"


class SweepFailed(OdenetError):
    """A sweep of which every trial came to nothing."""

    def __init__(self, state: SweepState) -> None:
        reasons = ", ".join(f"{number} × {FAILURES[outcome]}" for outcome, number in state.failures().items())
        error = state.commonest_error()
        commonest = f"; most often: {error}" if error else ""
        super().__init__(f"every one of its {len(state.over())} trials failed ({reasons}){commonest}")


@dataclass(frozen=True, kw_only=True)
class SweepOutcome(Outcome):
    """How a sweep ended."""

    @property
    def sweep(self) -> Sweep:
        return Sweep.from_document(self.document)

    @property
    def folder(self) -> Path:
        """Where its best configuration and its report lie."""
        return sweep_folder(self.run_id)

    def to_dict(self) -> dict[str, Any]:
        """What `odenet sweep --json` prints."""
        sweep = self.sweep
        return {
            "run_id": self.run_id,
            "status": self.status,
            "result": self.document["result"],
            "best": asdict(sweep.best) if sweep.best else None,
            "front": [asdict(trial) for trial in sweep.front],
            "trials": sweep.state.counts(),
            "checks": [asdict(check) for check in sweep.checks],
            "folder": str(self.folder),
            "error": self.error,
        }


def sweep_folder(run_id: int) -> Path:
    return home() / "sweeps" / str(run_id)


def sweep_tracked(plan: Plan, address: str = LOCAL) -> SweepOutcome:
    """Carry the plan out, on the Ray cluster at `address`.

    Raises:
        OdenetError: the sweep could not begin: its space, its data, the store or the cluster.
    """
    plan.refuse_hidden_overrides()
    plan.check()
    return _run(plan, SweepState(), address)


def resume_sweep(run_id: int, address: str = LOCAL, **shares: float) -> SweepOutcome:
    """Go on with a sweep whose driver is gone: same searcher, same budget, what was finished stays.

    One that lacks its report alone gets it. How many trials run at once, and what each is given, is decided anew.

    Args:
        shares: of SHARES, in the place of what was asked for at first.

    Raises:
        InvalidInput: the run is no sweep, runs, or is over.
        OdenetError: it could not begin.
    """
    database = connect()
    document = take_over(run_id, home(), database).document
    if not is_sweep(document):
        raise InvalidInput(f"run {run_id} is no sweep; `odenet sweeps` lists those there are")
    load_plugins_of(StoredRun(document, database))
    sweep = Sweep.from_document(document)
    has_report = "report.html" in [artifact["name"] for artifact in document["artifacts"]]
    if sweep.is_whole and sweep.status is RunStatus.COMPLETED and has_report:
        raise InvalidInput(f"sweep {run_id} has had all of its {sweep.trials} trials: start a new one")
    asked = document["config"].get(ASKED) or dict.fromkeys(SHARES)  # earlier versions kept what it came to alone
    plan = replace(Plan.from_dict(document["config"]), **(asked | shares))
    plan.check()
    return _run(plan, sweep.state, address, resumed=document)


def _run(plan: Plan, state: SweepState, address: str, **of_run: Any) -> SweepOutcome:
    observer = observer_for(get_task(plan.resolved({}, 0).task), **of_run)
    with joined(address, plan.parallel, plan.cpus_per_trial, plan.gpus_asked) as pool:
        shared_plan = replace(plan, **asdict(pool.share))

        def carry_out(run_log: RunLog) -> float | None:
            return _Driver(shared_plan, state, run_log, observer, pool).carry_out()

        config = shared_plan.to_dict() | {ASKED: {name: getattr(plan, name) for name in SHARES}}
        error = run_once(NAME, carry_out, config, observer, GOES_ON)
    return SweepOutcome(document=observer.record.document, metrics={}, error=error)


class _Driver:
    """One session of a sweep, from its beginning or from where its state ends."""

    def __init__(self, plan: Plan, state: SweepState, run_log: RunLog, observer: StoreObserver, pool: Pool) -> None:
        self._plan, self._state, self._run_log, self._pool = plan, state, run_log, pool
        self._observer, self._record = observer, observer.record
        self._stop_signals = StopSignals()
        self._deadline = math.inf if plan.minutes is None else time.monotonic() + plan.minutes * 60
        stream = sys.__stderr__ or sys.stderr
        self._progress = SweepProgress(plan.space, plan.trials, int(plan.parallel or 1), stream, self._deadline)
        self._searcher_seed, self._trial_seed, self._fresh_seeds = plan.seeds()

    @cached_property
    def _runs(self) -> Runs:
        """Connected when they are first asked for, as a sweep without finished runs never needs them."""
        return Runs()

    def carry_out(self) -> float | None:
        """Search, check, report: the mean result of the best configuration on fresh seeds."""
        self._keep()
        if self._pool.is_of_this_machine and torch.cuda.is_available():
            sizes = [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
            self._run_log.update_info({"gpu_memory_mb": min(sizes) / 2**20})
        try:
            with interruptible(self._stop_signals, lambda: self._observer.is_asked_to_stop) as interruption:
                self._search(interruption)
                found = self._state.front(self._plan.space.goal)
                if found and self._fresh_seeds and not interruption.is_asked:
                    self._check(found[0], interruption)
        finally:
            self._settle_unfinished()
            self._keep()
            self._progress.close(self._state)
        found = self._state.front(self._plan.space.goal)
        checks = self._state.checks_of(found[0]) if found else []
        results = [check.result for check in checks if check.result is not None]
        result = mean_and_deviation(results)[0] if results else None
        over = self._state.over()
        has_come_to_nothing = bool(over) and all(trial.has_failed for trial in over)
        status = RunStatus.FAILED if has_come_to_nothing else RunStatus.COMPLETED
        if interruption.is_asked:
            status = RunStatus.INTERRUPTED if interruption.why is None else RunStatus.FAILED
        self._report(found, {"result": result, "status": status, "stop_time": datetime.now(UTC)})
        interruption.raise_if_asked(GOES_ON.format(run_id=self._record.run_id))
        if has_come_to_nothing:
            raise SweepFailed(self._state)
        return result

    def _settle_unfinished(self) -> None:
        """What was interrupted; but a run that ended while nobody listened to it any more is a trial that is over."""
        for trial in self._state.unfinished():
            trial.outcome = INTERRUPTED
            with suppress(OdenetError):  # it was removed, or the store is away
                run = None if trial.run_id is None else self._runs.get(trial.run_id)
                if run is not None and run.status is RunStatus.COMPLETED:
                    update(trial, report_of(run, self._of_trials))
                    self._state.events.append(("over", trial.number))

    def _search(self, interruption: Interruption) -> None:
        plan, state = self._plan, self._state
        if len(state.over()) == plan.trials:
            return
        searcher = TpeSearch(
            plan.space,
            plan.trials,
            self._searcher_seed,
            plan.initial_points,
            state,
            self._encode,
            self._keep,
            self._deadline,
        )
        scheduler = Pruning(plan.space.mode, self._max_epochs(), self._stop_signals) if plan.prunes else None
        if scheduler is not None:
            self._replay(scheduler)
        self._tune("search", interruption, search_alg=searcher, scheduler=scheduler, num_samples=-1)

    def _check(self, best: Trial, interruption: Interruption) -> None:
        """Train the best configuration on seeds that the search has not seen."""
        done = {check.seed for check in self._state.checks_of(best)}
        specs = [
            _trial_spec(number, "check", self._plan.resolved(best.suggestion, seed))
            for number, seed in enumerate(self._fresh_seeds, start=1)
            if seed not in done
        ]
        if not specs:
            return
        rounds = math.ceil(len(specs) / (self._plan.parallel or 1))
        seeds = counted(len(specs), "fresh seed")
        lasts = "" if best.is_reused else f", about {duration(rounds * best.seconds)}"
        self._progress.note(f"the search is over; trial {best.number}, its best, is trained anew on {seeds}{lasts}")
        ended = self._tune("check", interruption, specs=specs)
        for number in range(len(ended)):
            report = ended[number].metrics or {}
            outcome = report.get("outcome", "lost")
            if outcome in (RUNNING, INTERRUPTED) or report.get("run_id") is None:
                continue
            run = self._runs.get(report["run_id"])
            violates, seed = tuple(report.get("violates", ())), int(run.config["seed"])
            self._state.checks.append(Check(seed, run.run_id, outcome, run.result, violates, best.number))
            self._keep()
        self._state.checks.sort(key=lambda check: check.run_id)

    def _tune(self, phase: Phase, interruption: Interruption, **trials: Any) -> tune.ResultGrid:
        sweep = replace(self._of_trials, skips_existing=self._plan.skips_existing and phase == "search")
        callback = TuneCallback(self._state, self._progress, self._stop_signals)
        return self._pool.run(phase, SweepTrialRun, sweep, interruption, callback, self._stop_signals, **trials)

    @property
    def _of_trials(self) -> SweepOfTrial:
        space, document = self._plan.space, self._record.document
        beside = space.task.validation_result
        return SweepOfTrial(
            run_id=self._record.run_id,
            uid=document["uid"],
            goal=space.goal,
            validation_result=None if beside is None else beside.name,
            skips_existing=self._plan.skips_existing,
            plugins=loaded_sources(),
        )

    def _encode(self, trial: Trial) -> str:
        return _trial_spec(trial.number, "search", self._resolved(trial)).to_json()

    def _resolved(self, trial: Trial) -> Resolved:
        return self._plan.resolved(trial.suggestion, self._trial_seed)

    def _max_epochs(self) -> int:
        return max(self._plan.resolved(corner, 0).config.training.max_epochs for corner in self._plan.space.corners())

    def _replay(self, scheduler: Pruning) -> None:
        """Tell a new scheduler how far the trials came that the state has already."""
        of_trials = self._of_trials
        for trial in self._state.over():
            if trial.run_id is None or not trial.epochs:
                continue
            try:
                points = self._runs.get(trial.run_id).points()
            except RunNotFound:  # it was removed: the searcher knows its value, and the scheduler is without it
                continue
            until = [
                {name: {"values": one["values"][:epoch]} for name, one in points.items()}
                for epoch in range(1, trial.epochs + 1)
            ]
            objectives = [objective_of(summarise(some, of_trials), of_trials.goal) for some in until]
            scheduler.replay(trial.number, objectives)

    def _keep(self) -> None:
        self._run_log.update_info({"sweep": self._state.to_dict()})

    def _report(self, found: Sequence[Trial], ending: dict[str, Any]) -> None:
        """The best configuration as a file that `odenet run with` takes, and the page; as artifacts as well.

        Of several objectives the configuration of each trial on the front.
        """
        folder = sweep_folder(self._record.run_id)
        private_folder(folder)
        files = {trial.number: folder / self._file_name(trial) for trial in found}
        sweep = Sweep.from_document({**self._record.document, **ending})  # as the document will be
        for trial in found:
            path = files[trial.number]
            text = self._config_text(trial, shlex.join(sweep.command_with([str(path)])))
            write_result(path, text, "configuration")
            self._run_log.add_artifact(path.name, text.encode())
        try:
            html = page(sweep, files)
        except Exception as error:  # whatever its trials produced: the sweep is over, and its numbers are stored
            reason, number = shortened(f"{type(error).__name__}: {error}", 300), self._record.run_id
            again = f"`odenet sweep --resume {number}` or `odenet sweeps show {number} --report FILE` tries again"
            warnings.warn(
                OdenetWarning(f"the report of sweep {number} could not be made ({reason}); {again}"), stacklevel=2
            )
            return
        write_result(folder / "report.html", html, "page")
        self._run_log.add_artifact("report.html", html.encode())

    def _file_name(self, trial: Trial) -> str:
        return "best.yaml" if self._plan.space.goal.is_single else f"trial-{trial.number}.yaml"

    def _config_text(self, trial: Trial, command: str) -> str:
        """The file, at whose head is said what it is of and how it is run, with the plug-ins that it needs."""
        resolved, space = self._resolved(trial), self._plan.space
        config = {"task": resolved.task, **resolved.config.to_dict()}
        del config["seed"]
        number, of_sweep = trial.number, f"of sweep {self._record.run_id} on {self._plan.space_file}"
        which = f"The best {of_sweep}: trial {number}" if space.goal.is_single else f"Trial {number} {of_sweep}"
        reached: dict[str, Any] = trial.measured or {space.metric: trial.value}
        values = ", ".join(f"{metric} {value:.6g}" for metric, value in reached.items())
        return f"# {which}, run {trial.run_id}, {values}.\n# {command}\n{yaml.safe_dump(config)}"


def _trial_spec(number: int, phase: Phase, resolved: Resolved) -> TrialSpec:
    return TrialSpec(number, phase, resolved.task, resolved.config.to_dict())
