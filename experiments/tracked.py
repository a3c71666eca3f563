"""How a tracked experiment is run, resumed and told of, whatever its task.

A task becomes a Sacred experiment with an ingredient a stage: data, model, solver, training, evaluation. Its
configuration is parsed once, its data are loaded once and its model is described once, before the run is entered in
the store, so that what cannot be run leaves no trace there; `Prepared` carries them to the stages.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch

from experiments.live_metrics import LiveCallback
from experiments.long_training import LongTraining
from experiments.presets import named_configs
from experiments.recording import (
    RecordCallback,
    StopWhenAsked,
    describe_failure,
    keeping_output,
    record_earlier_epochs,
    record_report,
    record_training,
    record_unfinished_training,
    recording_failure,
    recording_warnings,
)
from experiments.worker_processes import OtherWorkers, facts_of, started
from pipeline.config import Config, ConfigError
from pipeline.config.config import OPTIONS
from pipeline.device.out_of_memory import naming_lack_of_memory
from pipeline.device.precision import choose_device, numerics
from pipeline.ode import SolverFailure
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.reporting.console import EpochConsole, progress_bar
from pipeline.runs.notification import notify_of_end
from pipeline.runs.query import StoredRun
from pipeline.tasks.base import CONVERTED, Task, TaskData
from pipeline.tasks.lookup import get_task
from pipeline.tasks.solver_grid import solved_with, trained_setting
from pipeline.tracking.lean_sacred import SETTINGS, Experiment, Ingredient, Run, SacredError, SacredInterrupt
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.provenance import ROOT, why_unknown
from pipeline.tracking.run_document import metric_entry
from pipeline.tracking.run_log import RunLog
from pipeline.training import Callback, Fitted, fit
from pipeline.training.callback import build_callbacks, tell
from pipeline.training.division import refuse_parts, refuse_workers
from pipeline.util.errors import OdenetError, in_a_line
from pipeline.util.interruption import terminable
from pipeline.util.paths import home
from pipeline.util.torchrun import workers_here
from pipeline.util.user_warnings import OdenetWarning

SETTINGS.CAPTURE_MODE = "sys"  # Ray's workers allow no other
SETTINGS.DISCOVER_SOURCES = "none"  # the observer stores sources and packages, all of them
SETTINGS.DISCOVER_DEPENDENCIES = "none"

OF_SACRED = ("config_filename",)
"""Keys that its commands take beside the configuration, `save_config` this one."""

FAILURES = (OdenetError, OSError, KeyboardInterrupt, SacredInterrupt)
"""What may end a run and is told without a traceback."""

sacred_log = logging.getLogger("odenet.sacred")
sacred_log.setLevel(logging.ERROR)  # it warns of types, which the configuration has checked


class RefusedRun(SacredError):
    """What cannot be run, as Sacred's own command line prints it: one sentence, no traceback."""


@dataclass(frozen=True)
class Prepared:
    """An experiment that can begin.

    Attributes:
        data: what the task has loaded, on the CPU.
        facts: what is recorded of data and model before the training.
        workers: processes that are to train it together.
    """

    task: Task[Any, Any, Any]
    config: Config
    data: Any
    facts: Mapping[str, Any]
    workers: int = 1


def prepare(task_name: str, config: Config, data: Any = None, workers: int = 1) -> Prepared:
    """Load the data, unless they are given whole, and build the model once to describe it.

    Args:
        workers: processes that are to train it together.

    Raises:
        OdenetError: the device, the data or the model cannot be what the configuration says.
    """
    task = get_task(task_name)
    _refuse_missing_gpus(choose_device(config.training), workers)
    with naming_plugin_failures(), naming_lack_of_memory():
        whole = task.load_data(config) if data is None else data
        data = task.limited(whole, config.evaluation.subset)
        with torch.random.fork_rng(devices=()):
            facts = task.facts(config, data)
            _refuse_division(task, config, data, workers)
    if done := facts["data"].get(CONVERTED):
        print(in_a_line(f"{config.data.name}: {'; '.join(done)}"), file=sys.stderr)
    return Prepared(task, config, data, facts | {"data": facts["data"] | whole_test(data, whole)}, workers)


def _refuse_missing_gpus(device: torch.device, workers: int) -> None:
    here = workers_here(workers)
    if device.type == "cuda" and here > (gpus := torch.cuda.device_count()):
        raise ConfigError(
            f"{here} workers need a GPU each, and torch finds {gpus} here: use fewer, or training.device=cpu"
        )


