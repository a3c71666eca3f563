"""How a part is registered: one decorator a kind."""

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from weakref import WeakSet

from pipeline.plugins.registry import NOT_TASKS, Kind, PluginError, place_of, register
from pipeline.util.errors import brief
from pipeline.util.nested import nest_keys

Build = TypeVar("Build")
_RECORDED_ALREADY = (
    *("loss", "lr", "clipped_share", "images", "nfe_forward", "nfe_per_image"),
    *("kinetic", "jacobian", "curvature"),
)
"""Beside the metrics of a split."""
_WITHOUT_METRICS = ("density", "trajectories")
"""Tasks whose metrics are all their own."""
STEPS_PER_EPOCH = "steps_per_epoch"
"""The argument of a schedule that is stepped after every step of the optimiser."""


def model(name: str, task: str = "classification") -> Callable[[Build], Build]:
    """A function `(input_shape, outputs, solver, *, options) -> nn.Module`.

    Args of the function:
        input_shape: of one input without the batch, as (channels, height, width).
        outputs: how many numbers the module gives for an input, as classes.
        solver: the `SolverConfig` of the run, for `ODEBlock(field, final_time, solver)`.
        config: where the function has it, the `ModelConfig` with the settings that the papers' networks share.
    """
    return _registering("model", name, ("input_shape", "outputs", "solver"), reserved=("config",), task=task)


def field(name: str, task: str = "classification") -> Callable[[Build], Build]:
    """A function, or a class of modules, `(channels, *, options) -> nn.Module` whose module computes dz/dt = f(t, z).

    For classification z has the shape (batch, channels, height, width). The field becomes an ODE block between the stem
    and the head of the simple architecture, or several of them with `model.blocks`; with `model.body=resnet` a residual
    block. For series z is a latent state, shape (batch, latent), and `channels` is `latent`; the field becomes that
    of a latent ODE.
    """
    return _registering("field", name, ("channels",), task=task)


def encoder(name: str) -> Callable[[Build], Build]:
    """A function, or a class of modules, `(dimensions, latent, *, options) -> nn.Module` for latent ODEs of series.

    The module is called with a `pipeline.series.SeriesBatch` and the unit of time, and gives the posterior of the
    latent state at the start of each series, a `pipeline.series.Posterior`.

    Args of the function:
        dimensions: values at a time.
        latent: dimensions of the latent state.
        config: where the function has it, the `SeriesConfig` of the run.
    """
    return _registering("encoder", name, ("dimensions", "latent"), reserved=("config",))


def decoder(name: str) -> Callable[[Build], Build]:
    """A function, or a class of modules, `(latent, dimensions, *, options) -> nn.Module` for models of series.

    The module makes the values at a time, shape (…, dimensions), of a state, shape (…, latent).

    Args of the function:
        config: where the function has it, the `SeriesConfig` of the run.
    """
    return _registering("decoder", name, ("latent", "dimensions"), reserved=("config",))


def data_set(
    name: str,
    task: str = "classification",
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    summary: str = "",
    origin: str = "",
    where: Callable[[], Path | None] | None = None,
) -> Callable[[Build], Build]:
    """A function `(*, options) -> dict` of the arrays that the task takes.

    For classification `x_train`, `y_train`, `x_test`, `y_test` (uint8 images, n × height × width or
    n × height × width × channels; labels from 0) and, if their names matter, `classes`. For series `series`, `time` and
    `values`, a row for each time of each series: see `pipeline.data.series_set.from_mapping`.

    Args:
        shape, classes: of the network's input, where it is known without the data.
        summary: number and size of the items, for `odenet data list`.
        origin: where the data are from; for files that are missing, how they are had.
        where: the file or folder that they are read from, None while it is missing; left out for data that need none.
    """
    return _registering(
        "data set", name, task=task, shape=shape, classes=classes, summary=summary, origin=origin, where=where
    )


def metric(
    name: str,
    *,
    heading: str | None = None,
    says: str = "",
    unit: str = "",
    format: str = ".4f",
    better: Literal["lower", "higher"] | None = None,
    per: Literal["item", "split"] = "split",
    task: str = "classification",
) -> Callable[[Build], Build]:
    """A function `(outputs, targets) -> Tensor`; for classification of scores (n, classes) and labels (n,).

    It is recorded as `validation.NAME` after every epoch, which a search may choose by if `better` says how, and as
    `test.NAME`.

    Args:
        heading, says, unit, format, better: see `pipeline.reporting.metric_spec.MetricSpec`.
        per: `item`: the function gives a value for every item, shape (n,), whose mean is the metric, and
            `training.NAME` is recorded too. `split`: it gives one number for all items of the split together.

    Raises:
        PluginError: another `better` or `per`, a format of no float, or a task that takes none.
    """
    _refuse_unusable(f"the metric {name}", better, format)
    if per not in ("item", "split"):
        raise PluginError(f"the metric {name} has per={per!r}: give item or split")
    if per == "item" and task == "series":
        raise PluginError(f"the metric {name} has per='item', which series do not have: leave it out")
    if task in _WITHOUT_METRICS:
        raise PluginError(f"the metric {name} is of the task {task}, which takes none of plug-ins: leave it out")
    return _registering(
        "metric",
        name,
        ("outputs", "targets"),
        task=task,
        heading=heading or name.replace("_", " "),
        says=says or name.replace("_", " "),
        unit=unit,
        format=format,
        better=better,
        per=per,
    )


