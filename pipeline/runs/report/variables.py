"""What runs can be set against each other by: their settings, what describes them, and what they came to."""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.reporting.metric_spec import MetricSpec, specs_by_name
from pipeline.runs.query import StoredRun
from pipeline.runs.report.curves import Curve
from pipeline.runs.summary import RunSummary
from pipeline.tasks.cost_specs import cost_specs
from pipeline.tracking.run_document import BETWEEN_EPOCHS, is_sweep, metric_specs
from pipeline.util.printable import printable

Better = Literal["lower", "higher"] | None
Value = int | float | str | None
LONGEST_TEXT = 60
COSTS: Mapping[str, Better] = {spec.name: spec.better for spec in cost_specs()}
"""Metrics of what a training costs -> which values are better."""


@dataclass(frozen=True)
class Variable:
    """One value for each run.

    Attributes:
        name: of a setting its key; of a metric `test.accuracy`, `best validation.loss` or `last solver.nfe_forward`.
        label: what an axis is called.
        better: which values are; None where neither are, or nobody has said.
        is_share: whether it is shown in per cent.
        values: by run; None where the run has none, or no finite number.
    """

    name: str
    label: str
    kind: Literal["setting", "description", "result"]
    values: tuple[Value, ...]
    better: Better = None
    is_share: bool = False

    @property
    def varies(self) -> bool:
        """Whether two runs differ in it."""
        return len(set(self.values)) > 1


def find_variables(
    found: Sequence[StoredRun], rows: Sequence[RunSummary], curves: Sequence[Curve], first: Sequence[str] = ()
) -> list[Variable]:
    """The settings in which the runs differ, what describes them, and every result that one of them has.

    Args:
        first: settings that stand before the others.
    """
    others = [*_descriptions(rows), *_test_results(rows), *_of_epochs(found, curves), *_costs(rows)]
    taken = {one.name for one in others}
    settings = [one for one in _settings(found, taken) if one.varies]
    settings.sort(key=lambda one: list(first).index(one.name) if one.name in first else len(first))
    described = [one for one in others if one.kind == "description" and one.varies]
    results = [one for one in others if one.kind == "result" and any(value is not None for value in one.values)]
    return [*settings, *described, *results]


def text_of(value: Any) -> str:
    """A stored value as a page shows it: short, in one line, without what would steer a reader's machine."""
    is_list = isinstance(value, list | Mapping)
    text = json.dumps(value, default=str) if is_list else str(value)
    text = " ".join(printable(text).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _settings(found: Sequence[StoredRun], taken: Collection[str]) -> list[Variable]:
    """Every key; one whose name is `taken`, as `model` of a script's own configuration, begins with `config.`."""
    configs = [{} if is_sweep(run.document) else run.whole_config for run in found]  # whose trials have them
    names = {key: text_of(f"config.{key}" if key in taken else key) for config in configs for key in config}
    return [
        Variable(name, name, "setting", tuple(_plain(config.get(key)) for config in configs))
        for key, name in names.items()
    ]


def _descriptions(rows: Sequence[RunSummary]) -> list[Variable]:
    of: Mapping[str, Callable[[RunSummary], str | None]] = {
        "task": lambda row: row.task,
        "model": lambda row: row.model,
        "data": lambda row: row.data,
        "status": lambda row: row.status.value,
        "kind": lambda row: str(row.kind),
        "tags": lambda row: ", ".join(row.tags) or None,
    }
    return [Variable(name, name, "description", tuple(_plain(tell(row)) for row in rows)) for name, tell in of.items()]


def _test_results(rows: Sequence[RunSummary]) -> list[Variable]:
    specs, mixed = specs_by_name(spec for row in reversed(rows) for spec in row.results)
    by_name = [{spec.name: value for spec, value in row.results.items()} for row in rows]
    return [
        Variable(
            text_of(name),
            text_of(f"{spec.split} {spec.label}"),
            "result",
            tuple(_number(values.get(name)) for values in by_name),
            None if name in mixed else spec.better,
            spec.is_share,
        )
        for name, spec in specs.items()
    ]


def _of_epochs(found: Sequence[StoredRun], curves: Sequence[Curve]) -> list[Variable]:
    """Of a metric whose better values are known the best of all epochs, of another one the last."""
    specs, mixed = specs_by_name(spec for run in found for spec in metric_specs(run.document))
    names = list(dict.fromkeys([*specs, *COSTS, *sorted({curve.metric for curve in curves})]))
    by_metric: dict[str, dict[Any, Curve]] = {}
    for curve in curves:
        by_metric.setdefault(curve.metric, {})[curve.run_id] = curve
    variables = [
        _of_metric(name, specs.get(name), [by_metric[name].get(run.run_id) for run in found])
        for name in names
        if name in by_metric and not name.startswith(BETWEEN_EPOCHS)
    ]
    unlike = {f"{which} {text_of(name)}" for name in mixed for which in ("best", "last")}
    return [replace(one, better=None) if one.name in unlike else one for one in variables]


def _of_metric(name: str, spec: MetricSpec | None, curves: Sequence[Curve | None]) -> Variable:
    label = name if spec is None else f"{spec.split} {spec.label}"
    which = "last" if spec is None or spec.better is None else "best"
    field = "last" if which == "last" or spec is None else {"lower": "lowest", "higher": "highest"}[str(spec.better)]
    return Variable(
        text_of(f"{which} {name}"),
        text_of(f"{label}, {which}"),
        "result",
        tuple(None if curve is None else getattr(curve, field) for curve in curves),
        COSTS.get(name) if spec is None else spec.better,
        spec is not None and spec.is_share,
    )


def _costs(rows: Sequence[RunSummary]) -> list[Variable]:
    of: Mapping[str, tuple[Callable[[RunSummary], Any], Better]] = {
        "parameters": (lambda row: row.parameters, "lower"),
        "epochs": (lambda row: row.epochs, None),
        "seconds": (lambda row: row.seconds, "lower"),
    }
    return [
        Variable(name, name, "result", tuple(_number(tell(row)) for row in rows), better)
        for name, (tell, better) in of.items()
    ]


def _number(value: Any) -> int | float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def _plain(value: Any) -> Value:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text_of(value)
