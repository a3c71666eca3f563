"""The training loop."""

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, optim
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler

from pipeline.config.sections import TrainingConfig
from pipeline.data import Images, Preprocessing, batches, number_of_batches
from pipeline.device.compilation import STEPS_WORTH_COMPILING, compile_for_training
from pipeline.device.host_memory import keep_freed_memory
from pipeline.device.out_of_memory import is_out_of_memory
from pipeline.device.precision import backward, numerics
from pipeline.device.random_state import get_random_state, set_random_state
from pipeline.models import Network
from pipeline.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from pipeline.training.early_stopping import EarlyStopping
from pipeline.training.optimisation import build_optimiser, build_schedule
from pipeline.util.errors import OdenetError

Metrics = dict[str, float]


class LossDiverged(OdenetError):
    """The training loss is not a finite number."""

    def __init__(self, epoch: int, loss: float, lr: float) -> None:
        super().__init__(epoch, loss, lr)
        self.epoch = epoch
        self.loss = loss
        self.lr = lr

    def __str__(self) -> str:
        return f"the training loss became {self.loss} in epoch {self.epoch}: use a training.lr below {self.lr:g}"


class Reporter(Protocol):
    """Told of training while it goes on."""

    def compiling(self) -> None:
        """Before the first epoch, where the network is to be compiled, which may take a minute."""

    def compiled(self, seconds: float | None) -> None:
        """After that; None where the network could not be compiled and stays eager."""

    def batch_done(self, epoch: int, batch: int, loss: Callable[[], float]) -> None:
        """After every optimiser step; `loss()` gives the batch's loss and waits for the device."""

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """After every epoch, its checkpoint written; epochs count from 1."""


@dataclass
class Fitted:
    """What training came to; `model` then has the weights of `best_epoch`."""

    best_epoch: int
    stopped_early: bool
    compile_seconds: float | None = None
    """Of this process; None where everything ran eagerly."""
    history: list[Metrics] = field(default_factory=list)
    """One row an epoch: `epoch`, `training.loss`, `validation.accuracy`, `solver.nfe_forward`, …"""
    batch_losses: list[float] = field(default_factory=list)
    batch_nfe_forward: list[int] = field(default_factory=list)
    batch_nfe_backward: list[int] = field(default_factory=list)
    batch_rejected: list[int] = field(default_factory=list)
    """Rejected steps, as the evaluations summed over the ODE blocks."""
    batch_error_ratio: list[float] = field(default_factory=list)
    """The largest of an accepted step."""
    batch_nfe_per_image: list[float] = field(default_factory=list)
    """Mean evaluations that an image took part in, where each has steps of its own."""
    first_solves: list[list[dict[str, Any]]] = field(default_factory=list)
    """Of the first training batch, each ODE block's attempted steps in their order: `t`, `dt`, `error_ratio`,
    `accepted`."""
    last_solves: list[list[dict[str, Any]]] = field(default_factory=list)
    """The same of the last training batch."""


def fit(
    model: Network,
    training: Images,
    validation: Images,
    preprocessing: Preprocessing,
    config: TrainingConfig,
    seed: int,
    reporter: Reporter,
    checkpoint: Path,
    resume: bool = False,
) -> Fitted:
    """Train `model` in place until patience or epochs run out, then restore its best weights.

    The process keeps the memory that its tensors free from then on (`pipeline.device.host_memory`).

    Args:
        model, training, validation: all on one device.
        seed: of the order of the images and of the random crops.
        checkpoint: file that is replaced after every epoch.
        resume: go on from `checkpoint`; the outcome is that of an uninterrupted training, unless `max_epochs` has
            grown so that `config.compile`, being auto, now compiles.

    Raises:
        SolverFailure: an ODE could not be solved.
        LossDiverged: the loss is no number any more.
        CheckpointError: the checkpoint cannot be written, or with `resume` not read.
    """
    keep_freed_memory()
    trainer = _Trainer(model, training, validation, preprocessing, config, seed, reporter)
    if resume:
        state = load_checkpoint(checkpoint)
        try:
            trainer.load_state_dict(state)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"the checkpoint {checkpoint} is not of this model: start the run again") from error
    with numerics(config, training.pixels.device):
        trainer.fitted.compile_seconds = trainer.compile()
        while not trainer.is_over():
            metrics = trainer.run_epoch()
            save_checkpoint(trainer.state_dict(), checkpoint)
            reporter.epoch_done(trainer.epoch, metrics)
    return trainer.finish()


