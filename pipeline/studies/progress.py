"""What a person sees of a study while its runs go on: a live table on a terminal, otherwise plain lines."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Group
from rich.live import Live

from pipeline.reporting.terminal import Terminal
from pipeline.reporting.text_table import left, list_table, right, shown
from pipeline.reporting.words import counted, duration
from pipeline.sweeps.state import COMPLETED, INTERRUPTED, RUNNING

WAITING = "waiting"
REDRAW_SECONDS = 0.5
LINE_SECONDS = 60.0


@dataclass
class JobProgress:
    """How far one run is."""

    number: int
    row: str
    label: str
    epochs: int
    """That it has at most; 0 for what has none."""
    estimate: float | None
    """Seconds that it was thought to take; None where nobody knows."""
    outcome: str = WAITING
    done: int = 0
    seconds: float = 0.0
    run_id: int | None = None
    error: str | None = None

    @property
    def is_over(self) -> bool:
        return self.outcome not in (WAITING, RUNNING, INTERRUPTED)


class StudyProgress:
    """Call `update` often, from one thread, and `close` at the end."""

    def __init__(self, jobs: Sequence[JobProgress], parallel: int, stream: TextIO) -> None:
        self.jobs = {job.number: job for job in jobs}
        self._parallel = parallel
        self._console = Terminal(file=stream, highlight=False)
        self._live: Live | None = None
        self._told: set[int] = set()
        self._last = -math.inf

    def report(self, number: int, told: Mapping[str, object]) -> None:
        """Enter what a run has reported."""
        job = self.jobs[number]
        job.outcome = str(told.get("outcome", job.outcome))
        job.done = int(told.get("epochs", job.done))  # type: ignore[call-overload]
        job.seconds = float(told.get("seconds", job.seconds))  # type: ignore[arg-type]
        job.run_id = told.get("run_id", job.run_id)  # type: ignore[assignment]
        job.error = told.get("error", job.error)  # type: ignore[assignment]

    def update(self) -> None:
        """Show how it stands."""
        if self._console.is_terminal:
            self._redraw()
            return
        self._tell_ended()
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            self.note(self.standing())

    def note(self, line: str) -> None:
        """Say something that happened, once."""
        if self._live is not None:
            self._live.console.print(line)
        else:
            print(line, file=self._console.file, flush=True)

    def close(self) -> None:
        """Leave the last state there."""
        if not self._console.is_terminal:
            self._tell_ended()
            return
        self._redraw(at_once=True)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def standing(self) -> str:
        """How it stands, in a line."""
        over = sum(job.is_over for job in self.jobs.values())
        running = [job for job in self.jobs.values() if job.outcome == RUNNING]
        failed = sum(job.is_over and job.outcome != COMPLETED for job in self.jobs.values())
        parts = [f"{over} of {counted(len(self.jobs), 'run')} over", f"{len(running)} running"]
        parts += [f"{failed} failed"] if failed else []
        seconds = seconds_left(list(self.jobs.values()), self._parallel)
        return ", ".join([*parts, *([f"at most {duration(seconds)} left"] if seconds else [])])

    def _tell_ended(self) -> None:
        for job in self.jobs.values():
            if job.is_over and job.number not in self._told:
                self._told.add(job.number)
                why = f": {job.error}" if job.error else ""
                self.note(f"{job.label} | run {shown(job.run_id)} | {job.outcome.replace('_', ' ')}{why}")

    def _redraw(self, at_once: bool = False) -> None:
        if not at_once and time.monotonic() - self._last < REDRAW_SECONDS:
            return
        self._last = time.monotonic()
        if self._live is None:
            # Whatever else prints goes by above the table; what the process's streams are is not ours to change.
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
        self._tell_ended()
        table = list_table([*right("run"), *left("what"), *right("epoch", "seconds")])
        for job in [job for job in self.jobs.values() if job.outcome == RUNNING][: max(self._console.height - 6, 1)]:
            epoch = f"{job.done} of {job.epochs}" if job.epochs else ""
            table.add_row(shown(job.run_id), job.label, epoch, f"{job.seconds:,.0f}")
        self._live.update(Group(self.standing(), table), refresh=True)


def seconds_left(jobs: Sequence[JobProgress], parallel: int) -> float | None:
    """Seconds until all are over, should each take all of its epochs; None while nothing is known.

    An epoch of a run takes what its earlier ones took, else what those of the same row on other seeds took, else what
    was estimated, else what the others took.
    """
    by_row: dict[str, list[float]] = {}
    for job in jobs:
        if job.done:
            by_row.setdefault(job.row, []).append(job.seconds / job.done)
    everything = [seconds for of_row in by_row.values() for seconds in of_row]
    remaining: list[float] = []
    for job in jobs:
        if job.is_over:
            continue
        per_epoch = by_row.get(job.row)
        if job.done:
            remaining.append(job.seconds / job.done * (job.epochs - job.done))
        elif per_epoch and job.epochs:
            remaining.append(sum(per_epoch) / len(per_epoch) * job.epochs)
        elif job.estimate is not None:
            remaining.append(job.estimate)
        elif everything and job.epochs:
            remaining.append(sum(everything) / len(everything) * job.epochs)
    return max([sum(remaining) / parallel, *remaining]) if remaining else None
