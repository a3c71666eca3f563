"""What every experiment leaves in the record of its run: epochs, failures, warnings, history, curves, weights."""

import logging
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from experiments.live_metrics import LiveCallback
from pipeline.device.out_of_memory import OutOfMemory
from pipeline.ode import SolverFailure
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.sweeps.state import DISK_FULL
from pipeline.tasks.base import Report
from pipeline.tracking.lean_sacred import Run, SacredInterrupt
from pipeline.tracking.run_log import RunLog
from pipeline.training import Callback, Fitted, LossDiverged, load_checkpoint
from pipeline.training.callback import Metrics
from pipeline.util.errors import is_disk_full
from pipeline.util.paths import home
from pipeline.util.user_warnings import noting_warnings

WITHDRAWN = "test_withdrawn"
"""Entry of a run's info that says why it has no test any more."""

log = logging.getLogger("odenet")


class Pruned(SacredInterrupt):
    """A run that its sweep ends early, because others do better after as many epochs."""

    STATUS = "PRUNED"


class RecordCallback(Callback):
    """Writes the metrics of every epoch."""

    def __init__(self, run_log: RunLog) -> None:
        self._run_log = run_log

    def epoch_done(self, epoch: int, history: Sequence[Metrics]) -> None:  # noqa: ARG002 - the row says its epoch
        log_epoch(self._run_log, history[-1])


@contextmanager
def keeping_output(run: Run) -> Iterator[None]:
    """What was printed since the last heartbeat, also of a run that is broken off, of which Sacred does not take it."""
    try:
        yield
    finally:
        run._get_captured_output()


class StopWhenAsked(Callback):
    """Ends the training as Ctrl-C does, once `odenet stop` has asked for it."""

    def __init__(self, run_log: RunLog) -> None:
        self._run_log = run_log

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:  # noqa: ARG002 - after any batch
        if self._run_log.is_asked_to_stop:
            raise KeyboardInterrupt


def log_epoch(run_log: RunLog, metrics: Mapping[str, float]) -> None:
    """One point for each metric."""
    run_log.log_epoch(int(metrics["epoch"]), {name: value for name, value in metrics.items() if name != "epoch"})


def record_earlier_epochs(run_log: RunLog, live: LiveCallback, checkpoint: Path) -> None:
    """The epochs of the checkpoint; a kill may have come between a checkpoint and its epoch's metrics."""
    fitted = load_checkpoint(checkpoint)["fitted"]
    for metrics in fitted["history"]:
        log_epoch(run_log, metrics)
    live.record_earlier(fitted["batch_losses"])


def record_training(
    run_log: RunLog, fitted: Fitted, weights: Mapping[str, Tensor], specs: Sequence[MetricSpec], title: str
) -> None:
    """The history, the series of single steps, the learning curves and the best weights."""
    training = {
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "compile_seconds": fitted.compile_seconds,
        "epoch_seconds": statistics.median(row["time.epoch_seconds"] for row in fitted.history),
    }
    run_log.update_info({"training": training})
    run_log.add_json("history.json", fitted.history)
    steps = {
        "loss": fitted.batch_losses,
        "nfe_forward": fitted.batch_nfe_forward,
        "nfe_backward": fitted.batch_nfe_backward,
        "nfe_per_image": fitted.batch_nfe_per_image,
        "rejected_steps": fitted.batch_rejected,
        "largest_error_ratio": fitted.batch_error_ratio,
        "first_solves": fitted.first_solves,
        "last_solves": fitted.last_solves,
    }
    run_log.add_json("steps.json", steps)
    run_log.add_weights("weights.safetensors", weights)
    history, best_epoch = fitted.history, fitted.best_epoch
    run_log.add_figure(
        "learning_curves.png", lambda: _drawing().plot_learning_curves(history, best_epoch, specs, title)
    )
    if fitted.batch_nfe_forward:
        run_log.add_figure("function_evaluations.png", lambda: _drawing().plot_function_evaluations(history, title))
    if any(fitted.first_solves):  # torchdiffeq does not tell its steps
        first, last = fitted.first_solves, fitted.last_solves
        run_log.add_figure("step_sizes.png", lambda: _drawing().plot_step_sizes(first, last, title))


