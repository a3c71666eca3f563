"""What a classification run leaves behind: numbers, figures, weights, predictions."""

import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from pipeline.config.sections import Config
from pipeline.data import Images
from pipeline.reporting import figures
from pipeline.reporting.console import EpochConsole
from pipeline.tasks.classification.metrics import Evaluation, Predictions
from pipeline.tasks.classification.solver_grid import Setting
from pipeline.tracking.run_log import RunLog
from pipeline.training import Fitted, load_checkpoint

History = Sequence[Mapping[str, float]]


class RunReporter:
    """Passes an epoch on to the run's record, then to the console."""

    def __init__(self, run_log: RunLog, batches_per_epoch: int, max_epochs: int) -> None:
        self._run_log = run_log
        self._console = EpochConsole(batches_per_epoch, max_epochs)

    def compiling(self) -> None:
        self._console.compiling()

    def compiled(self, seconds: float | None) -> None:
        self._console.compiled(seconds)

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:
        self._console.batch_done(epoch, batch, loss)
        self._run_log.batch_done()

    def epoch_done(self, epoch: int, metrics: Mapping[str, float]) -> None:
        _log_epoch(self._run_log, metrics)
        self._console.epoch_done(epoch, metrics)
        self._run_log.epoch_done()

    def close(self) -> None:
        self._console.close()


def _log_epoch(run_log: RunLog, metrics: Mapping[str, float]) -> None:
    run_log.log_epoch(int(metrics["epoch"]), {name: value for name, value in metrics.items() if name != "epoch"})


def record_earlier_epochs(run_log: RunLog, checkpoint: Path) -> None:
    """The epochs of the checkpoint; a kill may have come between a checkpoint and its epoch's metrics."""
    for metrics in load_checkpoint(checkpoint)["fitted"]["history"]:
        _log_epoch(run_log, metrics)


def record_training(run_log: RunLog, fitted: Fitted, weights: Mapping[str, Tensor], title: str) -> None:
    """The history, the series of single steps, the learning curves and the best weights."""
    run_log.update_info(
        {
            "training": {
                "epochs": len(fitted.history),
                "best_epoch": fitted.best_epoch,
                "stopped_early": fitted.stopped_early,
                "compile_seconds": fitted.compile_seconds,
                "epoch_seconds": statistics.median(row["time.epoch_seconds"] for row in fitted.history),
            }
        }
    )
    run_log.add_json("history.json", fitted.history)
    run_log.add_json(
        "steps.json",
        {
            "loss": fitted.batch_losses,
            "nfe_forward": fitted.batch_nfe_forward,
            "nfe_backward": fitted.batch_nfe_backward,
            "nfe_per_image": fitted.batch_nfe_per_image,
            "rejected_steps": fitted.batch_rejected,
            "largest_error_ratio": fitted.batch_error_ratio,
            "first_solves": fitted.first_solves,
            "last_solves": fitted.last_solves,
        },
    )
    run_log.add_weights("weights.safetensors", weights)
    run_log.add_figure("learning_curves.png", figures.plot_learning_curves(fitted.history, fitted.best_epoch, title))
    if fitted.batch_nfe_forward:
        run_log.add_figure("function_evaluations.png", figures.plot_function_evaluations(fitted.history, title))
    if any(fitted.first_solves):  # torchdiffeq does not tell its steps
        run_log.add_figure("step_sizes.png", figures.plot_step_sizes(fitted.first_solves, fitted.last_solves, title))


def record_unfinished_training(run_log: RunLog, checkpoint: Path, title: str) -> None:
    """The same of a training that was broken off, as far as its last whole epoch."""
    if not checkpoint.exists():
        return
    state = load_checkpoint(checkpoint)
    fitted = Fitted(**state["fitted"])
    fitted.best_epoch = state["early_stopping"]["best_epoch"]
    record_training(run_log, fitted, state["best_weights"] or state["model"], title)


def record_evaluation(
    run_log: RunLog, evaluation: Evaluation, predictions: Predictions, images: Images, setting: Setting, title: str
) -> None:
    """The scores, the predictions behind them and their figures."""
    evaluations = evaluation.nfe_per_batch
    run_log.update_info(
        {
            "test": {
                "accuracy": evaluation.accuracy,
                "loss": evaluation.loss,
                "images": len(predictions.labels),
                "nfe_forward": float(np.mean(evaluations)) if evaluations else None,
                "nfe_per_image": predictions.nfe_spread,
            }
        }
    )
    run_log.add_json("evaluation.json", evaluation.to_dict())
    run_log.add_artifact("predictions.npz", _npz(predictions))
    run_log.add_figure("confusion_matrix.png", figures.plot_confusion_matrix(evaluation, title))
    run_log.add_figure("classification_report.png", figures.plot_classification_report(evaluation, title))
    run_log.add_figure("precision_recall.png", figures.plot_precision_recall(evaluation, title))
    run_log.add_figure("roc.png", figures.plot_roc(evaluation, title))
    if predictions.nfe_per_image:
        record_hard_images(run_log, {setting: predictions}, images, evaluation.classes, title)


def record_hard_images(
    run_log: RunLog, answers: Mapping[Setting, Predictions], images: Images, classes: Sequence[str], title: str
) -> None:
    """Every image's own evaluations as a table; where they differ most, the images with the fewest and the most."""
    tables = []
    for setting, predictions in answers.items():
        columns = {
            "image": range(len(predictions.labels)),
            "label": predictions.labels,
            "predicted": predictions.logits.argmax(axis=1),
            "evaluations": predictions.nfe_per_image,
        }
        tables.append(pd.DataFrame({**setting.to_dict(), **columns}))
    run_log.add_artifact("evaluations_per_image.csv", pd.concat(tables).to_csv(index=False).encode())
    shown, predictions = max(answers.items(), key=lambda answer: np.ptp(answer[1].nfe_per_image))
    title = f"{title}, {shown.solver.method} at rtol {shown.solver.rtol:g}"
    figure = figures.plot_hard_images(images.pixels.cpu().numpy(), predictions, classes, title)
    run_log.add_figure("hard_images.png", figure)


def run_title(config: Config) -> str:
    """What the figures say they show."""
    body = {"odenet": "ODE-Net", "resnet": "ResNet"}[config.model.body]
    blocks = f", {config.model.blocks} blocks" if config.model.blocks > 1 else ""
    return f"{config.model.architecture} {body}{blocks} on {Path(config.data.name).stem}"


def _npz(predictions: Predictions) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, probabilities=predictions.probabilities, labels=predictions.labels)
    return buffer.getvalue()
