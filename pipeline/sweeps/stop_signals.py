"""What the driver of a sweep tells its trials, which Ray Tune's own messages leave open: why a trial is to stop."""

from typing import Any

import ray


@ray.remote(num_cpus=0)
class StopSignals:
    """One actor a sweep, where trials look at least once an epoch; they go by `TrialSpec.key`."""

    def __init__(self) -> None:
        self._interrupted = False
        self._by_trial: dict[str, str] = {}

    def interrupt(self) -> None:
        """All trials are to stop: the sweep is being interrupted."""
        self._interrupted = True

    def give(self, key: str, stop_signal: str) -> None:
        """`pruned`, or `out_of_memory` for a trial whose worker the system has killed for its memory."""
        self._by_trial[key] = stop_signal

    def get(self, key: str) -> str | None:
        """Why the trial is to stop; None while it is to go on."""
        return "interrupted" if self._interrupted else self._by_trial.get(key)


def get_stop_signal(stop_signals: Any, key: str) -> str | None:
    """The stop_signal on a trial, by the actor's handle.

    A trial whose driver is gone is interrupted.
    """
    try:
        stop_signal: str | None = ray.get(stop_signals.get.remote(key))
    except ray.exceptions.RayError:
        return "interrupted"
    return stop_signal
