"""What the driver of a sweep tells its trials, which Ray Tune's own messages leave open: why a trial is to stop.

The trials tell it when they are over: Tune ends their processes ten seconds after it is stopped, whatever they are at.
"""

import time
from typing import Any

import ray

REPEAT_SECONDS = 1.0
"""How often all is told again while there is something to tell."""
TELLING_SECONDS = 10.0
"""How long the driver waits until it is known to have been told."""
ENDING_SECONDS = 600.0
"""How long it waits for trials to end: a batch, an evaluation, what a store takes."""
LOOK_SECONDS = 0.2


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class _Told:
    """Where trials look at least once an epoch; they go by `TrialSpec.key`.

    Ray ends it, too, where the machine's memory runs out, and starts another one, which knows nothing.
    """

    def __init__(self) -> None:
        self._interrupted = False
        self._by_trial: dict[str, str] = {}
        self._at_work: set[str] = set()

    def tell(self, interrupted: bool, by_trial: dict[str, str]) -> None:
        self._interrupted, self._by_trial = interrupted, by_trial

    def begin(self, key: str) -> str | None:
        if not self._interrupted:
            self._at_work.add(key)
        return self.get(key)

    def end(self, key: str) -> None:
        self._at_work.discard(key)

    def is_at_work(self) -> bool:
        return bool(self._at_work)

    def get(self, key: str) -> str | None:
        return "interrupted" if self._interrupted else self._by_trial.get(key)


class StopSignals:
    """One a sweep, of its driver.

    Attributes:
        told: the actor's handle, for the trials.
    """

    def __init__(self) -> None:
        self.told = _Told.remote()  # type: ignore[attr-defined]  # Ray makes it
        self._interrupted = False
        self._by_trial: dict[str, str] = {}
        self._last = 0.0

    def interrupt(self) -> None:
        """All trials are to stop: the sweep is being interrupted. Waits for those that are at work."""
        self._interrupted = True
        self._tell()
        deadline = time.monotonic() + ENDING_SECONDS
        try:
            while time.monotonic() < deadline and ray.get(self.told.is_at_work.remote()):
                time.sleep(LOOK_SECONDS)
        except ray.exceptions.RayError:
            return

    def give(self, key: str, stop_signal: str) -> None:
        """`pruned`, or `out_of_memory` for a trial whose worker the system has killed for its memory."""
        self._by_trial[key] = stop_signal
        ray.wait([self._tell()], timeout=TELLING_SECONDS)

    def repeat(self) -> None:
        """To be called now and then, should the actor be a new one."""
        if self._by_trial and time.monotonic() - self._last > REPEAT_SECONDS:
            self._tell()

    def _tell(self) -> Any:
        self._last = time.monotonic()
        return self.told.tell.remote(self._interrupted, self._by_trial)


def begin_trial(told: Any, key: str) -> bool:
    """Have the driver wait for this trial until `end_trial`; False where it is not to begin."""
    try:
        stop_signal: str | None = ray.get(told.begin.remote(key))
    except ray.exceptions.RayError:
        return False
    return stop_signal != "interrupted"


def end_trial(told: Any, key: str) -> None:
    """The trial's run is over, and the store has what it is to have."""
    told.end.remote(key)


def get_stop_signal(told: Any, key: str) -> str | None:
    """Why the trial is to stop, by the actor's handle; None while it is to go on.

    A trial whose driver is gone is interrupted.
    """
    try:
        stop_signal: str | None = ray.get(told.get.remote(key))
    except ray.exceptions.RayError:
        return "interrupted"
    return stop_signal