@dataclass
class _Totals:
    """Sums over the batches of one pass through a split, on the device: no synchronisation a batch."""

    images: int
    loss: Tensor
    correct: Tensor

    @classmethod
    def zero(cls, device: torch.device) -> "_Totals":
        return cls(0, torch.zeros((), device=device), torch.zeros((), device=device))

    def add(self, loss: Tensor, scores: Tensor, labels: Tensor) -> None:
        self.images += len(labels)
        self.loss += loss.detach() * len(labels)
        self.correct += (scores.detach().argmax(1) == labels).sum()

    def mean_loss(self) -> float:
        return float(self.loss) / self.images

    def accuracy(self) -> float:
        return float(self.correct) / self.images


class _Trainer:
    """The state of a training between epochs."""

    def __init__(
        self,
        model: Network,
        training: Images,
        validation: Images,
        preprocessing: Preprocessing,
        config: TrainingConfig,
        seed: int,
        reporter: Reporter,
    ) -> None:
        self.model, self.training, self.validation = model, training, validation
        self.preprocessing, self.config, self.reporter = preprocessing, config, reporter
        self.optimiser: optim.Optimizer = build_optimiser(config, model.parameters())
        self.schedule: LRScheduler = build_schedule(config, self.optimiser)
        self.early_stopping = EarlyStopping(config.patience)
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self.fitted = Fitted(best_epoch=0, stopped_early=False)

    def is_over(self) -> bool:
        return self.epoch >= self.config.max_epochs or self.early_stopping.is_over

    def compile(self) -> float | None:
        """Compile for whole batches, where that is chosen and one is to come; the seconds that it took."""
        size = self.config.batch_size
        if self.is_over() or len(self.training) < size or not self._is_to_be_compiled():
            return None
        self.reporter.compiling()
        seconds = compile_for_training(self.model, self.preprocessing.for_evaluation(self.training.pixels[:size]))
        self.reporter.compiled(seconds)
        return seconds

    def _is_to_be_compiled(self) -> bool:
        """By what the configuration plans and no clock, so that a run that is repeated is compiled again, or not."""
        if self.config.compile != "auto":
            return self.config.compile
        steps = len(self.training) // self.config.batch_size * self.config.max_epochs
        return (
            self.training.pixels.device.type == "cpu"  # on a GPU nobody has measured yet what it brings
            and steps >= STEPS_WORTH_COMPILING
            and all(block.solver.can_be_compiled for block in self.model.ode_blocks())
        )

    def run_epoch(self) -> Metrics:
        """Train and validate once; the epoch's metrics."""
        self.epoch += 1
        device = self.training.pixels.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        lr = self.optimiser.param_groups[0]["lr"]
        started = time.perf_counter()
        trained = self._train()
        trained_loss = trained.mean_loss()  # waits for the device, so that the clock is right
        training_seconds = time.perf_counter() - started
        if not math.isfinite(trained_loss):
            raise LossDiverged(self.epoch, trained_loss, self.config.lr)
        validated = self._validate()
        metrics = {
            "epoch": self.epoch,
            "training.loss": trained_loss,
            "training.accuracy": trained.accuracy(),
            "validation.loss": validated.mean_loss(),
            "validation.accuracy": validated.accuracy(),
            "training.lr": lr,
            **self._solver_metrics(),
            "time.epoch_seconds": time.perf_counter() - started,
            "time.training_seconds": training_seconds,
            "time.images_per_second": trained.images / training_seconds,
            "memory.peak_mb": _peak_memory_mb(device),
        }
        self.schedule.step()
        if self.early_stopping.is_best(self.epoch, metrics["validation.loss"]):
            self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.fitted.history.append(metrics)
        return metrics

    def _train(self) -> _Totals:
        self.model.train()
        totals = _Totals.zero(self.training.pixels.device)
        losses: list[Tensor] = []
        shuffled = batches(self.training, self.config.batch_size, self.generator)
        for number, (pixels, labels) in enumerate(shuffled, start=1):
            scores = self.model(self.preprocessing.for_training(pixels, self.generator))
            loss = functional.cross_entropy(scores.float(), labels)
            self.optimiser.zero_grad(set_to_none=True)
            backward(loss)
            self.optimiser.step()
            totals.add(loss, scores, labels)
            losses.append(loss.detach())
            self._count_evaluations()
            self.reporter.batch_done(self.epoch, number, loss.item)
        self.fitted.batch_losses += torch.stack(losses).tolist()
        return totals

    @torch.no_grad()
    def _validate(self) -> _Totals:
        self.model.eval()
        totals = _Totals.zero(self.validation.pixels.device)
        for pixels, labels in batches(self.validation, self.config.batch_size):
            scores = self.model(self.preprocessing.for_evaluation(pixels))
            totals.add(functional.cross_entropy(scores.float(), labels), scores, labels)
        return totals

    def _count_evaluations(self) -> None:
        forward, backward, rejected = self.model.nfe_forward(), self.model.nfe_backward(), self.model.rejected_steps()
        if forward is None or rejected is None:
            return
        fitted, solves = self.fitted, [block.statistics for block in self.model.ode_blocks()]
        fitted.batch_nfe_forward.append(forward)
        if backward is not None or fitted.batch_nfe_backward:
            fitted.batch_nfe_backward.append(backward or 0)
        fitted.batch_rejected.append(rejected)
        if counts := self.model.nfe_per_image():
            fitted.batch_nfe_per_image.append(statistics.fmean(counts))
        fitted.batch_error_ratio.append(max(solve.largest_error_ratio() for solve in solves))
        fitted.last_solves = [[attempt.to_dict() for attempt in solve.attempts] for solve in solves]
        fitted.first_solves = fitted.first_solves or fitted.last_solves

    def _solver_metrics(self) -> Metrics:
        """Means per training batch of this epoch, and its largest error ratio; nothing for a residual network."""
        number, fitted = number_of_batches(self.training, self.config.batch_size), self.fitted
        counted: dict[str, Sequence[float]] = {
            "solver.nfe_forward": fitted.batch_nfe_forward,
            "solver.nfe_backward": fitted.batch_nfe_backward,
            "solver.rejected_steps": fitted.batch_rejected,
            "solver.nfe_per_image": fitted.batch_nfe_per_image,
        }
        metrics = {name: sum(counts[-number:]) / number for name, counts in counted.items() if counts}
        if fitted.batch_error_ratio:
            metrics["solver.largest_error_ratio"] = max(fitted.batch_error_ratio[-number:])
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """All that decides what comes next: tensors and plain values."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "best_weights": self.best_weights,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "early_stopping": asdict(self.early_stopping),
            "first_steps": [block.first_dt for block in self.model.ode_blocks()],
            "generator": self.generator.get_state(),
            "random": get_random_state(self.training.pixels.device),
            "fitted": asdict(self.fitted),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        device = self.training.pixels.device
        self.best_weights = {name: value.to(device) for name, value in state["best_weights"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        # Patience is this configuration's, so that a training can go on with more of it.
        self.early_stopping = EarlyStopping(**(state["early_stopping"] | {"patience": self.config.patience}))
        for block, first_dt in zip(self.model.ode_blocks(), state["first_steps"], strict=True):
            block.first_dt = first_dt
        self.generator.set_state(state["generator"])
        set_random_state(state["random"], device)
        self.fitted = Fitted(**state["fitted"])

    def finish(self) -> Fitted:
        """Restore the best weights. Without any (every validation loss was no number), the last ones stay."""
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)
        self.fitted.best_epoch = self.early_stopping.best_epoch
        self.fitted.stopped_early = self.early_stopping.is_over
        return self.fitted


def _peak_memory_mb(device: torch.device) -> float:
    """Peak of the epoch on a GPU, of the process so far on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