def _drawing() -> Any:
    """Imported by the first figure: a training does not wait for its libraries, nor end where they are broken."""
    from pipeline.reporting import training_figures

    return training_figures


def record_unfinished_training(run_log: RunLog, checkpoint: Path, specs: Sequence[MetricSpec], title: str) -> None:
    """The same of a training that was broken off, as far as its last whole epoch."""
    if not checkpoint.exists():
        return
    state = load_checkpoint(checkpoint)
    fitted = Fitted(**state["fitted"])
    fitted.best_epoch = state["early_stopping"]["best_epoch"]
    _withdraw_earlier_test(run_log, fitted, bool(state["best_weights"]))
    record_training(run_log, fitted, state["best_weights"] or state["model"], specs, title)


def _withdraw_earlier_test(run_log: RunLog, fitted: Fitted, has_best: bool) -> None:
    """Of a run that was complete and went on: its test was that of weights which others may now replace."""
    earlier = run_log.info.get("training") or {}
    key, now = ("best_epoch", fitted.best_epoch) if has_best else ("epochs", len(fitted.history))
    if not run_log.info.get("test") or earlier.get(key) == now:
        return
    said = (
        f"the test was of the weights of epoch {earlier.get(key)}, which those of epoch {now} replace: its numbers "
        "count no more, and its figures and predictions are of then"
    )
    run_log.update_info({"test": None, WITHDRAWN: said})
    log.warning("%s", said)


def record_report(run_log: RunLog, report: Report) -> None:
    """What an evaluation found: its numbers, then its files, then its figures."""
    if report.test:
        known = {WITHDRAWN: None} if run_log.info.get(WITHDRAWN) else {}
        run_log.update_info({"test": dict(report.test), **known})
    for name, content in report.files.items():
        if isinstance(content, bytes):
            run_log.add_artifact(name, content)
        else:
            run_log.add_json(name, content)
    for name, draw in report.figures.items():
        run_log.add_figure(name, draw)


@contextmanager
def recording_failure(run_log: RunLog) -> Iterator[None]:
    """The kind of an error within, and its sentence, in the run's info: for the sweep that the run may be of."""
    try:
        yield
    except SacredInterrupt:
        raise
    except Exception as error:
        run_log.update_info({"failure": {"reason": failure_reason(error), "message": describe_failure(error)}})
        raise


@contextmanager
def recording_warnings(run_log: RunLog) -> Iterator[None]:
    """The sentences of what is warned of within, in the run's info, behind those of earlier sessions."""
    earlier = list(run_log.info.get("warnings") or ())
    sentences = list(earlier)

    def note(sentence: str) -> None:
        if sentence in earlier:
            return
        sentences.append(sentence)
        run_log.update_info({"warnings": sentences})

    with noting_warnings(note):
        yield


def failure_reason(error: Exception) -> str:
    """The kind of failure: one of `pipeline.sweeps.state.FAILURES`."""
    match error:
        case SolverFailure():
            return str(error.status)
        case LossDiverged():
            return "loss_diverged"
        case OutOfMemory():
            return "out_of_memory"
        case _ if is_disk_full(error):
            return DISK_FULL
        case _:
            return "failed"


REMEDIES_OF_A_NETWORK = (
    "in a network group instead of batch normalisation in the block (model.normalisation=group), a smaller "
    "training.lr, looser solver.rtol and solver.atol, more augmented dimensions (model.augment), or "
    "training.precision=fp32"
)
"""What helped: Bijsterbosch 2020, chapter 7; Dupont et al. 2019 for the augmentation."""


def describe_failure(error: BaseException) -> str:
    """What ended a run, in one sentence with its remedy."""
    match error:
        case Pruned():
            return "its sweep ended it early: others did better after as many epochs"
        case KeyboardInterrupt() | SacredInterrupt():
            return "interrupted; everything up to its last whole epoch is kept"
        case OSError() if is_disk_full(error):
            return f"the disk is full ({error.filename or home()}): make room or set ODENET_HOME to another disk"
        case SolverFailure():
            return f"{error}; {REMEDIES_OF_A_NETWORK}"
        case _:
            return str(error)
