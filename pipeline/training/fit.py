"""The training loop."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pipeline.config import TrainingConfig
from pipeline.device.compilation import STEPS_WORTH_COMPILING, CompiledInTraining, compile_for_training
from pipeline.device.host_memory import keep_freed_memory
from pipeline.device.machine_use import peak_memory_mb
from pipeline.device.out_of_memory import is_out_of_memory
from pipeline.device.precision import backward, numerics
from pipeline.device.random_state import (
    get_other_random_state,
    get_random_state,
    set_other_random_state,
    set_random_state,
)
from pipeline.device.workers import Workers
from pipeline.ode.block import ODEBlock
from pipeline.ode.counts import Solved, ode_blocks
from pipeline.training.callback import Callback, Metrics, tell, tell_epoch_done
from pipeline.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from pipeline.training.division import Division
from pipeline.training.early_stopping import EarlyStopping
from pipeline.training.fitted import Fitted
from pipeline.training.lazy_layers import fill_lazy_layers
from pipeline.training.objective import BatchLoss, Objective, together
from pipeline.training.optimisation import (
    build_optimiser,
    build_schedule,
    is_stepped_each_time,
    scaled_rates,
    warmed_up,
)
from pipeline.training.solver_counts import SolverCounts
from pipeline.training.step_graphs import steps_as_graphs
from pipeline.training.totals import Totals
from pipeline.training.weight_average import WeightAverage
from pipeline.util.errors import OdenetError


class LossDiverged(OdenetError):
    """The training loss is not a finite number."""

    def __init__(self, epoch: int, loss: float, lr: float) -> None:
        super().__init__(epoch, loss, lr)
        self.epoch = epoch
        self.loss = loss
        self.lr = lr

    def __str__(self) -> str:
        return f"the training loss became {self.loss} in epoch {self.epoch}: use a training.lr below {self.lr:g}"


def fit(
    model: nn.Module,
    objective: Objective,
    config: TrainingConfig,
    seed: int,
    checkpoint: Path,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    workers: Workers | None = None,
    asked_again: Sequence[Callback] = (),
) -> Fitted:
    """Train `model` in place until patience or epochs run out, then restore its best weights.

    The process keeps the memory that its tensors free from then on (`pipeline.device.host_memory`).

    Args:
        model: on the objective's device.
        seed: of the order of the items and of what chance the objective has.
        checkpoint: file that is replaced after every epoch.
        resume: go on from `checkpoint`; the outcome is that of an uninterrupted training, unless `max_epochs` has
            grown so that `config.compile`, being auto, now compiles.
        workers: processes that train together, of which this is the first; each of the others calls `fit_along`.
        asked_again: those of the callbacks that `resume` tells of the checkpoint's epoch, which they may have ended
            the training with, or not have heard of.

    Raises:
        SolverFailure: an ODE could not be solved.
        LossDiverged: the loss is no number any more.
        CheckpointError: the checkpoint cannot be written, or with `resume` not read.
        WorkersParted: another of the processes is gone.
    """
    keep_freed_memory()
    trainer = _Trainer(model, objective, config, seed, callbacks, workers)
    if resume:
        state = load_checkpoint(checkpoint)
        try:
            trainer.load_state_dict(state)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"the checkpoint {checkpoint} is not of this model: start the run again") from error
    if workers is not None:
        workers.share(trainer.state_dict())
    tell(callbacks, Callback.training_started, trainer.batches_per_epoch, config.max_epochs)
    try:
        if resume:
            trainer.is_ended = tell_epoch_done(asked_again, trainer.epoch, trainer.fitted.history)
        device = objective.device
        with numerics(config, device), trainer.sharing_steps(), steps_as_graphs(model, config, device):
            trainer.fitted.compile_seconds = trainer.compile()
            while trainer.goes_on():
                trainer.run_epoch()
                save_checkpoint(trainer.state_dict(), checkpoint)
                trainer.is_ended = tell_epoch_done(callbacks, trainer.epoch, trainer.fitted.history)
    finally:
        tell(callbacks, Callback.training_ended)
    return trainer.finish()


def fit_along(model: nn.Module, objective: Objective, config: TrainingConfig, seed: int, workers: Workers) -> None:
    """Train on this process's share of each batch, until the first process, which calls `fit`, says that it is over.

    Args:
        model, objective, config, seed: as the first one has them.

    Raises:
        SolverFailure: an ODE could not be solved.
        LossDiverged: the loss is no number any more.
        WorkersParted: another of the processes is gone.
    """
    keep_freed_memory()
    trainer = _Trainer(model, objective, config, seed, (), workers)
    trainer.load_state_dict(workers.share(None))
    device = objective.device
    with numerics(config, device), trainer.sharing_steps(), steps_as_graphs(model, config, device):
        while trainer.goes_on():
            trainer.train_epoch()


class _Trainer:
    """The state of a training between epochs."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        config: TrainingConfig,
        seed: int,
        callbacks: Sequence[Callback],
        workers: Workers | None,
    ) -> None:
        fill_lazy_layers(model, lambda: objective)
        self.seed, self.workers = seed, workers
        self.model, self.objective, self.config, self.callbacks = model, objective, config, callbacks
        self.blocks = ode_blocks(model)
        self.batches_per_epoch = -(-objective.training_items // config.batch_size)
        self.division = Division(
            objective.training_items,
            config.batch_size,
            config.micro_batch_size,
            *((0, 1) if workers is None else (workers.rank, workers.size)),
        )
        self.optimiser: optim.Optimizer = build_optimiser(config, model.parameters())
        self.schedule: LRScheduler = build_schedule(config, self.optimiser, self.batches_per_epoch)
        self.steps_schedule_each_time = is_stepped_each_time(config)
        self.average = None if config.ema_decay is None else WeightAverage(model, config.ema_decay)
        self.early_stopping = EarlyStopping(config.patience)
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0
        self.is_ended = False
        """By a callback."""
        self.clipped = torch.zeros((), device=objective.device)
        """Steps of the epoch whose gradients were shortened."""
        self.best_weights: dict[str, Tensor] = {}
        self.fitted = Fitted(best_epoch=0, stopped_early=False)

    def is_over(self) -> bool:
        return self.is_ended or self.epoch >= self.config.max_epochs or self.early_stopping.is_over

    def goes_on(self) -> bool:
        """Whether there is another epoch, which with several workers the first one decides, and at which rates."""
        goes_on = not self.is_over()
        if self.workers is None:
            return goes_on
        if not self.workers.agree(goes_on):
            return False
        if isinstance(self.schedule, ReduceLROnPlateau):  # the first one alone has validated, and stepped it
            rates = self.workers.share({"rates": [group["lr"] for group in self.optimiser.param_groups]})["rates"]
            for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
                group["lr"] = rate
        return True

    @contextmanager
    def sharing_steps(self) -> Iterator[None]:
        """Within it the ODE blocks of all workers take the steps of the whole batch, where it is to share them."""
        across = None if self.workers is None else self.workers.sum
        try:
            for block in self._with_first_steps:
                block.across = across
            yield
        finally:
            for block in self._with_first_steps:
                block.across = None

    def compile(self) -> float | None:
        """Compile for whole batches, where that is chosen and one is to come; the seconds that it took."""
        size = self.division.largest
        if self.workers is not None or not any(isinstance(part, CompiledInTraining) for part in self.model.modules()):
            return None
        if self.is_over() or self.objective.training_items < size or not self._is_to_be_compiled():
            return None
        example = self.objective.example(size)
        if example is None:
            return None
        tell(self.callbacks, Callback.compiling)
        seconds = compile_for_training(self.model, example)
        tell(self.callbacks, Callback.compiled, seconds)
        return seconds

    def _is_to_be_compiled(self) -> bool:
        """By what the configuration plans and no clock, so that a run that is repeated is compiled again, or not."""
        if self.config.compile != "auto":
            return self.config.compile
        steps = self.objective.training_items // self.division.largest * self.config.max_epochs
        return (
            self.objective.device.type == "cpu"  # on a GPU nobody has measured yet what it brings
            and steps >= STEPS_WORTH_COMPILING
            and all(_can_be_compiled(block) for block in self.blocks)
        )

    def run_epoch(self) -> None:
        """Train and validate once; the epoch's metrics are the last of the history."""
        device = self.objective.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        started = time.perf_counter()
        lr, trained = self.train_epoch()
        training_seconds = time.perf_counter() - started
        metrics = {
            "epoch": self.epoch,
            **trained,
            **self._clipped_share(),
            **self._validate(),
            "training.lr": lr,
            **self._solver_metrics(),
            "time.epoch_seconds": time.perf_counter() - started,
            "time.training_seconds": training_seconds,
            "time.images_per_second": self.objective.training_items / training_seconds,
            "memory.peak_mb": peak_memory_mb(device),
        }
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(metrics["validation.loss"])
        if self.early_stopping.is_best(self.epoch, metrics["validation.loss"]):
            with self._validated_weights():
                self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.fitted.history.append(metrics)

    def train_epoch(self) -> tuple[float, Metrics]:
        """Train once; the learning rate of the first step, and the means over the items.

        Raises:
            LossDiverged: the loss is no number.
        """
        self.epoch += 1
        self.objective.begin_epoch(self.epoch)
        lr = self.optimiser.param_groups[0]["lr"] * self._share_of_rate(1)
        trained = self._train().means("training")  # waits for the device, so that the clock is right
        if not math.isfinite(trained["training.loss"]):
            raise LossDiverged(self.epoch, trained["training.loss"], self.config.lr)
        if not (self.steps_schedule_each_time or isinstance(self.schedule, ReduceLROnPlateau)):
            self.schedule.step()
        return lr, trained

    def _train(self) -> Totals:
        self.model.train()
        totals, counts = Totals(self.objective.device), SolverCounts(self.model)
        losses: list[Tensor] = []
        self.clipped = torch.zeros((), device=self.objective.device)
        shuffled = self.objective.training_batches(self.config.batch_size, self.generator)
        for number, batch in enumerate(shuffled, start=1):
            self._draw_anew(number)
            result = self._gradients(number, batch, counts)
            self._step(number)
            totals.add(result)
            losses.append(result.loss.detach())
            tell(self.callbacks, Callback.batch_done, self.epoch, number, losses[-1].item)
        self.fitted.batch_losses += torch.stack(losses).tolist()
        counts.add_to(self.fitted, self.workers)
        return totals

    def _draw_anew(self, number: int) -> None:
        """Have each of several workers draw random numbers of its own, as for dropout, by seed, step and rank."""
        if self.workers is not None:
            step = (self.epoch - 1) * self.batches_per_epoch + number
            drawn = np.random.SeedSequence([self.seed, step, self.workers.rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(drawn[0]))

    def _gradients(self, number: int, batch: Any, counts: SolverCounts) -> BatchLoss:
        """Leave those of the epoch's batch of this number with the parameters, whoever computes which parts of it."""
        self.optimiser.zero_grad(set_to_none=True)
        items, results = self.division.items(number), []
        for rows in self.division.parts(number):
            part = batch if rows is None else self.objective.part(batch, rows)
            result = self.objective.loss(self.model, part, self.generator)
            backward(result.minimised if rows is None else result.minimised * (result.items / items))
            counts.add_part()
            results.append(result)
        counts.end_batch()
        of_batch = together(results, items)
        if self.workers is not None:
            found = self.workers.gradients(self.model.parameters())
            self.workers.add_up([*found, of_batch.loss, *of_batch.sums.values()])
        return of_batch

    def _step(self, batch: int) -> None:
        """Take a step by the gradients of the epoch's batch of this number."""
        if (longest := self.config.clip_norm) is not None:
            self.clipped += nn.utils.clip_grad_norm_(self.model.parameters(), longest) > longest
        with scaled_rates(self.optimiser, self._share_of_rate(batch)):
            self.optimiser.step()
        if self.steps_schedule_each_time:
            self.schedule.step()
        if self.average is not None:
            self.average.update()

    def _share_of_rate(self, batch: int) -> float:
        step = (self.epoch - 1) * self.batches_per_epoch + batch - 1
        return warmed_up(self.config, step, self.batches_per_epoch)

    def _clipped_share(self) -> Metrics:
        if self.config.clip_norm is None:
            return {}
        return {"training.clipped_share": float(self.clipped) / self.batches_per_epoch}

    def _validated_weights(self) -> AbstractContextManager[None]:
        """Within it the model has the weights that are validated and kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _validate(self) -> Metrics:
        with self._validated_weights(), torch.no_grad():
            return self._validate_as_it_is()

    def _validate_as_it_is(self) -> Metrics:
        self.model.eval()
        totals, outputs = Totals(self.objective.device), []
        for batch in self.objective.validation_batches(self.config.batch_size):
            result = self.objective.loss(self.model, batch, None)
            totals.add(result)
            outputs.append(result.outputs)
        of_split = self.objective.split_metrics(outputs)
        return totals.means("validation") | {f"validation.{name}": float(value) for name, value in of_split.items()}

    def _solver_metrics(self) -> Metrics:
        """Means per training batch of this epoch, and its largest error ratio; nothing for a residual network."""
        number, fitted = self.batches_per_epoch, self.fitted
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
            "average": None if self.average is None else self.average.state_dict(),
            "best_weights": self.best_weights,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "early_stopping": asdict(self.early_stopping),
            "first_steps": [block.first_dt for block in self._with_first_steps],
            "generator": self.generator.get_state(),
            "random": get_random_state(self.objective.device),
            "other_random": get_other_random_state(),
            "fitted": vars(self.fitted),  # not copied: it grows with every batch, and is written at once
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        device = self.objective.device
        self.best_weights = {name: value.to(device) for name, value in state["best_weights"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        # Patience is this configuration's, so that a training can go on with more of it.
        self.early_stopping = EarlyStopping(**(state["early_stopping"] | {"patience": self.config.patience}))
        for block, first_dt in zip(self._with_first_steps, state["first_steps"], strict=True):
            block.first_dt = first_dt
        self.generator.set_state(state["generator"])
        set_random_state(state["random"], device)
        set_other_random_state(state.get("other_random"))  # of which earlier versions kept nothing
        self.fitted = Fitted(**state["fitted"])

    @property
    def _with_first_steps(self) -> list[ODEBlock]:
        return [block for block in self.blocks if isinstance(block, ODEBlock)]

    def finish(self) -> Fitted:
        """Restore the best weights. Without any (every validation loss was no number), the last ones stay."""
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)
        self.fitted.best_epoch = self.early_stopping.best_epoch
        self.fitted.stopped_early = self.is_ended or self.early_stopping.is_over
        return self.fitted


def _can_be_compiled(block: Solved) -> bool:
    return block.can_be_compiled if isinstance(block, ODEBlock) else block.solver.can_be_compiled
