"""One run of a study on a Ray worker: a training, a measurement of steps, or an evaluation of a trained model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from experiments.evaluate import reevaluate_tracked
from experiments.measure import measure_tracked
from experiments.prepare import prepare
from experiments.ray_trial import (
    OUT_OF_MEMORY_ERROR,
    TrialRun,
    connect_patiently,
    is_broken_off,
    outcome_of,
    settled,
    take_up,
)
from experiments.tracked import run_tracked
from pipeline.config import Config, SolverConfig
from pipeline.plugins.loading import PluginSource, load_sources
from pipeline.runs.alike import find_alike
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.resume import StillRunning, take_over
from pipeline.studies.same_runs import SameRuns, has_ended
from pipeline.sweeps.state import RUNNING
from pipeline.sweeps.stop_signals import get_stop_signal
from pipeline.tasks.lookup import config_class
from pipeline.tasks.solver_grid import Listed, Setting
from pipeline.tracking.run_folder import run_folder
from pipeline.training.callback import Metrics
from pipeline.util.paths import home

WAITING_SECONDS = 2.0
"""How often it is seen whether a run that somebody else is at work on has ended."""


@dataclass(frozen=True)
class StudyOfRun:
    """What all runs of a study have in common."""

    name: str
    scale: str
    device: str
    """`cpu` or `cuda`."""
    same_sources: bool
    plugins: tuple[PluginSource, ...]
    """Which the driver has loaded, for the workers to load."""

    @property
    def mark(self) -> dict[str, Any]:
        """In the info of its runs, to list them by."""
        return {"study": {"name": self.name, "scale": self.scale}}


class StudyTrialRun(TrialRun):
    """The run, which reports how far it is."""

    @property
    def _study(self) -> StudyOfRun:
        shared: StudyOfRun = self._shared
        return shared

    def epoch_report(self, history: Sequence[Metrics]) -> dict[str, Any]:
        seconds = sum(row["time.epoch_seconds"] for row in history)
        return {"outcome": RUNNING, "epochs": len(history), "seconds": seconds}

    def carry_out(self) -> dict[str, Any]:
        load_sources(self._study.plugins)
        if get_stop_signal(self._stop_signals, self._spec.key) == "out_of_memory":
            return {"outcome": "out_of_memory", "error": OUT_OF_MEMORY_ERROR}
        database = connect_patiently()
        work: dict[str, Callable[[Database[dict[str, Any]]], int]] = {
            "train": self._train,
            "measure": self._measure,
            "evaluate": self._evaluate,
        }
        run_id = work[self._spec.phase](database)
        database.client.close()
        database = connect_patiently()  # it may have gone meanwhile
        return {"run_id": run_id, **outcome_of(settled(Runs(database).get(run_id), database))}

    def _train(self, database: Database[dict[str, Any]]) -> int:
        """The run: one that was broken off goes on, where it left a checkpoint here; otherwise a new one.

        One that somebody else is at work on, as another study that was asked for meanwhile, is waited for.
        """
        config = self._config()
        while (alike := self._alike(database, config)) is not None:
            run, is_live = alike
            if has_ended(run):
                return int(run.run_id)
            if not is_live:
                take_up(run.run_id, database, self)
                return int(run.run_id)
            self.wait(WAITING_SECONDS)
        outcome = run_tracked(prepare(self._spec.task, config), info=self._study.mark, callbacks=[self])
        return outcome.run_id

    def _measure(self, database: Database[dict[str, Any]]) -> int:  # noqa: ARG002
        return measure_tracked(prepare(self._spec.task, self._config()), self._study.mark).run_id

    def _evaluate(self, database: Database[dict[str, Any]]) -> int:  # noqa: ARG002
        asked = self._spec.evaluation
        settings = tuple(Setting(SolverConfig(**each["solver"]), each["final_time"]) for each in asked["settings"])
        return reevaluate_tracked(asked["parent"], Listed(settings)).run_id

    def _config(self) -> Config:
        return config_class(self._spec.task).from_dict(self._spec.config)

    def _alike(self, database: Database[dict[str, Any]], config: Config) -> tuple[StoredRun, bool] | None:
        """A run of this configuration and code, and whether somebody is at work on it.

        One that ended since the study was planned, or that was stopped and left a checkpoint here, as a lost worker may
        have, or that is going on.
        """
        same, live = SameRuns(self._study.device, self._study.same_sources), None
        for run in find_alike(Runs(database), self._spec.task, config):
            if not same.has_same_code(run) or not (has_ended(run) or is_broken_off(run)):
                continue
            try:
                found = run if has_ended(run) else take_over(run.run_id, home(), database)
            except StillRunning:
                live = run
                continue
            has_checkpoint = (run_folder(home(), found.document) / "checkpoint.pt").exists()
            if has_ended(found) or (is_broken_off(found) and has_checkpoint):
                return found, False
        return None if live is None else (live, True)
