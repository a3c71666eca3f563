"""What Ray Tune tells while trials run."""

from abc import abstractmethod
from typing import Any

from ray import tune

from pipeline.device.host_memory import kills_for_memory
from pipeline.sweeps.progress import SweepProgress
from pipeline.sweeps.state import SweepState
from pipeline.sweeps.stop_signals import StopSignals
from pipeline.sweeps.trial_spec import TrialSpec


class TrialsCallback(tune.Callback):
    """Sees to it that a trial whose workers die of memory is given up; a sweep and a study say the rest."""

    def __init__(self, stop_signals: StopSignals) -> None:
        self._stop_signals = stop_signals
        self._kills = kills_for_memory()
        self._once_killed: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune would keep it in a file; there is nothing in it that outlives the process

    @abstractmethod
    def worker_lost(self, spec: TrialSpec) -> None:
        """Told where another worker goes on with the trial."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        spec = TrialSpec.from_json(trial.config["trial"])
        kills, self._kills = self._kills, kills_for_memory()
        if self._kills > kills and spec.key in self._once_killed:
            self._stop_signals.give(spec.key, "out_of_memory")
            return
        if self._kills > kills:  # for what another program took, it may be: the system ends workers first
            self._once_killed.add(spec.key)
        self.worker_lost(spec)


class TuneCallback(TrialsCallback):
    """Keeps the display of a sweep going."""

    def __init__(self, state: SweepState, progress: SweepProgress, stop_signals: StopSignals) -> None:
        super().__init__(stop_signals)
        self._state, self._progress = state, progress

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        self._progress.update(self._state)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        spec = TrialSpec.from_json(trial.config["trial"])
        report = trial.last_result
        if spec.phase == "check":
            told = (report.get(name) for name in ("run_id", "outcome", "test_result"))
            self._progress.tell_check(spec.config["seed"], *told)

    def worker_lost(self, spec: TrialSpec) -> None:
        self._progress.note(f"the worker of trial {spec.number} was lost; another goes on with it")