def _refuse_division(task: Task[Any, Any, Any], config: Config, data: Any, workers: int) -> None:
    """Refuse a training whose batches cannot be taken apart as is asked for."""
    size = config.training.micro_batch_size
    if size is None and workers == 1:
        return
    if not task.divides_batches:
        asked = "several workers share one" if size is None else f"training.micro_batch_size is {size}"
        raise ConfigError(
            f"{asked}, but the task {task.name} computes each batch at once: leave that out, and use a smaller "
            "training.batch_size where memory does not hold a batch"
        )
    model = task.build_model(config, data)
    refuse_parts(model, config.training)
    if workers > 1:
        refuse_workers(model, config.training, task.objective(config, data).training_items, workers)


def whole_test(data: TaskData, whole: TaskData) -> dict[str, int]:
    """For the record of the data, how many test items there are, where only some of them are asked about."""
    return {"whole_test": whole.test_items} if data.test_items < whole.test_items else {}


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


class TaskExperiment:
    """A task as a Sacred experiment."""

    def __init__(self, task: Task[Any, Any, Any]) -> None:
        self.task = task
        self._given: Prepared | None = None
        self._prepared: Prepared | None = None
        self._callbacks: Sequence[Callback] = ()
        self._others: OtherWorkers | None = None
        sections = task.config.sections()
        self.ingredients = {name: Ingredient(name, save_git_info=False) for name in sections}
        for name, section in sections.items():
            # Options are of the part that is chosen, and what Sacred has once stays there beside those of another.
            no_options: dict[str, Any] = {key.partition(".")[2]: {} for key in OPTIONS if key.startswith(f"{name}.")}
            self.ingredients[name].add_config({**asdict(section()), **no_options})
            self._complete_options(name)
        self.sacred = Experiment(
            task.name, ingredients=list(self.ingredients.values()), base_dir=str(ROOT), save_git_info=False
        )
        self.sacred.logger = sacred_log  # type: ignore[assignment]  # annotated as None there
        log = logging.getLogger(f"odenet.sacred.{task.name}")
        log.setLevel(logging.WARNING)
        # The command says it, and why.
        log.addFilter(lambda said: not said.getMessage().startswith(("Failed after", "Aborted after")))
        self.sacred.add_config(seed=task.config.seed)
        self.add_named_configs()
        self._define_stages()

    def add_named_configs(self) -> None:
        """Let Sacred know those of plug-ins that were loaded since."""
        for name, values in named_configs(self.task.name).items():
            if name not in self.sacred.named_configs:
                self.sacred.add_named_config(name, values)

    @contextmanager
    def given(
        self, prepared: Prepared | None, callbacks: Sequence[Callback], others: OtherWorkers | None = None
    ) -> Iterator[None]:
        """Within it the experiment runs what is prepared, with the other workers, and tells the callbacks of it."""
        self._given, self._callbacks, self._others = prepared, callbacks, others
        try:
            yield
        finally:
            self._given = self._prepared = self._others = None
            self._callbacks = ()

    def _complete_options(self, section: str) -> None:
        """Let Sacred have the options of the parts that a section names, with their defaults."""

        @self.ingredients[section].config_hook
        def complete(config: Mapping[str, Any], command_name: str, logger: logging.Logger) -> dict[str, Any]:  # noqa: ARG001
            if self._given is not None:
                return {}
            # By itself: Sacred sets one section up after the other, and the others may not be what they will be.
            return asdict(getattr(self._parse({section: config[section]}), section))

    def _parse(self, config: Mapping[str, Any]) -> Config:
        with _refusing():
            return self.task.config.from_dict(config)

    def _define_stages(self) -> None:
        task = self.task

        @self.sacred.config_hook
        def check(config: Mapping[str, Any], command_name: str, logger: logging.Logger) -> dict[str, Any]:  # noqa: ARG001
            self._prepare(config)
            return {}

        @self.ingredients["data"].capture
        def load(prepared: Prepared, device: torch.device) -> Any:
            return prepared.data.to(device)

        @self.ingredients["model"].capture
        def build(config: Config, data: Any, device: torch.device) -> torch.nn.Module:
            torch.manual_seed(config.seed)
            return task.build_model(config, data).to(device)

        @self.ingredients["training"].capture
        def train(model: torch.nn.Module, config: Config, data: Any, run_log: RunLog) -> Fitted:
            return self._train(model, config, data, run_log)

        @self.ingredients["evaluation"].capture
        def evaluate(model: torch.nn.Module, config: Config, data: Any, device: torch.device) -> Any:
            setting = trained_setting(task, config)
            with (
                progress_bar("test", data.test_items) as progress,
                numerics(config.training, device),
                solved_with(model, setting),
            ):
                return task.examine(task.predict(model, config, data, progress), config, data)

        def run(_run: Run) -> float | None:
            """Train on the training split, choose by the validation split, score once on the test split."""
            prepared, run_log = self._taken(), RunLog(_run)
            config, title = prepared.config, task.title(prepared.config)
            device = choose_device(config.training)
            if run_log.run_id is not None:
                tell(self._callbacks, Callback.run_started, run_log.run_id)
            with (
                keeping_output(_run),
                recording_failure(run_log),
                recording_warnings(run_log),
                naming_plugin_failures(),
                naming_lack_of_memory(),
            ):
                of_plugins = build_callbacks(config.training)
                self._callbacks = [*of_plugins, *self._callbacks]
                if run_log.run_id is not None:
                    tell(of_plugins, Callback.run_started, run_log.run_id)
                data = load(prepared=prepared, device=device)
                run_log.update_info({"device": str(device), **prepared.facts})
                _warn_of_unknown_commit()
                task.warn(config)
                model = build(config=config, data=data, device=device)
                train(model=model, config=config, data=data, run_log=run_log)
                answers = evaluate(model=model, config=config, data=data, device=device)
                report = task.report(answers, config, data, title)
                record_report(run_log, report)
                record_report(run_log, task.model_report(model, config, data, title))
            result = report.test[task.result.removeprefix("test.")]
            return None if result is None else float(result)

        run.__name__ = task.name
        self.sacred.main(run)

    def _prepare(self, config: Mapping[str, Any]) -> None:
        """Prepare what Sacred's own command line has configured; what cannot be run is refused before it is entered."""
        if self._given is not None:
            self._prepared = self._given
            return
        with _refusing():
            own = {key: value for key, value in config.items() if key not in OF_SACRED}
            self._prepared = prepare(self.task.name, self._parse(own))

    def _taken(self) -> Prepared:
        """What is prepared; its data are then this run's alone, and freed with it."""
        if self._prepared is None:
            raise RuntimeError("Sacred calls the configuration's hooks before the experiment")
        prepared, self._given, self._prepared = self._prepared, None, None
        return prepared

    def _train(self, model: torch.nn.Module, config: Config, data: Any, run_log: RunLog) -> Fitted:
        """Fit and record; what a training had reached is recorded too when it is broken off."""
        task, title = self.task, self.task.title(config)
        checkpoint = run_log.folder / "checkpoint.pt"
        resumes = run_log.is_resuming and checkpoint.exists()  # otherwise it was broken off in its first epoch
        objective = task.objective(config, data)
        live = LiveCallback(run_log, config.training, objective.training_items, objective.device)
        if resumes:
            record_earlier_epochs(run_log, live, checkpoint)
        console = EpochConsole(task.metric_specs(), task.result)
        # What it advises is compiled, which several workers are not.
        shown = [console] if self._others else [console, LongTraining(task.name, config, model)]
        callbacks = [RecordCallback(run_log), live, *shown, *self._callbacks, StopWhenAsked(run_log)]
        try:
            with self._others.joined() if self._others else nullcontext() as workers:
                fitted = fit(
                    model, objective, config.training, config.seed, checkpoint, callbacks, resumes, workers=workers
                )
        except BaseException as error:
            if isinstance(error, SolverFailure):
                run_log.update_info({"solver_failure": error.to_dict()})
            record_unfinished_training(run_log, checkpoint, task.metric_specs(), title)
            raise
        finally:
            live.stop()  # where a callback did not let the training begin
        record_training(run_log, fitted, model.state_dict(), task.metric_specs(), title)
        return fitted


@contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with a configuration, as Sacred says it: without a traceback."""
    try:
        yield
    except OdenetError as error:
        raise RefusedRun(str(error), print_traceback=False) from error  # type: ignore[no-untyped-call]


def _warn_of_unknown_commit() -> None:
    if reason := why_unknown():
        warnings.warn(
            OdenetWarning(
                f"the run has no commit, as git does not tell that of {ROOT} ({reason}); its sources are stored"
            ),
            stacklevel=2,
        )


def experiment_of(task_name: str) -> TaskExperiment:
    """The experiment of a task, made once in a process."""
    task = get_task(task_name)
    if type(task) not in _experiments:
        _experiments[type(task)] = TaskExperiment(task)
    return _experiments[type(task)]


_experiments: dict[type, TaskExperiment] = {}


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


def resume_tracked(run: StoredRun, prepared: Prepared, callbacks: Sequence[Callback] = ()) -> Outcome:
    """Go on with a run, from its checkpoint on this machine if it has one, under its id, as is prepared.

    Raises:
        OdenetError: the store does not take it.
    """
    return _run(prepared, callbacks, {}, resumed=run.document)


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
    experiment = Experiment(name, base_dir=str(ROOT), save_git_info=False)
    experiment.logger = sacred_log  # type: ignore[assignment]  # annotated as None there

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