def optimiser(name: str) -> Callable[[Build], Build]:
    """A function `(parameters, lr, weight_decay, *, options) -> torch.optim.Optimizer`.

    Args of the function:
        momentum: where the function has it, `training.momentum`, which has a default of its own.
    """
    return _registering("optimiser", name, ("parameters", "lr", "weight_decay"), reserved=("momentum",))


def schedule(name: str) -> Callable[[Build], Build]:
    """A function `(optimiser, max_epochs, *, options) -> LRScheduler`, which is stepped once an epoch.

    A `ReduceLROnPlateau` is stepped with the epoch's validation loss.

    Args of the function:
        steps_per_epoch: where the function has it, the optimiser's steps; the schedule is then stepped after each.
    """
    return _registering("schedule", name, ("optimiser", "max_epochs"), reserved=(STEPS_PER_EPOCH,))


def callback(name: str) -> Callable[[Build], Build]:
    """A function, or a subclass of `pipeline.training.Callback`, `(*, options) -> Callback`.

    It hears of the trainings whose `training.callbacks` names it.
    """
    return _registering("callback", name)


def named_config(name: str, values: Mapping[str, Any]) -> None:
    """A named configuration: sections with what they set, `{"model": {"channels": 16}}`, or `{"model.channels": 16}`.

    Raises:
        PluginError: the values are none of a configuration.
    """
    caller = sys._getframe(1)
    where, module = f"{caller.f_code.co_filename}:{caller.f_lineno}", str(caller.f_globals.get("__name__"))
    if not isinstance(values, Mapping) or not all(isinstance(key, str) and all(key.split(".")) for key in values):
        raise PluginError(
            f"{where}: the named configuration {name} is {brief(values)}: give sections with what they set, as "
            '{"model": {"channels": 16}}'
        )
    register("named configuration", name, nest_keys(values), place=(where, module))


def task(name: str) -> Callable[[Build], Build]:
    """A subclass of `pipeline.tasks.base.Task`: a kind of experiment. It gets the attribute `name`.

    Sections of its `config` that say no task choose from the parts of this one.

    Raises:
        PluginError: something is missing, its `result` is no metric of the test split, or a metric cannot be shown.
    """

    def enter(build: Build) -> Build:
        where, _ = place_of(build)
        missing = [*getattr(build, "__abstractmethods__", ())]
        missing += [attribute for attribute in ("config", "result", "metric_specs") if not hasattr(build, attribute)]
        if missing:
            raise PluginError(
                f"{where}: the task {name} has no {', '.join(sorted(set(missing)))}: derive it from "
                "pipeline.tasks.base.Task, and write what is missing"
            )
        if name in NOT_TASKS:
            raise PluginError(f"{where}: runs that train nothing are called {name}; choose another name for the task")
        build.name = name  # type: ignore[attr-defined]
        if not _comes_along(build):
            _refuse_wrong_metrics(build, name, where)
        register("task", name, build)
        for section in build.config.sections().values():  # type: ignore[attr-defined]
            if not _comes_along(section):
                _let_choose_from(section, name)
        return build

    return enter


def _comes_along(build: Any) -> bool:
    return str(build.__module__).startswith("pipeline.")


def _refuse_wrong_metrics(task: Any, name: str, where: str) -> None:
    """Refuse what would fail after a training: a result that no metric is, and metrics that cannot be shown."""
    specs = task.metric_specs()
    for spec in specs:
        _refuse_unusable(f"{where}: the metric {spec.name} of the task {name}", spec.better, spec.format)
    tested = [spec.name for spec in specs if spec.name.startswith("test.")]
    if task.result not in tested:
        raise PluginError(
            f"{where}: the task {name} has the result {task.result}, and its metrics of the test split are "
            f"{', '.join(tested) or 'none'}: name one of them"
        )


def _refuse_unusable(metric: str, better: object, format: Any) -> None:
    if better not in ("lower", "higher", None):
        raise PluginError(f"{metric} has better={better!r}: give lower, higher or None")
    try:
        builtins.format(1.0, format)
    except (ValueError, TypeError):
        raise PluginError(f"{metric} has format={format!r}: give one of a float, as .3f or .0f") from None


_given: WeakSet[type] = WeakSet()
"""Sections of plug-ins that were given a task, as they say none."""


def _let_choose_from(section: Any, task: str) -> None:
    """Let a plug-in's section that says no task choose from the parts of `task`; one that several have, from any."""
    says = next(one for one in section.__mro__ if "task" in vars(one))
    if says.task is None or says in _given:
        is_shared = says is section and says.task != task
        section.task = None if is_shared else task
        _given.add(section)


def _registering(
    kind: Kind, name: str, takes: Sequence[str] = (), reserved: tuple[str, ...] = (), **facts: Any
) -> Callable[[Build], Build]:
    def enter(build: Build) -> Build:
        if kind == "metric" and name in _RECORDED_ALREADY:
            raise PluginError(f"{place_of(build)[0]}: the metric {name} is recorded already; choose another name")
        register(kind, name, build, takes, reserved, **facts)
        return build

    return enter
