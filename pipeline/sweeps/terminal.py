"""Sweeps on a terminal, and as plain values."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.reporting.text_table import shown, terminal_table
from pipeline.sweeps.state import PRUNED, mean_and_deviation
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.tables import best_table, checks_table, failures_table
from pipeline.sweeps.text import (
    cautions,
    conditions,
    headline,
    last_names,
    memory,
    outcome_text,
    shell_command,
    subtitle,
    suggestion_text,
    value_text,
)
from pipeline.tracking.run_document import effective_status, space_name
from pipeline.util.errors import OdenetError


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep's run in a few plain values; those of a sweep that cannot be read are None."""
    row: dict[str, Any] = {
        "sweep_id": document["_id"],
        "status": effective_status(document).value,
        "space": space_name(document["config"]),
        **dict.fromkeys(("over", "trials", "failed", "pruned", "metric", "best_value", "best_run_id")),
        "accuracy": document.get("result"),
        "started": document["start_time"].isoformat(timespec="seconds"),
    }
    with suppress(OdenetError):
        sweep = Sweep.from_document(document)
        best, state = sweep.best, sweep.state
        row |= {
            "over": len(state.over()),
            "trials": sweep.trials,
            "failed": sum(state.failures().values()),
            "pruned": state.counts().get(PRUNED, 0),
            "metric": sweep.space.metric,
            "best_value": best.value if best else None,
            "best_run_id": best.run_id if best else None,
        }
    return row


def sweeps_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a sweep, as `summary` gives them."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("sweep", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("space", overflow="fold", min_width=len("simple_digits"))
    for heading in ("over", "failed", "pruned", "best", "run", "test"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("started", no_wrap=True)
    for row in rows:
        form = ".2%" if row["metric"] == "validation.accuracy" else ".4f"
        table.add_row(
            str(row["sweep_id"]),
            row["status"],
            escape(row["space"]),
            f"{shown(row['over'])}/{shown(row['trials'])}",
            shown(row["failed"]),
            shown(row["pruned"]),
            shown(row["best_value"], form),
            shown(row["best_run_id"]),
            shown(row["accuracy"], ".2%"),
            row["started"][:10],
        )
    return table


def print_sweep(sweep: Sweep, console: Console) -> None:
    """Everything on a terminal."""
    console.print(f"[bold]{escape(headline(sweep))}[/]", highlight=False)
    console.print(subtitle(sweep), highlight=False, markup=False)
    for sentence in cautions(sweep):
        console.print(f"[yellow]•[/] {escape(sentence)}", highlight=False)
    console.print(_trials_table(sweep))
    for table in (failures_table(sweep), checks_table(sweep), best_table(sweep)):
        console.print()
        if table.rows:
            console.print(terminal_table(replace(table, note=None)))
        else:
            console.print(f"[bold]{table.title}[/]")
        if table.note:
            console.print(table.note, highlight=False, markup=False)
    if sweep.best is not None:
        console.print(f"\n{shell_command(sweep.command())}", highlight=False, markup=False, soft_wrap=True)
    console.print()
    for line in [*conditions(sweep), *memory(sweep)]:
        console.print(line, highlight=False, markup=False)


def _trials_table(sweep: Sweep) -> Table:
    """One line a trial; the suggestion as wide as there is room."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading, justify in (("trial", "right"), ("run", "right"), ("outcome", "left"), ("value", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for heading in ("epochs", "s", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("suggestion", overflow="fold")
    for trial in sweep.state.trials.values():
        table.add_row(
            str(trial.number),
            shown(trial.run_id),
            outcome_text(trial),
            value_text(sweep.space, trial.value),
            str(trial.epochs),
            shown(trial.seconds, ",.0f"),
            shown(trial.peak_memory_mb, ",.0f"),
            escape(suggestion_text(last_names(trial.suggestion))),
            style="bold" if trial == sweep.best else None,
        )
    return table


def to_dict(sweep: Sweep) -> dict[str, Any]:
    """Everything as plain values."""
    accuracies = [check.accuracy for check in sweep.checked if check.accuracy is not None]
    mean, deviation = mean_and_deviation(accuracies) if accuracies else (None, None)
    best = sweep.best
    return {
        "sweep_id": sweep.sweep_id,
        "status": sweep.status.value,
        "space": sweep.space.text,
        "metric": sweep.space.metric,
        "mode": sweep.space.mode,
        "config": dict(sweep.config),
        "counts": sweep.state.counts(),
        "best": asdict(best) if best else None,
        "command": sweep.command() or None,
        "checks": [asdict(check) for check in sweep.state.checks],
        "accuracy": mean,
        "accuracy_deviation": deviation,
        "cautions": cautions(sweep),
        "trials": [asdict(trial) for trial in sweep.state.trials.values()],
        "started": sweep.started,
        "seconds": sweep.seconds,
        "machine": sweep.machine,
        "software": sweep.software,
    }
