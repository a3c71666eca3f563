"""A trained model asked again: under other solvers, tolerances and final times, on its own or other test data."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from typing import Any

import numpy as np
from torch import nn

from pipeline.config import Config, ConfigError, NetworkConfig, SolverConfig
from pipeline.device.precision import numerics
from pipeline.methods import FIXED_STEP_METHODS
from pipeline.ode import ODEBlock, SolverFailure, Status
from pipeline.ode.counts import Solved, nfe_forward, nfe_per_sample, ode_blocks
from pipeline.tasks.base import Progress, Task, TrainedModel
from pipeline.tasks.lookup import get_task
from pipeline.tasks.plugin_metrics import plain_scores
from pipeline.util.errors import InvalidInput

REFUSED = "refused"
"""Status of a row whose setting cannot be solved with at all."""


@dataclass(frozen=True)
class Setting:
    """How a network's ODEs are solved, and up to which time."""

    solver: SolverConfig
    final_time: float | None
    """None for a model whose configuration has none."""

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
        if self.control == "sample" and all(method in FIXED_STEP_METHODS for method in self.methods):
            raise ConfigError(
                f"--control sample is for adaptive methods, and {', '.join(self.methods)} take equal steps: "
                "leave it out, or add dopri5 to --solver"
            )
        found = [trained]
        for final_time in self.final_times or (trained.final_time,):
            if final_time is not None:
                NetworkConfig(final_time=final_time)  # refuses an impossible one
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
class Listed:
    """Settings by name, where a `Grid` has them by their combinations."""

    others: tuple[Setting, ...]

    def settings(self, trained: Setting) -> list[Setting]:
        """`trained`, then every other setting once."""
        return list(dict.fromkeys([trained, *self.others]))


