"""A run, a network, the data sets, as tables on a terminal."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from pipeline.reporting.terminal import styled
from pipeline.reporting.text_table import right
from pipeline.runs.listing import runs_table
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.summary import LAST, last_values, mean_evaluations, summary
from pipeline.tracking.run_document import MACHINE, is_sweep
from pipeline.util.nested import flatten

if TYPE_CHECKING:  # these import torch, which takes seconds and a list of runs does not need
    from pipeline.data import DataSetStatus
    from pipeline.models.describe import Description


def print_run(run: StoredRun, console: Console) -> None:
    """A run: its summary, its whole configuration, its last metrics, its artifacts."""
    points = run.points()
    last = {name: value for name, value in last_values(points).items() if not name.startswith(MACHINE)}
    steps = [points[name]["steps"][-1] for name in LAST if points.get(name, {}).get("steps")]
    console.print(runs_table([summary(run.document, last | ({"epoch": max(steps)} if steps else {}))], console.width))
    for title, text in marks(run).items():
        console.print(styled((title, "bold"), f": {text}"))
    console.print(_pairs("configuration", flatten(run.config)))
    console.print(_pairs("last values", last))
    if means := mean_evaluations(points):
        console.print(_pairs("means over the epochs", means))
    if (machine := machine_table(points)).row_count:
        console.print(machine)
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


def machine_table(points: Mapping[str, Mapping[str, list[Any]]]) -> Table:
    """How busy the machine was: a line each of its metrics; without a row for a run that has none.

    Args:
        points: as `StoredRun.points` gives them.
    """
    table = Table("the machine, as it trained", *right("mean", "largest"), box=None, header_style="bold")
    for name, series in points.items():
        values = [value for value in series["values"] if value is not None]
        if name.startswith(MACHINE) and values:
            table.add_row(name, f"{fmean(values):,.4g}", f"{max(values):,.4g}")
    return table


def marks(run: StoredRun) -> dict[str, str]:
    """What people have said of the run, and which runs belong to it; nothing that there is not."""
    row, annotations = summary(run.document, {}), run.document.get("omniboard", {})
    children = Runs(run.database).children(run.run_id)
    changed = ", ".join(f"{key}={value}" for key, value in row.changed.items())
    of_meta = run.document.get("meta", {})
    named = of_meta.get("named_configs") if isinstance(of_meta, Mapping) else None
    found = {
        "name": row.name,
        "kind": str(row.kind) if row.kind.name != "training" else None,
        "tags": ", ".join(row.tags),
        "note": annotations.get("notes"),
        "named configurations": " ".join(map(str, named)) if isinstance(named, list) else None,
        "changed": changed,
        "reruns, evaluations": ", ".join(f"{run_id} ({kind})" for run_id, kind in children),
    }
    return {title: str(text) for title, text in found.items() if text}


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
        where = f"{status.where} ({status.note})" if status.where and status.note else status.note or str(status.where)
        table.add_row(status.name, status.task, "yes" if status.present else "no", status.images, where)
    return table


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    for key, value in values.items():
        table.add_row(key, f"{value:.6g}" if isinstance(value, float) else str(value))
    return table
