"""What the driver of a sweep tells its trials, which Ray Tune's own messages leave open: why a trial is to stop."""

from typing import Any

import ray


@ray.remote(num_cpus=0)
class Verdicts:
    """One actor a sweep, where trials look at least once an epoch; they go by `Order.key`."""

    def __init__(self) -> None:
        self._interrupted = False
        self._by_trial: dict[str, str] = {}

    def interrupt(self) -> None:
        """All trials are to stop: the sweep is being interrupted."""
        self._interrupted = True

    def give(self, key: str, verdict: str) -> None:
        """`pruned`, or `out_of_memory` for a trial whose worker the system has killed for its memory."""
        self._by_trial[key] = verdict

    def get(self, key: str) -> str | None:
        """Why the trial is to stop; None while it is to go on."""
        return "interrupted" if self._interrupted else self._by_trial.get(key)


def get_verdict(verdicts: Any, key: str) -> str | None:
    """The verdict on a trial, by the actor's handle.

    A trial whose driver is gone is interrupted.
    """
    try:
        verdict: str | None = ray.get(verdicts.get.remote(key))
    except ray.exceptions.RayError:
        return "interrupted"
    return verdict
