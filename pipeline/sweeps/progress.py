"""What a person sees of a sweep while it goes on: a live table on a terminal, otherwise plain lines."""

import math
import time
from typing import TextIO

from rich.console import Group
from rich.live import Live
from rich.table import Column

from pipeline.reporting.terminal import Terminal
from pipeline.reporting.text_table import list_table, shown
from pipeline.reporting.words import duration, listed
from pipeline.sweeps.space import Space
from pipeline.sweeps.state import FAILURES, RUNNING, SweepState, Trial
from pipeline.sweeps.text import (
    constraints_text,
    last_names,
    measured_text,
    measured_value,
    metric_text,
    spec_words,
    suggestion_text,
)

REDRAW_SECONDS = 0.5
LINE_SECONDS = 30.0
OTHER_LINES = 9
"""Of the live table, beside those of running trials."""


class SweepProgress:
    """Call `update` often, from one thread, and `close` at the end."""

    def __init__(self, space: Space, total: int, parallel: int, stream: TextIO, deadline: float = math.inf) -> None:
        """`total` trials, so many of them in `parallel`, on `stream`.

        Args:
            deadline: on the monotonic clock; after it no trial begins.
        """
        self._space = space
        self._total = total
        self._parallel = parallel
        self._deadline = deadline
        self._console = Terminal(file=stream, highlight=False)
        self._live: Live | None = None
        self._told: set[int] | None = None
        self._last = -math.inf
        self._standing = ""

    def update(self, state: SweepState) -> None:
        """Show how it stands."""
        if self._console.is_terminal:
            self._redraw(state)
        else:
            self._tell_ended(state)
            if state.events and time.monotonic() - self._last >= LINE_SECONDS:
                self._tell_all(state)

    def note(self, line: str) -> None:
        """Say something that happened, once."""
        if self._live is not None:
            self._live.console.print(line)
        else:
            self._say(line)

    def tell_check(self, seed: int, run_id: int | None, outcome: str | None, result: float | None) -> None:
        """Say how the best configuration did on a fresh seed."""
        spec = self._space.task.result
        reached = "" if result is None else f", test {spec.heading} {metric_text(spec, result)}"
        self.note(f"fresh seed {seed} | run {run_id} | {outcome}{reached}")

    def close(self, state: SweepState) -> None:
        """Leave the last state there."""
        if not self._console.is_terminal:
            self._tell_ended(state)
            self._tell_all(state)
            return
        self._redraw(state, at_once=True)
        if self._live is not None:
            self._live.stop()
            self._live = None

    # On a terminal

    def _redraw(self, state: SweepState, at_once: bool = False) -> None:
        if not at_once and time.monotonic() - self._last < REDRAW_SECONDS:
            return
        self._last = time.monotonic()
        if self._live is None:
            # Whatever else prints goes by above the table; what the process's streams are is not ours to change.
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
        self._live.update(self._table(state), refresh=True)

    def _table(self, state: SweepState) -> Group:
        metrics = self._space.goal.metrics
        headings = ("trial", "run", "epoch", *(spec_words(self._space.spec_of(metric)) for metric in metrics))
        numbers = (Column(heading, justify="right", no_wrap=True, min_width=len(heading) + 1) for heading in headings)
        table = list_table([*numbers, Column(" suggestion", no_wrap=True, overflow="ellipsis")])
        running = [trial for trial in state.trials.values() if trial.outcome == RUNNING]
        room = max(self._console.height - OTHER_LINES, 1)
        for trial in running[:room]:
            table.add_row(
                str(trial.number),
                shown(trial.run_id),
                str(trial.epochs),
                *(measured_value(self._space, metric, trial) for metric in metrics),
                " " + suggestion_text(last_names(trial.suggestion)),
            )
        if len(running) > room:
            table.add_row("…", "", "", *("" for _ in metrics), f"and {len(running) - room} more")
        lines = [self._counts(state), self._best(state)]
        return Group(*lines, *([table] if running else []))

    # Elsewhere

    def _tell_ended(self, state: SweepState) -> None:
        over = {trial.number for trial in state.over()}
        if self._told is None:  # what was over before this process began is not news
            self._told = over
            if over:
                self._say(f"{len(over)} of {self._total} trials are over already")
        for trial in state.over():
            if trial.number not in self._told:
                self._told.add(trial.number)
                self._say(self._ending(trial))

    def _tell_all(self, state: SweepState) -> None:
        self._last = time.monotonic()
        standing = f"{self._counts(state)}; {self._best(state)}"
        if standing != self._standing:
            self._standing = standing
            self._say(standing)

    def _ending(self, trial: Trial) -> str:
        facts = [f"trial {trial.number}", f"run {shown(trial.run_id)}"]
        if trial.has_failed:
            facts.append(f"failed: {trial.error or FAILURES[trial.outcome]}")
        else:
            reused = " (reused)" if trial.is_reused else ""
            facts += [f"{trial.outcome}{reused}", *self._values(trial)]
            facts += [f"violates {' and '.join(trial.violates)}"] if trial.violates else []
        facts += [f"epochs {trial.epochs}", f"{shown(trial.seconds, '.1f')} s", suggestion_text(trial.suggestion)]
        return " | ".join(facts)

    def _say(self, line: str) -> None:
        print(line, file=self._console.file, flush=True)

    # Words

    def _values(self, trial: Trial) -> list[str]:
        return [measured_text(self._space, metric, trial) for metric in self._space.goal.metrics]

    def _counts(self, state: SweepState) -> str:
        counts = state.counts()
        failed = sum(state.failures().values())
        parts = [f"{len(state.over())} of {self._total} trials over", f"{counts.get(RUNNING, 0)} running"]
        parts += [f"{failed} failed", f"{counts.get('pruned', 0)} pruned"]
        left = time_left(state, self._total, self._parallel, self._deadline - time.monotonic())
        return ", ".join([*parts, *([f"about {duration(left)} left"] if left else [])])

    def _best(self, state: SweepState) -> str:
        front = state.front(self._space.goal)
        if not front:
            violating = any(trial.violates for trial in state.over())
            return f"none meets {constraints_text(self._space)} yet" if violating else "none has completed yet"
        if not self._space.goal.is_single:
            return f"on the Pareto front: trial {listed([str(trial.number) for trial in front])}"
        best = front[0]
        value = ", ".join(self._values(best))
        return f"best {value} (trial {best.number}, run {best.run_id}: {suggestion_text(best.suggestion)})"


def time_left(state: SweepState, total: int, parallel: int, begins: float = math.inf) -> float | None:
    """Seconds until the search is over, should trials go on to take as long as they did; None before the first end.

    Args:
        begins: seconds in which trials may still begin.
    """
    took = [trial.seconds for trial in state.over() if not trial.is_reused]
    if not took:
        return None
    mean = sum(took) / len(took)
    begun = [max(mean - trial.seconds, 0) for trial in state.unfinished()]
    to_come = max(total - len(state.trials), 0) * mean
    last = begins + mean if begins > 0 else 0.0  # the end of one that begins at the last moment
    return max([min((sum(begun) + to_come) / parallel, last), *begun])
