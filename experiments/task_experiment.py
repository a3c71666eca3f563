"""A task as a Sacred experiment, with an ingredient a stage: data, model, solver, training, evaluation."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch

from experiments.live_metrics import LiveCallback
from experiments.long_training import LongTraining
from experiments.prepare import Prepared, prepare
from experiments.presets import named_configs
from experiments.recording import (
    RecordCallback,
    StopWhenAsked,
    keeping_output,
    record_earlier_epochs,
    record_report,
    record_training,
    record_unfinished_training,
    recording_failure,
    recording_warnings,
)
from experiments.worker_processes import OtherWorkers, WorkerLost
from pipeline.config import Config, ConfigError
from pipeline.config.config import OPTIONS, with_name_of_now
from pipeline.device.out_of_memory import IN_A_TEST, IN_A_TRAINING, naming_lack_of_memory
from pipeline.device.precision import choose_device, numerics
from pipeline.ode import SolverFailure
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.reporting.console import EpochConsole, progress_bar
from pipeline.tasks.base import Report, Task
from pipeline.tasks.lookup import get_task
from pipeline.tasks.plugin_metrics import plain_scores
from pipeline.tasks.solver_grid import solved_with, trained_setting
from pipeline.tasks.unused_settings import warn_of_endless_warm_up
from pipeline.tracking.lean_sacred import SETTINGS, Experiment, Ingredient, Run, SacredError
from pipeline.tracking.provenance import ROOT, why_unknown
from pipeline.tracking.run_log import RunLog
from pipeline.training import Callback, Fitted, fit
from pipeline.training.callback import build_callbacks, tell
from pipeline.util.errors import OdenetError
from pipeline.util.nested import flatten
from pipeline.util.user_warnings import OdenetWarning

SETTINGS.CAPTURE_MODE = "sys"  # Ray's workers allow no other
SETTINGS.DISCOVER_SOURCES = "none"  # the observer stores sources and packages, all of them
SETTINGS.DISCOVER_DEPENDENCIES = "none"

OF_SACRED = ("config_filename",)
"""Keys that its commands take beside the configuration, `save_config` this one."""

sacred_log = logging.getLogger("odenet.sacred")
sacred_log.setLevel(logging.ERROR)  # it warns of types, which the configuration has checked


def new_experiment(name: str, ingredients: Sequence[Ingredient] = ()) -> Experiment:
    """An experiment of Sacred's which leaves it to the command to tell of its run."""
    experiment = Experiment(name, ingredients=list(ingredients), base_dir=str(ROOT), save_git_info=False)
    experiment.logger = sacred_log  # type: ignore[assignment]  # annotated as None there
    # How a run ended the command says, and why.
    logging.getLogger(f"{sacred_log.name}.{name}").addFilter(
        lambda said: not said.getMessage().startswith(("Failed after", "Aborted after"))
    )
    return experiment


class RefusedRun(SacredError):
    """What cannot be run, as Sacred's own command line prints it: one sentence, no traceback."""


class TaskExperiment:
    """A task as a Sacred experiment."""

    def __init__(self, task: Task[Any, Any, Any]) -> None:
        self.task = task
        self._given: Prepared | None = None
        self._prepared: Prepared | None = None
        self._callbacks: Sequence[Callback] = ()
        self._of_plugins: Sequence[Callback] = ()
        """Those that the configuration names."""
        self._others: OtherWorkers | None = None
        sections = task.config.sections()
        self.ingredients = {name: Ingredient(name, save_git_info=False) for name in sections}
        for name, section in sections.items():
            # Options are of the part that is chosen, and what Sacred has once stays there beside those of another.
            no_options: dict[str, Any] = {key.partition(".")[2]: {} for key in OPTIONS if key.startswith(f"{name}.")}
            self.ingredients[name].add_config({**asdict(section()), **no_options})
            self._complete_options(name)
        self.sacred = new_experiment(task.name, list(self.ingredients.values()))
        logging.getLogger(f"{sacred_log.name}.{task.name}").setLevel(logging.WARNING)
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
            self._callbacks = self._of_plugins = ()

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
                naming_lack_of_memory(IN_A_TEST),
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
                naming_lack_of_memory(IN_A_TRAINING),
            ):
                self._of_plugins = build_callbacks(config.training)
                if run_log.run_id is not None:
                    tell(self._of_plugins, Callback.run_started, run_log.run_id)
                data = load(prepared=prepared, device=device)
                run_log.update_info({"device": str(device), **prepared.facts})
                _warn_of_unknown_commit()
                task.warn(config)
                warn_of_endless_warm_up(config.training)
                task.warn_of_data(config, data)
                model = build(config=config, data=data, device=device)
                train(model=model, config=config, data=data, run_log=run_log)
                answers = evaluate(model=model, config=config, data=data, device=device)
                report = task.report(answers, config, data, title)
                test = plain_scores(task, report.test)
                record_report(run_log, replace(report, test=test))
                record_report(run_log, _model_report(task, model, config, data, title))
            result = test[task.result.removeprefix("test.")]
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
            _refuse_hidden(flatten(own))
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
        # They may have ended a training that was broken off later. Of one that was complete more epochs are wanted.
        asked_again = () if run_log.was_complete else self._of_plugins
        objective = task.objective(config, data)
        live = LiveCallback(run_log, config.training, objective.training_items, objective.device)
        if resumes:
            record_earlier_epochs(run_log, live, checkpoint)
        console = EpochConsole(task.metric_specs(), task.result)
        # What it advises is compiled, which several workers are not.
        shown = [console] if self._others else [console, LongTraining(task.name, config, model)]
        callbacks = [RecordCallback(run_log), live, *shown, *self._of_plugins, *self._callbacks, StopWhenAsked(run_log)]
        try:
            with self._others.joined() if self._others else nullcontext() as workers:
                of_run = (config.training, config.seed, checkpoint, callbacks)
                fitted = fit(model, objective, *of_run, resumes, workers, asked_again)
        except BaseException as error:
            if isinstance(error, SolverFailure):
                run_log.update_info({"solver_failure": error.to_dict()})
            record_unfinished_training(run_log, checkpoint, task.metric_specs(), title)
            if isinstance(error, WorkerLost):
                remedy = "`odenet resume` goes on from the last epoch" if checkpoint.exists() else "start the run again"
                raise WorkerLost(f"{error}; {remedy}") from error
            raise
        finally:
            live.stop()  # where a callback did not let the training begin
        record_training(run_log, fitted, model.state_dict(), task.metric_specs(), title)
        return fitted


def _refuse_hidden(values: Mapping[str, Any]) -> None:
    """Refuse what a file says of a key by another name, where Sacred has something else by its name of now.

    Raises:
        ConfigError: there is such a key.
    """
    for key, value in values.items():
        name, meant = with_name_of_now(key, value)
        if name != key and values.get(name) != meant:
            raise ConfigError(f"{key} is {value!r} and {name} is {values.get(name)!r}: call it {name} in the file, too")


@contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with a configuration, as Sacred says it: without a traceback."""
    try:
        yield
    except OdenetError as error:
        raise RefusedRun(str(error), print_traceback=False) from error  # type: ignore[no-untyped-call]


def _model_report(task: Task[Any, Any, Any], model: torch.nn.Module, config: Config, data: Any, title: str) -> Report:
    """What shows the model, which is trained and tested: that its ODE cannot be solved there costs no run."""
    try:
        return task.model_report(model, config, data, title)
    except SolverFailure as error:
        warnings.warn(OdenetWarning(f"what shows the model is left out: {error}"), stacklevel=2)
        return Report(test={})


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
