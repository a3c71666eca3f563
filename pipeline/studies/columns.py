"""What a study reads from its runs: quantities of a comparison, a point of a metric's series, how the run ended.

| name | what it is |
|---|---|
| `X` | the task's metric `test.X`, as `accuracy` and `loss` |
| `parameters`, `multiply_adds_test`, `nfe_test`, `nfe_forward`, `epoch_seconds`, … | as in comparisons |
| `solver.nfe_backward`, `validation.loss`, … | a metric over epochs; `at` says which epoch |
| `graph_nodes`, `step_seconds`, `step_memory_mb`, … | of a measured training step |
| `status` | how the runs ended |
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.comparison.quantities import COST, EPOCHS, Quantity
from pipeline.config import nearest
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.util.errors import InvalidInput, brief

At = Literal["last", "first", "best", "largest", "smallest", "mean"]
AT: tuple[At, ...] = ("last", "first", "best", "largest", "smallest", "mean")
STATUS = "status"

SAME_ON_EVERY_SEED = (
    "parameters",
    "parameters_outside_linear",
    "multiply_adds",
    "multiply_adds_per_evaluation",
    "graph_nodes",
    "graph_memory_mb",
    "step_memory_mb",
    "model_kb",
)
"""Quantities that follow from the configuration, and hardly from the first weights."""
COUNTS = ("nfe", "epochs", "rejected_steps", "graph_nodes", "parameters", "multiply_adds")
"""How the names of whole numbers begin, and of what is a multiple of them."""
MEASURED = (
    Quantity("graph_nodes", "nodes of the graph", ",.0f"),
    Quantity("graph_memory_mb", "kept for the backward pass (MB)", ",.1f"),
    Quantity("step_memory_mb", "peak memory of a step (MB)", ",.1f"),
    Quantity("step_seconds", "seconds per step", ".3f"),
    Quantity("model_kb", "weights (kB)", ",.0f"),
)
"""Of single training steps, as `pipeline.training.step_measurement` has them."""
SERIES = {
    "solver.nfe_forward": ("evaluations forward", ".1f"),
    "solver.nfe_backward": ("evaluations backward", ".1f"),
    "solver.rejected_steps": ("rejected steps", ".1f"),
    "solver.nfe_per_image": ("evaluations per sample", ".1f"),
    "solver.largest_error_ratio": ("largest error ratio", ".2f"),
    "time.epoch_seconds": ("seconds per epoch", ",.2f"),
    "time.training_seconds": ("seconds per epoch, training", ",.2f"),
    "time.images_per_second": ("training samples per second", ",.0f"),
    "memory.peak_mb": ("peak memory (MB)", ",.0f"),
    "training.lr": ("learning rate", ".2g"),
}
"""Metrics over epochs that every task has -> heading and format."""
OTHERS = (Quantity("parameters_outside_linear", "parameters outside linear layers", ",.0f"),)


@dataclass(frozen=True)
class Column:
    """One thing that is read."""

    name: str
    """As the study names it."""
    heading: str
    format: str
    """Of the shown number."""
    factor: float = 1.0
    """Shown number over stored one: 100 for shares, which are shown in per cent."""
    at: At | None = None
    """Of a metric over epochs, which of them."""
    is_exact: bool = False
    """Whether it is the same on every seed."""
    not_comparable: str | None = None
    """Why the paper's numbers of it are of something else, in a phrase."""

    @property
    def is_count(self) -> bool:
        """Whether seeds have the same by nature, as of evaluations, and not by chance, as of a share of test items."""
        return self.name.rpartition(".")[2].startswith(COUNTS)

    def text(self, value: float) -> str:
        """A shown number."""
        return format(value, self.format)


def parse_column(given: Any, metrics: Iterable[MetricSpec]) -> Column:
    """A name, or a section of one name with `heading`, `format`, `at` and `not_comparable`.

    Args:
        metrics: those of the tasks of the study's runs.

    Raises:
        InvalidInput: there is nothing of this name, or a key that a column does not have.
    """
    options: Any = {}
    name = given
    if isinstance(given, dict) and len(given) == 1:
        ((name, options),) = given.items()
    if not isinstance(name, str) or not isinstance(options, dict):
        raise InvalidInput(
            f"read has names, or sections of one name such as accuracy: {{heading: …}}, not {brief(given)}"
        )
    known = known_columns(metrics)
    if name not in known:
        raise InvalidInput(f"there is nothing to read called {brief(name)}{nearest(name, known)}")
    _refuse_unknown(name, options)
    if "at" in options and known[name].at is None:
        raise InvalidInput(f"{name} has one value a run and none over epochs: leave at out")
    return replace(known[name], **options)


def known_columns(metrics: Iterable[MetricSpec]) -> dict[str, Column]:
    """Everything that can be read, by its name."""
    specs = list(metrics)
    columns = [_of_quantity(quantity) for quantity in (*COST, EPOCHS, *OTHERS, *MEASURED)]
    columns += [Column(name, heading, form, at="last") for name, (heading, form) in SERIES.items()]
    for spec in specs:
        of_metric = _of_metric(spec)
        name = spec.quantity if spec.split == "test" else spec.name
        heading = spec.heading if spec.split == "test" else f"{spec.split} {spec.heading}"
        columns.append(replace(of_metric, name=name, heading=_in_per_cent(heading, spec), at=_default_at(spec)))
    columns.append(Column(STATUS, "ended", ""))
    return {column.name: column for column in columns}


def _default_at(spec: MetricSpec) -> At | None:
    return None if spec.split == "test" else "best"


def _of_quantity(quantity: Quantity) -> Column:
    form = quantity.form if isinstance(quantity.form, str) else ",.2f"
    factor = 1.0 if isinstance(quantity.form, str) else 1e-6  # the multiply-adds, in millions
    return Column(quantity.name, quantity.label, form, factor, is_exact=quantity.name in SAME_ON_EVERY_SEED)


def _of_metric(spec: MetricSpec) -> Column:
    if not spec.is_share:
        return Column(spec.name, spec.label, spec.format)
    return Column(spec.name, spec.label, f"{spec.format[:-1]}f", factor=100.0)


def _in_per_cent(heading: str, spec: MetricSpec) -> str:
    return f"{heading} (%)" if spec.is_share else heading


_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "heading": (lambda value: isinstance(value, str), "text"),
    "format": (lambda value: isinstance(value, str) and _formats(value), "a format such as .2f"),
    "at": (lambda value: value in AT, f"one of {', '.join(AT)}"),
    "not_comparable": (lambda value: isinstance(value, str), "a sentence"),
}


def _formats(form: str) -> bool:
    try:
        format(1.0, form)
    except ValueError:
        return False
    return True


def _refuse_unknown(name: str, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if key not in _OPTIONS:
            raise InvalidInput(f"the column {name} has the key {brief(key)}{nearest(str(key), _OPTIONS)}")
        fits, words = _OPTIONS[key]
        if not fits(value):
            raise InvalidInput(f"{key} of the column {name} must be {words}, not {brief(value)}")
