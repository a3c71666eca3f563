"""Runs as tables on a terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from pipeline.config.display_names import data_name, model_name
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.terminal import styled
from pipeline.reporting.text_table import NOTHING, left, list_table, right, shown
from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.readable import is_foreign
from pipeline.tracking.run_document import (
    RunInfo,
    RunStatus,
    aware,
    is_of_task,
    is_sweep,
    result_spec,
    space_name,
    task_of,
    test_specs,
)
from pipeline.util.nested import flatten

if TYPE_CHECKING:  # these import torch, which takes seconds and a list of runs does not need
    from pipeline.data import DataSetStatus
    from pipeline.models.describe import Description

LAST = ("solver.nfe_forward", "solver.nfe_backward", "time.epoch_seconds")


@dataclass(frozen=True)
class RunSummary:
    """A run in a few plain values; what it has not come to yet is None."""

    run_id: Any
    status: RunStatus
    task: str
    model: str
    """Of a sweep `sweep`; of an experiment that is of no task its name."""
    data: str
    """Of a sweep its space."""
    seed: int | None
    results: Mapping[MetricSpec, float | None]
    """Metric of the test split -> its value; of a sweep the mean result of its best configuration on fresh seeds."""
    parameters: int | None
    nfe_forward: float | None
    nfe_backward: float | None
    epochs: int | None
    epoch_seconds: float | None
    started: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: each metric of the test split by its own name, as `accuracy`."""
        values = vars(self) | {"status": self.status.value}
        del values["results"]
        return values | {spec.quantity: value for spec, value in self.results.items()}


def summary(document: Mapping[str, Any], last: Mapping[str, float]) -> RunSummary:
    """A run's document in a few plain values.

    Args:
        last: metric -> its last value.
    """
    info, config = RunInfo.read(document), document["config"]
    results: dict[MetricSpec, float | None] = {}
    if not is_foreign(document):
        results = {spec: info.test.get(spec.quantity) for spec in test_specs(document)}
    names = {"model": model_name(config.get("model")), "data": data_name(config.get("data"))}
    if is_sweep(document):
        names = {"model": "sweep", "data": space_name(config)}
    elif not is_of_task(document):
        names = {"model": task_of(document), "data": NOTHING}
    result = document.get("result")
    if isinstance(result, int | float) and results.get(result_spec(document)) is None:
        results |= {result_spec(document): result}
    return RunSummary(
        run_id=document["_id"],
        status=effective_status(document),
        task=task_of(document),
        **names,
        seed=config.get("seed"),
        results=results,
        parameters=info.parameters,
        nfe_forward=last.get("solver.nfe_forward"),
        nfe_backward=last.get("solver.nfe_backward"),
        epochs=info.epochs,
        epoch_seconds=info.epoch_seconds or last.get("time.epoch_seconds"),
        started=aware(document["start_time"]).isoformat(timespec="seconds"),
    )


def summaries(runs: Runs, found: Sequence[StoredRun]) -> list[RunSummary]:
    """One `summary` a run."""
    last = runs.last_values(found, LAST)
    return [summary(run.document, last[run.run_id]) for run in found]


def last_values(metrics: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, float]:
    """Metric -> its last value, of series given as `Record.metrics` and `StoredRun.points` give them."""
    return {name: series["values"][-1] for name, series in metrics.items() if series["values"]}


def runs_table(rows: Sequence[RunSummary], width: int | None = None) -> Table:
    """One line a run, with a column for each metric of the test split that one of them has.

    Args:
        width: of the terminal. Metrics that it has no room for are left out, and named below the table; the first one
            of a run never is.
    """
    results, left_out = _result_columns(rows), list[str]()
    first = {_kind(next(iter(row.results))) for row in rows if row.results}
    for kind in [kind for kind in reversed(results) if kind not in first]:
        if width is None or _least_width(rows, results) <= width:
            break
        left_out.insert(0, results.pop(kind))
    names = [Column("model", min_width=len("ODE-Net")), Column("data", overflow="fold")]
    table = list_table([*left("run", "status"), *names, *right(*results.values(), *_COSTS)])
    if left_out:
        table.caption, table.caption_justify = f"{', '.join(left_out)}: in a wider terminal, or with --json", "left"
    for row in rows:
        table.add_row(str(row.run_id), row.status.value, row.model, row.data, *_numbers(row, results))
    return table


_COSTS = ("params", "NFE", "epochs", "s/epoch")


