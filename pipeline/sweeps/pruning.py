"""Early ends for trials that do worse than others after as many epochs: asynchronous successive halving.

Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning" (ASHA).
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from pipeline.sweeps.reported import EPOCH, OBJECTIVE
from pipeline.sweeps.stop_signals import StopSignals
from pipeline.sweeps.trial_spec import TrialSpec

REDUCTION_FACTOR = 3


def grace_epochs(max_epochs: int) -> int:
    """Epochs that every trial gets: a ninth, so that trials are compared at a ninth, at a third, and run to the end."""
    return max(1, round(max_epochs / REDUCTION_FACTOR**2))


class Pruning(ASHAScheduler):
    """ASHA, which tells a trial's worker why it is stopped."""

    def __init__(self, mode: str, max_epochs: int, stop_signals: StopSignals) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=OBJECTIVE,
            mode=mode,
            max_t=max_epochs,
            grace_period=grace_epochs(max_epochs),
            reduction_factor=REDUCTION_FACTOR,
            stop_last_trials=False,
        )
        self._stop_signals = stop_signals

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP:
            training = TrialSpec.from_json(trial.config["trial"]).config["training"]
            if result[EPOCH] >= training["max_epochs"]:  # it has its weights to keep still, and its test to take
                return str(TrialScheduler.CONTINUE)
            self._stop_signals.give(result["key"], "pruned")
        return decision

    def replay(self, number: int, objectives: Sequence[float]) -> None:
        """Remember a trial of before the sweep was resumed, by its objective after each epoch."""
        trial: Any = SimpleNamespace(trial_id=f"replayed-{number}")
        controller: Any = None
        self.on_trial_add(controller, trial)
        for epoch, objective in enumerate(objectives, start=1):
            super().on_trial_result(controller, trial, {EPOCH: epoch, OBJECTIVE: objective})
