"""What is recorded while a run goes on, between its epochs: the loss of single steps, and how busy the machine is.

One thread does all of it, so that a training step waits for neither a disk nor a driver.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import fmean

import torch

from pipeline.config import TrainingConfig
from pipeline.device.machine_use import MachineUse
from pipeline.tracking.metric_lines import Point
from pipeline.tracking.run_document import MACHINE, STEPS
from pipeline.tracking.run_log import RunLog
from pipeline.training import Callback

SAMPLE_SECONDS = 1.0
"""How often the machine is looked at."""
WRITE_SECONDS = 10.0
"""How long a point waits in memory at the most."""
SHORTEST_MEAN_SECONDS = 2.0
"""Of the machine's readings the means of so long are recorded, of longer in a run that takes longer."""
MACHINE_POINTS = 300
"""Points of each of these metrics in a training, with as many again while it is young."""
LOSS_POINTS = 2000
"""Points of the loss of single steps in a training that has all of its epochs."""
LOSS = f"{STEPS}loss"

log = logging.getLogger("odenet")


class LiveRecorder:
    """A thread that looks at the machine each second, and writes this and what is added, in batches."""

    def __init__(
        self,
        write: Callable[[Sequence[Point]], None],
        device: torch.device,
        first_second: int = 0,
        rate: Callable[[], float | None] = lambda: None,
        expected_seconds: Callable[[float], float | None] = lambda _: None,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            write: called by the thread.
            first_second: the step of the machine's first point: seconds that the run was at work before.
            rate: samples per second since it was last called; None where none was done.
            expected_seconds: how long the run will be at work, from how long it was.
        """
        self._write, self._device, self._first_second = write, device, first_second
        self._rate, self._expected_seconds = rate, expected_seconds
        self._waiting: list[tuple[str, int, float | Callable[[], float], datetime]] = []
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="odenet-live", daemon=True)

    def start(self) -> None:
        """Begin to look at the machine."""
        self._started = time.monotonic()
        self._thread.start()

    def add(self, name: str, step: int, value: float | Callable[[], float]) -> None:
        """A point that is written soon; a function is called by the thread, as one that waits for the device."""
        with self._mutex:
            self._waiting.append((name, step, value, datetime.now(UTC)))

    def write_waiting(self) -> None:
        """Write what was added, now; from any thread."""
        with self._mutex:
            waiting, self._waiting = self._waiting, []
        points = [Point(name, step, value() if callable(value) else value, at) for name, step, value, at in waiting]
        try:
            if points:
                self._write(points)
        except BaseException:
            with self._mutex:
                self._waiting = waiting + self._waiting
            raise

    def stop(self) -> None:
        """Write what is left, and end; without effect the second time."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._guarded(self.write_waiting)  # where the thread has ended before its time

    def _run(self) -> None:
        self._guarded(self._record)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever it is, the run is worth more
            log.warning("nothing more is recorded between the epochs (%s: %s)", type(error).__name__, error)

    def _record(self) -> None:
        use, readings = MachineUse(self._device), _Readings()
        written = self._started
        is_over = False
        while not is_over:
            is_over = self._stopping.wait(SAMPLE_SECONDS)
            readings.add(use.read())
            now = time.monotonic()
            if is_over or now - readings.since >= self._mean_seconds(now - self._started):
                self._add_means(readings, now)
                readings = _Readings()
            if is_over or now - written >= WRITE_SECONDS:
                self.write_waiting()
                written = now

    def _mean_seconds(self, elapsed: float) -> float:
        """Over how long the machine's readings are averaged now: short while the run is young."""
        expected = self._expected_seconds(elapsed)
        longest = elapsed / 100 if expected is None else min(elapsed / 30, expected / MACHINE_POINTS)
        return max(SHORTEST_MEAN_SECONDS, longest)

    def _add_means(self, readings: "_Readings", now: float) -> None:
        second = self._first_second + round(now - self._started)
        rate = self._rate()
        means = readings.means() | ({} if rate is None else {"samples_per_second": rate})
        for name, value in means.items():
            self.add(f"{MACHINE}{name}", second, value)


class _Readings:
    """Of the machine, since `since`."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self._values: dict[str, list[float]] = {}

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        return {name: fmean(values) for name, values in self._values.items()}


class LiveCallback(Callback):
    """Records `step.loss`, by the number of the optimiser step, and `machine.*`, by the seconds of the training.

    Training samples per second are among the latter. A run that is resumed goes on with the steps of both.
    """

    def __init__(self, run_log: RunLog, config: TrainingConfig, training_items: int, device: torch.device) -> None:
        self._run_log, self._device = run_log, device
        self._batch_size, self._items, self._epochs = config.batch_size, training_items, config.max_epochs
        self._batches = math.ceil(training_items / config.batch_size)
        self._stride = math.ceil(self._batches * config.max_epochs / LOSS_POINTS)
        self._recorder: LiveRecorder | None = None
        self._at_start: int | None = None
        self._done = self._counted = (0, time.monotonic())
        """Samples that were trained on, and when: now, and when their rate was last asked for."""

    def record_earlier(self, losses: Sequence[float]) -> None:
        """The losses of the steps that a checkpoint has: a kill may have come before they were written."""
        now = datetime.now(UTC)
        steps = range(self._stride, len(losses) + 1, self._stride)
        self._run_log.log_points([Point(LOSS, step, losses[step - 1], now) for step in steps])

    def training_started(self, batches_per_epoch: int, max_epochs: int) -> None:  # noqa: ARG002 - as it was told
        first_second = self._run_log.last_step(f"{MACHINE}cpu_percent") + 1
        self._recorder = LiveRecorder(
            self._run_log.log_points, self._device, first_second, self._samples_per_second, self._expected_seconds
        )
        self._recorder.start()

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:
        self._done = self._samples(epoch, batch), time.monotonic()
        if self._at_start is None:  # set last, as the recorder's thread divides by what was done since
            self._at_start = self._samples(epoch, batch - 1)
        step = (epoch - 1) * self._batches + batch
        if step % self._stride == 0 and self._recorder is not None:
            self._recorder.add(LOSS, step, loss)

    def training_ended(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Write what is left; without effect where nothing was begun, or the second time."""
        if self._recorder is not None:
            self._recorder.stop()

    def _samples(self, epoch: int, batch: int) -> int:
        """How many had been trained on after that batch, each as often as it was."""
        return (epoch - 1) * self._items + min(batch * self._batch_size, self._items)

    def _samples_per_second(self) -> float | None:
        done, counted = self._done, self._counted
        self._counted = done
        samples, seconds = done[0] - counted[0], done[1] - counted[1]
        is_known = counted[0] > 0 and samples > 0  # the first batches wait for what is made once
        return samples / seconds if is_known else None

    def _expected_seconds(self, elapsed: float) -> float | None:
        """From the share of the samples before this process that it has trained on."""
        if self._at_start is None:
            return None
        share = (self._done[0] - self._at_start) / (self._items * self._epochs - self._at_start)
        return elapsed / share
