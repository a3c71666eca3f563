"""A trained network asked again: under other solvers, tolerances and final times, on its own or other test images."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.sections import Config, ModelConfig, SolverConfig
from pipeline.data import Images, build_preprocessing, prepare
from pipeline.data.catalogue import read
from pipeline.device.precision import numerics
from pipeline.models import Network
from pipeline.ode import SolverFailure, Status
from pipeline.ode.tableau import FIXED_STEP_METHODS, ORDERS
from pipeline.runs.load_model import TrainedModel
from pipeline.tasks.classification.metrics import Predictions, predict
from pipeline.util.array_types import FloatArray
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True)
class Setting:
    """How a network's ODEs are solved, and up to which time."""

    solver: SolverConfig
    final_time: float

    @property
    def steps(self) -> int | None:
        """Steps of a fixed-step method; None for an adaptive one."""
        return self.solver.steps if self.solver.method in FIXED_STEP_METHODS else None

    def to_dict(self) -> dict[str, Any]:
        """What tells it from others; None for what its method does not look at."""
        solver = self.solver
        rtol, atol = (solver.rtol, solver.atol) if self.steps is None else (None, None)
        values = {"method": solver.method, "steps": self.steps, "rtol": rtol, "atol": atol}
        return values | {"control": solver.control, "final_time": self.final_time}


@dataclass(frozen=True)
class Grid:
    """Which settings to try: fixed-step methods take `steps`, adaptive ones `tolerances`."""

    methods: tuple[str, ...] = ("euler", "midpoint", "rk4", "dopri5")
    steps: tuple[int, ...] = (1, 2, 4)
    tolerances: tuple[float, ...] = (1e-1, 1e-3, 1e-5)
    """rtol and atol alike."""
    final_times: tuple[float, ...] = ()
    """The final time of the training where there are none."""
    control: str | None = None
    """`solver.control` of the adaptive methods; that of the training without it."""

    def settings(self, trained: Setting) -> list[Setting]:
        """`trained`, then every other setting once; what the grid leaves open is as in `trained`.

        Raises:
            ConfigError: an unknown method, or a number that cannot be.
        """
        found = [trained]
        for final_time in self.final_times or (trained.final_time,):
            ModelConfig(final_time=final_time)  # refuses an impossible one
            for method in self.methods:
                choices: list[dict[str, Any]] = [
                    {"rtol": value, "atol": value} | self._control(trained) for value in self.tolerances
                ]
                if method in FIXED_STEP_METHODS:
                    choices = [{"steps": value, "control": "batch"} for value in self.steps]
                found += [
                    Setting(SolverConfig(**asdict(trained.solver) | {"method": method} | choice), final_time)
                    for choice in choices
                ]
        return list(dict.fromkeys(found))

    def _control(self, trained: Setting) -> dict[str, Any]:
        if self.control in (None, trained.solver.control):
            return {}
        # How the training came by its gradients and first steps must not forbid it.
        others = {"engine": "odenet", "gradient": "auto", "reuse_first_step": False} if self.control == "sample" else {}
        return {"control": self.control, **others}


@dataclass(frozen=True)
class Row:
    """What a network answered under one setting; None for what a failed solve, or a network without one, has not."""

    method: str | None
    steps: int | None
    rtol: float | None
    atol: float | None
    final_time: float | None
    trained: bool
    """Whether this is the setting of the training."""
    status: str
    """`completed`, `underflow`, `step_limit` or `diverged`."""
    accuracy: float | None = None
    loss: float | None = None
    """Mean negative log likelihood, nats per image."""
    nfe_forward: float | None = None
    """Mean evaluations of the field per batch, summed over ODE blocks."""
    milliseconds_per_image: float | None = None
    """Wall time of all batches, preprocessing included, after a batch to warm up."""
    changed: float | None = None
    """Share of the images that are put into another class than under the setting of the training."""
    failure: str | None = None
    """Why the solve failed."""
    control: str = "batch"
    """Whether all images of a batch share their steps, or each `sample` has its own."""
    nfe_per_image: dict[str, float] | None = None
    """`mean`, `smallest` and `largest` evaluations of an image, where each has its own steps."""

    @property
    def label(self) -> str:
        """'euler, 4 steps' or 'dopri5, tol 0.001'."""
        if self.method is None:
            return "no solver"
        if self.steps is not None:
            return f"{self.method}, {self.steps} step{'' if self.steps == 1 else 's'}"
        tolerance = f"{self.rtol:g}" if self.rtol == self.atol else f"{self.rtol:g} and {self.atol:g}"
        return f"{self.method}, tol {tolerance}{', by sample' if self.control == 'sample' else ''}"