def _numbers(row: RunSummary, results: "Mapping[Kind, str]") -> list[str]:
    """The cells behind model and data."""
    values = {_kind(spec): shown(value, spec.format) for spec, value in row.results.items()}
    return [
        *(values.get(kind, NOTHING) for kind in results),
        shown(row.parameters, ","),
        _evaluations(row),
        shown(row.epochs, "d"),
        shown(row.epoch_seconds, ".1f"),
    ]


def _least_width(rows: Sequence[RunSummary], results: "Mapping[Kind, str]") -> int:
    """Characters that a line needs at least: `ODE-Net` for the model, and as much for the data."""
    lines = [["run", "status", *results.values(), *_COSTS]]
    lines += [[str(row.run_id), row.status.value, *_numbers(row, results)] for row in rows]
    return sum(max(map(len, cells)) + 1 for cells in zip(*lines, strict=True)) + 2 * (len("ODE-Net") + 1)


Kind = tuple[str, str, str, str]


def _kind(spec: MetricSpec) -> Kind:
    """What has to be the same of two metrics that share a column."""
    return spec.name, spec.heading, spec.unit, spec.format


def _result_columns(rows: Sequence[RunSummary]) -> dict[Kind, str]:
    """The columns of results and their headings; those that would be called the same have their tasks' names."""
    tasks = {_kind(spec): row.task for row in reversed(rows) for spec in row.results}
    specs = [spec for row in rows for spec in row.results] or test_specs({})
    columns = list(dict.fromkeys(map(_kind, specs)))
    headings = Counter(heading for _, heading, *_ in columns)
    return {column: column[1] if headings[column[1]] == 1 else f"{tasks[column]} {column[1]}" for column in columns}


def print_run(run: StoredRun, console: Console) -> None:
    """A run: its summary, its whole configuration, its last metrics, its artifacts."""
    last = last_values(run.points())
    console.print(runs_table([summary(run.document, last)], console.width))
    console.print(_pairs("configuration", flatten(run.config)))
    console.print(_pairs("last values", last))
    hidden = ("metrics", "sweep") if is_sweep(run.document) else ("metrics",)
    console.print(_pairs("facts", flatten({key: value for key, value in run.info.items() if key not in hidden})))
    console.print(styled(("artifacts", "bold"), f": {', '.join(run.artifacts) or 'none'}"))
    if plugins := run.document["experiment"].get("plugins"):
        named = ", ".join(f"{plugin['name']} ({plugin['spec']})" for plugin in plugins)
        console.print(styled(("plug-ins", "bold"), f": {named}"), soft_wrap=True)
    if is_sweep(run.document):
        console.print(f"`odenet sweeps show {run.run_id}` tells of its trials", highlight=False)
    trace = run.document.get("fail_trace")
    if trace:
        console.print(styled(("ended by", "bold red"), f": {trace[-1].strip()}"))


def print_description(description: "Description", console: Console) -> None:
    """A network's layers and totals."""
    table = Table("layer", "kind", "output", *right("parameters", "multiply-adds"), header_style="bold")
    for layer in description.layers:
        output = " × ".join(map(str, layer.output))
        table.add_row(layer.name, layer.kind, output, f"{layer.parameters:,}", f"{layer.multiply_adds:,}")
    console.print(table)
    outside = f"{description.parameters_outside_linear:,} outside the linear layer"
    console.print(f"parameters: {description.parameters:,}, of them {outside}", highlight=False)
    counted, per_evaluation = f"{description.multiply_adds:,}", description.multiply_adds_per_evaluation
    if per_evaluation is not None:
        rest = description.multiply_adds - per_evaluation
        counted = f"{per_evaluation:,} per evaluation of the field, {rest:,} for the rest"
    console.print(f"multiply-adds per image: {counted}", highlight=False)


def data_sets_table(statuses: "Sequence[DataSetStatus]") -> Table:
    """One line a data set."""
    headings = ("data set", "task", "present", "training + test, size", "where or what to do")
    table = Table(*(Column(heading, overflow="fold") for heading in headings), header_style="bold")
    for status in statuses:
        where = (
            f"{status.where} ({status.note})" if status.present and status.note else status.note or str(status.where)
        )
        table.add_row(status.name, status.task, "yes" if status.present else "no", status.images, where)
    return table


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    for key, value in values.items():
        table.add_row(key, f"{value:.6g}" if isinstance(value, float) else str(value))
    return table


def _evaluations(row: RunSummary) -> str:
    backward = f" + {row.nfe_backward:.1f}" if row.nfe_backward is not None else ""
    return shown(row.nfe_forward, ".1f") + backward
