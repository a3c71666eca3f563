"""What a person sees of a run while it goes on: a bar within the epoch, a line after it."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.training.callback import Callback, Metrics

LOSS_SECONDS = 1.0
"""The bar asks for the loss this often: each question waits for the device."""


def _terminal() -> Console:
    # The process's own stderr: bars are for the terminal, not for the run's captured output.
    return Console(file=sys.__stderr__)


class EpochConsole(Callback):
    """A bar while an epoch trains, on a terminal only; a line when it is done, on stderr always."""

    def __init__(self, specs: Sequence[MetricSpec], result: str) -> None:
        """Show the metrics that `specs` describe; the loss, and that of `result`, without their headings."""
        self._specs, self._result = specs, result
        self._batches = self._max_epochs = 0
        self._console = _terminal()
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._asked = 0.0

    def training_started(self, batches_per_epoch: int, max_epochs: int) -> None:
        self._batches, self._max_epochs = batches_per_epoch, max_epochs

    def compiling(self) -> None:
        columns = (TextColumn("{task.description}"), SpinnerColumn(), TimeElapsedColumn())
        self._progress = _progress(self._console, *columns)
        self._progress.start()
        self._progress.add_task("compiling, the first time for up to a minute")

    def compiled(self, seconds: float | None) -> None:
        self.training_ended()
        if seconds is not None:
            print(f"compiled in {seconds:.1f} s", file=sys.stderr, flush=True)

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:
        if not self._console.is_terminal:
            return
        if self._progress is None:
            self._progress = _bar(self._console)
            self._progress.start()
            self._task = self._progress.add_task(f"epoch {epoch}/{self._max_epochs}", total=self._batches, note="")
        self._progress.update(self._task, completed=batch)
        if time.monotonic() - self._asked > LOSS_SECONDS:
            self._asked = time.monotonic()
            self._progress.update(self._task, note=f"loss {loss():.4f}")

    def epoch_done(self, epoch: int, history: Sequence[Metrics]) -> None:
        self.training_ended()
        line = epoch_line(epoch, self._max_epochs, history[-1], self._specs, self._result)
        print(line, file=sys.stderr, flush=True)

    def training_ended(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def epoch_line(epoch: int, max_epochs: int, metrics: Metrics, specs: Sequence[MetricSpec], result: str) -> str:
    """An epoch in one line."""
    parts = [f"epoch {epoch:>{len(str(max_epochs))}}/{max_epochs}"]
    unnamed = ("loss", result.partition(".")[2])
    for split in ("training", "validation"):
        shown = []
        for spec in specs:
            if spec.split == split and spec.name in metrics:
                value = format(metrics[spec.name], ".1%" if spec.is_share else spec.format)
                shown.append(value if spec.quantity in unnamed else f"{spec.heading} {value}")
        parts.append(" ".join([split, *shown]))
    if "solver.nfe_forward" in metrics:
        evaluations = f"{metrics['solver.nfe_forward']:.1f}"
        if "solver.nfe_backward" in metrics:
            evaluations += f" + {metrics['solver.nfe_backward']:.1f}"
        parts.append(f"evaluations {evaluations}")
    parts.append(f"{metrics['time.epoch_seconds']:.1f} s")
    return " | ".join(parts)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal's stderr; call what it gives with the number of things done since."""
    console = _terminal()
    with _bar(console) as progress:
        task = progress.add_task(description, total=total, note="", visible=console.is_terminal)
        yield lambda done: progress.advance(task, done)


def _bar(console: Console) -> Progress:
    return _progress(
        console,
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )


def _progress(console: Console, *columns: ProgressColumn) -> Progress:
    return Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,  # Sacred has redirected them already
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