@dataclass(frozen=True)
class EvaluationData:
    """The test split of a data set.

    Attributes:
        fingerprint: sha256 (hex) of the whole data set's arrays.
    """

    images: Images
    classes: tuple[str, ...]
    fingerprint: str


def load_evaluation_data(name: str, model: TrainedModel, device: torch.device) -> EvaluationData:
    """The test split of data set `name`, downloaded if need be, as `model` can take it.

    Raises:
        InvalidInput: an unknown name, images of another shape, or another number of classes.
        DataError: the data set is absent and cannot be downloaded, or is damaged.
    """
    arrays = read(name, prepare(name))
    _, height, width, channels = arrays.x_test.shape
    wanted = model.preprocessing.output_shape
    if build_preprocessing(model.config.data, (channels, height, width)).output_shape != wanted:
        raise InvalidInput(
            f"the images of {name} are {channels} × {height} × {width}, but the network takes "
            f"{' × '.join(map(str, wanted))}: choose a data set of that size"
        )
    if len(arrays.classes) != len(model.classes):
        raise InvalidInput(
            f"{name} has {len(arrays.classes)} classes, but the network knows {len(model.classes)}: "
            "choose a data set with as many"
        )
    pixels = torch.from_numpy(arrays.x_test).permute(0, 3, 1, 2)  # (n, channels, height, width)
    images = Images(pixels.to(device).contiguous(), torch.from_numpy(arrays.y_test).to(device))
    return EvaluationData(images, arrays.classes, arrays.fingerprint())


def trained_setting(config: Config) -> Setting:
    """How a network of `config` was solved when it was trained; without effect on a ResNet."""
    return Setting(config.solver, config.model.final_time)


def reevaluate(
    model: TrainedModel,
    images: Images,
    settings: Sequence[Setting],
    progress: Callable[[int], None] | None = None,
    answered: Callable[[Setting, Predictions], None] | None = None,
) -> Iterator[Row]:
    """One row a setting, each as soon as it is known, in the precision and the batch size of the training's test.

    Args:
        settings: that of the training first, which the others are compared with.
        progress: called after each batch with the number of images in it.
        answered: called with the predictions behind each row of a solve that did not fail.
    """
    reference: Predictions | None = None
    for position, setting in enumerate(settings):
        row = _described(setting, model.network, trained=position == 0)
        try:
            predictions, seconds = _timed_predictions(model, images, setting, progress)
        except SolverFailure as failure:
            yield replace(row, status=str(failure.status), failure=str(failure))
            continue
        if not np.isfinite(predictions.logits).all():
            yield replace(row, status=str(Status.DIVERGED), failure="the network's outputs are not finite")
            continue
        if position == 0:
            reference = predictions
        if answered is not None:
            answered(setting, predictions)
        yield _scored(row, predictions, seconds, reference)


def class_probabilities(model: TrainedModel, pixels: Tensor) -> FloatArray:
    """The probability of each class for each image, shape (n, classes), under the setting of the training.

    Args:
        pixels: uint8, shape (n, channels, height, width), as the network takes them, on its device.

    Raises:
        SolverFailure: the solve could not reach its end time.
    """
    unlabelled = Images(pixels, torch.zeros(len(pixels), dtype=torch.int64, device=pixels.device))
    with numerics(model.config.training, pixels.device):
        return predict(model.network, unlabelled, model.preprocessing, model.config.evaluation.batch_size).probabilities


@contextmanager
def solved_with(network: Network, setting: Setting) -> Iterator[None]:
    """Within it every ODE block of `network` is solved as `setting` says."""
    blocks = network.ode_blocks()
    before = [(block.solver, block.final_time) for block in blocks]
    for block in blocks:
        block.solver, block.final_time = setting.solver, setting.final_time
    try:
        yield
    finally:
        for block, (solver, final_time) in zip(blocks, before, strict=True):
            block.solver, block.final_time = solver, final_time


