"""Runs as tables on a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.reporting.text_table import shown
from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.run_document import RunInfo, effective_status, is_sweep, space_name
from pipeline.util.nested import flatten

if TYPE_CHECKING:  # these import torch, which takes seconds and a list of runs does not need
    from pipeline.data import DataSetStatus
    from pipeline.models.describe import Description

LAST = ("solver.nfe_forward", "solver.nfe_backward", "time.epoch_seconds", "validation.accuracy")


def summary(document: Mapping[str, Any], last: Mapping[str, float]) -> dict[str, Any]:
    """A run in a few plain values; what it has not come to yet is None.

    Args:
        document: the run's document.
        last: metric -> its last value.
    """
    info = RunInfo.read(document)
    test = info.test.others
    return {
        "run_id": document["_id"],
        "status": effective_status(document).value,
        **_identity(document),
        "accuracy": document.get("result") if is_sweep(document) else test.get("accuracy"),
        "loss": test.get("loss"),
        "parameters": info.parameters.total,
        "nfe_forward": last.get("solver.nfe_forward"),
        "nfe_backward": last.get("solver.nfe_backward"),
        "epochs": info.training.epochs,
        "epoch_seconds": info.training.epoch_seconds or last.get("time.epoch_seconds"),
        "started": document["start_time"].isoformat(timespec="seconds"),
    }


def _identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """Model, data and seed, of a sweep its space; a question mark where the configuration was tampered with."""
    config = document["config"]
    if is_sweep(document):
        return {"model": "sweep", "data": space_name(config), "seed": config.get("seed")}
    try:
        data = Path(config["data"]["name"]).stem
        return {"model": model_name(config["model"]), "data": data, "seed": config["seed"]}
    except (KeyError, TypeError):
        return {"model": "?", "data": "?", "seed": None}


def summaries(runs: Runs, found: Sequence[StoredRun]) -> list[dict[str, Any]]:
    """One `summary` a run."""
    last = runs.last_values(found, LAST)
    return [summary(run.document, last[run.run_id]) for run in found]


def last_values(metrics: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, float]:
    """Metric -> its last value, of series given as `Record.metrics` and `StoredRun.points` give them."""
    return {name: series["values"][-1] for name, series in metrics.items() if series["values"]}


def model_name(model: Mapping[str, Any]) -> str:
    """The family, its architecture and its number of blocks."""
    body = {"odenet": "ODE-Net", "resnet": "ResNet"}[model["body"]]
    blocks = f" × {model['blocks']}" if model["blocks"] > 1 else ""
    return f"{model['architecture']} {body}{blocks}"


def runs_table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> Table:
    """One line a run, as `summaries` gives them."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("run", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("model", min_width=len("ODE-Net"))
    table.add_column("data", overflow="fold")
    for heading in ("accuracy", "loss", "params", "NFE", "epochs", "s/epoch"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["run_id"]),
            row["status"],
            row["model"],
            row["data"],
            shown(row["accuracy"], ".2%"),
            shown(row["loss"], ".4f"),
            shown(row["parameters"], ","),
            _evaluations(row),
            shown(row["epochs"], "d"),
            shown(row["epoch_seconds"], ".1f"),
        )
    return table


def print_run(run: StoredRun, console: Console) -> None:
    """A run: its summary, its whole configuration, its last metrics, its artifacts."""
    last = last_values(run.points())
    console.print(runs_table([summary(run.document, last)]))
    console.print(_pairs("configuration", flatten(run.config)))
    console.print(_pairs("last values", last))
    hidden = ("metrics", "sweep") if is_sweep(run.document) else ("metrics",)
    console.print(_pairs("facts", flatten({key: value for key, value in run.info.items() if key not in hidden})))
    console.print(f"[bold]artifacts[/]: {', '.join(run.artifacts) or 'none'}")
    if is_sweep(run.document):
        console.print(f"`odenet sweeps show {run.run_id}` tells of its trials", highlight=False)
    trace = run.document.get("fail_trace")
    if trace:
        console.print(f"[bold red]ended by[/]: {escape(trace[-1].strip())}", highlight=False)


def print_description(description: "Description", console: Console) -> None:
    """A network's layers and totals."""
    table = Table(header_style="bold")
    for heading in ("layer", "kind", "output"):
        table.add_column(heading)
    for heading in ("parameters", "multiply-adds"):
        table.add_column(heading, justify="right")
    for layer in description.layers:
        output = " × ".join(map(str, layer.output))
        table.add_row(layer.name, layer.kind, output, f"{layer.parameters:,}", f"{layer.multiply_adds:,}")
    console.print(table)
    outside = f"{description.parameters_outside_linear:,} outside the linear layer"
    console.print(f"parameters: {description.parameters:,}, of them {outside}", highlight=False)
    per_evaluation = description.multiply_adds_per_evaluation
    if per_evaluation is None:
        console.print(f"multiply-adds per image: {description.multiply_adds:,}", highlight=False)
    else:
        rest = description.multiply_adds - per_evaluation
        console.print(
            f"multiply-adds per image: {per_evaluation:,} per evaluation of the field, {rest:,} for the rest",
            highlight=False,
        )


def data_sets_table(statuses: "Sequence[DataSetStatus]") -> Table:
    """One line a data set."""
    table = Table(header_style="bold")
    for heading in ("data set", "present", "training + test, size", "where or what to do"):
        table.add_column(heading, overflow="fold")
    for status in statuses:
        where = f"{status.where} ({status.note})" if status.present else status.note
        table.add_row(status.name, "yes" if status.present else "no", status.images, where)
    return table


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    for key, value in values.items():
        table.add_row(key, f"{value:.6g}" if isinstance(value, float) else escape(str(value)))
    return table


def _evaluations(row: Mapping[str, Any]) -> str:
    backward = f" + {row['nfe_backward']:.1f}" if row["nfe_backward"] is not None else ""
    return shown(row["nfe_forward"], ".1f") + backward
