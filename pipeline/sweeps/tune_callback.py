"""What Ray Tune tells while trials run."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import ray
from ray import tune

from pipeline.sweeps.progress import SweepProgress
from pipeline.sweeps.state import SweepState
from pipeline.sweeps.trial_spec import TrialSpec

OUT_OF_MEMORY = ("OutOfMemory", "low on memory")
"""In Ray's account of a worker that it ended when the machine's memory ran out."""


class TrialsCallback(tune.Callback):
    """Sees to it that a trial whose worker died of memory is not tried again; a sweep and a study say the rest."""

    def __init__(self, stop_signals: Any) -> None:
        self._stop_signals = stop_signals

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune would keep it in a file; there is nothing in it that outlives the process

    @abstractmethod
    def worker_lost(self, spec: TrialSpec) -> None:
        """Told where another worker goes on with the trial."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        spec = TrialSpec.from_json(trial.config["trial"])
        account = Path(trial.error_file).read_text()
        if any(words in account for words in OUT_OF_MEMORY):
            ray.get(self._stop_signals.give.remote(spec.key, "out_of_memory"))
        else:
            self.worker_lost(spec)


class TuneCallback(TrialsCallback):
    """Keeps the display of a sweep going."""

    def __init__(self, state: SweepState, progress: SweepProgress, stop_signals: Any) -> None:
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