def solver_dependence(rows: Sequence[Row], images: int) -> str | None:
    """A warning where the accuracy depends on the solver of the training, or may do so unseen; None otherwise.

    It depends on it where a setting that is at least as fine moves the accuracy by more than twice its binomial
    standard error. At least as fine: the same final time, an order of at least the training's, and at least as many
    steps (both fixed), at most its tolerances (both adaptive), or at least as many evaluations (one of each).
    Unseen: the training took Euler's method or a single step, and no setting here is at least as fine.

    Args:
        rows: that of the training first.
        images: how many the accuracies are over.

    Source: the phenomenon is that of Ott et al. 2021, ResNet After All: Neural ODEs and Their Numerical Solution; the
    threshold is ours.
    """
    trained, others = rows[0], rows[1:]
    if trained.method is None or trained.accuracy is None:
        return None
    finer = {row.label: row.accuracy for row in others if row.accuracy is not None and _at_least_as_fine(row, trained)}
    coarse = trained.method == "euler" or trained.steps == 1
    if not finer and coarse:
        return (
            f"the network was trained with {trained.label}, hardly finer than a residual block, and no setting here is "
            "as fine: its accuracy may depend on that solver (Ott et al. 2021), so evaluate a finer one, too"
        )
    if not finer:
        return None
    baseline = trained.accuracy
    standard_error = sqrt(baseline * (1 - baseline) / images)
    label, accuracy = max(finer.items(), key=lambda item: abs(item[1] - baseline))
    if abs(accuracy - baseline) <= 2 * standard_error:
        return None
    return (
        f"the accuracy depends on the solver of the training: {baseline:.2%} with {trained.label}, but {accuracy:.2%} "
        f"with {label}, further apart than twice the standard error of {standard_error:.2%}; the network has learnt "
        "its solver's steps rather than an ODE (Ott et al. 2021): keep that solver, or train with a finer one"
    )


def _at_least_as_fine(row: Row, trained: Row) -> bool:
    if row.method is None or trained.method is None or row.final_time != trained.final_time:
        return False
    if ORDERS[row.method] < ORDERS[trained.method]:
        return False
    if row.steps is not None and trained.steps is not None:
        return row.steps >= trained.steps
    if row.rtol is not None and row.atol is not None and trained.rtol is not None and trained.atol is not None:
        return row.rtol <= trained.rtol and row.atol <= trained.atol
    return (row.nfe_forward or 0) >= (trained.nfe_forward or 0)


def _timed_predictions(
    model: TrainedModel, images: Images, setting: Setting, progress: Callable[[int], None] | None
) -> tuple[Predictions, float]:
    """The predictions and the seconds that they took."""
    batch_size = model.config.evaluation.batch_size
    warm_up = Images(images.pixels[:batch_size], images.labels[:batch_size])
    with numerics(model.config.training, images.pixels.device), solved_with(model.network, setting):
        predict(model.network, warm_up, model.preprocessing, batch_size)
        started = time.perf_counter()
        predictions = predict(model.network, images, model.preprocessing, batch_size, progress)
        return predictions, time.perf_counter() - started


def _described(setting: Setting, network: Network, trained: bool) -> Row:
    """The row of a setting, without results yet."""
    if not network.ode_blocks():
        return Row(None, None, None, None, None, trained, str(Status.COMPLETED))
    return Row(**setting.to_dict(), trained=trained, status=str(Status.COMPLETED))


def _scored(row: Row, predictions: Predictions, seconds: float, reference: Predictions | None) -> Row:
    predicted = predictions.logits.argmax(axis=1)
    loss = functional.cross_entropy(torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels))
    nfe = predictions.nfe_per_batch
    return replace(
        row,
        accuracy=float((predicted == predictions.labels).mean()),
        loss=float(loss),
        nfe_forward=float(np.mean(nfe)) if nfe else None,
        nfe_per_image=predictions.nfe_spread,
        milliseconds_per_image=1000 * seconds / len(predicted),
        changed=None if reference is None else float((predicted != reference.logits.argmax(axis=1)).mean()),
    )