@dataclass(frozen=True)
class Row:
    """What a model answered under one setting; None for what a failed solve, or a model without one, has not."""

    method: str | None
    steps: int | None
    rtol: float | None
    atol: float | None
    final_time: float | None
    trained: bool
    """Whether this is the setting of the training."""
    status: str
    """`completed`, `underflow`, `step_limit` or `diverged`."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """The task's `test.X`, by X."""
    nfe_forward: float | None = None
    """Mean evaluations of the field per batch, summed over ODE blocks."""
    milliseconds_per_image: float | None = None
    """Wall time of all batches, preprocessing included, after a batch to warm up, for each item."""
    changed: float | None = None
    """Share of the items that are answered otherwise than under the setting of the training."""
    failure: str | None = None
    """Why the solve failed."""
    control: str = "batch"
    """Whether all items of a batch share their steps, or each `sample` has its own."""
    nfe_per_image: dict[str, float] | None = None
    """`mean`, `smallest` and `largest` evaluations of an item, where each has its own steps."""

    @property
    def label(self) -> str:
        """'euler, 4 steps' or 'dopri5, tol 0.001'."""
        if self.method is None:
            return "no solver"
        if self.steps is not None:
            return f"{self.method}, {self.steps} step{'' if self.steps == 1 else 's'}"
        tolerance = f"{self.rtol:g}" if self.rtol == self.atol else f"{self.rtol:g} and {self.atol:g}"
        return f"{self.method}, tol {tolerance}{', by sample' if self.control == 'sample' else ''}"

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: the scores among the other entries."""
        values = asdict(self)
        scores: dict[str, Any] = values.pop("scores")
        return values | scores

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Row":
        """What `to_dict` gave."""
        own = {f.name for f in fields(cls)}
        scores = {name: value for name, value in values.items() if name not in own}
        return cls(**{name: value for name, value in values.items() if name in own}, scores=scores)


def grid_of(task_name: str) -> Mapping[str, Any]:
    """What a `Grid` has for a task where nobody says otherwise."""
    return dict(get_task(task_name).grid)


def trained_setting(task: Task[Any, Any, Any], config: Config) -> Setting:
    """How a model of `config` was solved when its run tested it; without effect on one that solves nothing."""
    return Setting(task.test_solver(config), task.final_time(config))


def reevaluate(
    task: Task[Any, Any, Any],
    model: TrainedModel[Any],
    data: Any,
    settings: Sequence[Setting],
    progress: Progress = lambda _items: None,
    answered: Callable[[Setting, Any], None] = lambda _setting, _answers: None,
) -> Iterator[Row]:
    """One row a setting, each as soon as it is known, in the precision and the batch size of the training's test.

    Args:
        settings: that of the training first, which the others are compared with.
        progress: called after each batch with the number of items in it.
        answered: called with the answers behind each row of a solve that did not fail.
    """
    names = [spec.name.removeprefix("test.") for spec in task.metric_specs() if spec.name.startswith("test.")]
    reference: Any = None
    for position, setting in enumerate(settings):
        row = replace(_described(setting, model.network, trained=position == 0), scores=dict.fromkeys(names))
        try:
            answers, costs = _timed_answers(task, model, data, setting, progress)
        except SolverFailure as failure:
            yield replace(row, status=str(failure.status), failure=str(failure))
            continue
        except InvalidInput as refusal:  # the method is not one for this network
            yield replace(row, status=REFUSED, failure=str(refusal))
            continue
        scores = plain_scores(task, {**row.scores, **task.scores(answers, data)})
        # Metrics beside these may be none for reasons of their own, as of a class that the test split lacks.
        judged = [scores.get(name) for name in (task.result.removeprefix("test."), "loss")]
        if not all(score is None or isfinite(score) for score in judged):
            yield replace(row, status=str(Status.DIVERGED), failure="the network's outputs are not finite")
            continue
        if position == 0:
            reference = answers
        answered(setting, answers)
        changed = None if reference is None else task.changed(answers, reference)
        yield replace(row, scores=scores, changed=changed, **costs)


@contextmanager
def solved_with(network: nn.Module, setting: Setting) -> Iterator[None]:
    """Within it every ODE block of `network` is solved as `setting` says."""
    blocks = ode_blocks(network)
    before = [(block.solver, getattr(block, "final_time", None)) for block in blocks]
    for block in blocks:
        _solve(block, setting.solver, setting.final_time)
    try:
        yield
    finally:
        for block, (solver, final_time) in zip(blocks, before, strict=True):
            _solve(block, solver, final_time)


def _solve(block: Solved, solver: SolverConfig, final_time: float | None) -> None:
    """Let it be solved so; up to a time of its own, where it has one and none is given."""
    block.solver = solver
    if final_time is not None and isinstance(block, ODEBlock):
        block.final_time = final_time


def _timed_answers(
    task: Task[Any, Any, Any], model: TrainedModel[Any], data: Any, setting: Setting, progress: Progress
) -> tuple[Any, dict[str, Any]]:
    """The answers, and what they cost under the names of `Row`."""
    per_batch: list[int] = []
    per_item: list[int] = []

    def count(items: int) -> None:
        if (of_batch := nfe_forward(model.network)) is not None:
            per_batch.append(of_batch)
        per_item.extend(nfe_per_sample(model.network) or [])
        progress(items)

    with numerics(model.config.training, data.device), solved_with(model.network, setting):
        task.warm_up(model.network, model.config, data)
        started = time.perf_counter()
        answers = task.predict(model.network, model.config, data, count)
        seconds = time.perf_counter() - started
        answers = task.examine(answers, model.config, data)
    # Of the answers' own solves, where others follow, as for a bound.
    counts = getattr(answers, "nfe_per_batch", per_batch)
    return answers, {
        "nfe_forward": float(np.mean(counts)) if counts else None,
        "nfe_per_image": spread(getattr(answers, "nfe_per_item", per_item)),
        "milliseconds_per_image": 1000 * seconds / data.test_items,
    }


def spread(counts: Sequence[int]) -> dict[str, float] | None:
    """`mean`, `smallest` and `largest` of the evaluations per item; None where they are not known."""
    return {"mean": float(np.mean(counts)), "smallest": min(counts), "largest": max(counts)} if counts else None


def _described(setting: Setting, network: nn.Module, trained: bool) -> Row:
    """The row of a setting, without results yet."""
    if not ode_blocks(network):
        return Row(None, None, None, None, None, trained, str(Status.COMPLETED))
    return Row(**setting.to_dict(), trained=trained, status=str(Status.COMPLETED))
