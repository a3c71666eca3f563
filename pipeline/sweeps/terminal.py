"""Sweeps on a terminal, and as plain values."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from pipeline.reporting.seeds import mean_and_deviation
from pipeline.reporting.terminal import styled
from pipeline.reporting.text_table import NOTHING, left, list_table, right, shown, terminal_table
from pipeline.sweeps.state import COMPLETED, PRUNED
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.tables import best_table, checks_table, failures_table
from pipeline.sweeps.text import (
    cautions,
    conditions,
    count_violating,
    headline,
    last_names,
    measured_value,
    memory,
    outcome_text,
    subtitle,
    suggestion_text,
)
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.run_document import aware, result_spec, space_name
from pipeline.util.errors import OdenetError


@dataclass(frozen=True)
class SweepSummary:
    """A line in the list of sweeps."""

    document: Mapping[str, Any]
    sweep: Sweep | None
    """None where it cannot be read."""

    def to_dict(self) -> dict[str, Any]:
        """A few plain values; those of a sweep that cannot be read are None. The mean result has its own name."""
        row: dict[str, Any] = {
            "sweep_id": self.document["_id"],
            "status": effective_status(self.document).value,
            "space": space_name(self.document["config"]),
            **dict.fromkeys(("over", "trials", "failed", "pruned", "violating", "metric", "best_value", "best_run_id")),
            "objectives": [],
            "constraints": [],
            "front_run_ids": [],
            result_spec(self.document).quantity: self.document.get("result"),
            "started": aware(self.document["start_time"]).isoformat(timespec="seconds"),
        }
        if self.sweep is not None:
            best, state = self.sweep.best, self.sweep.state
            row |= {
                "over": len(state.over()),
                "trials": self.sweep.trials,
                "failed": sum(state.failures().values()),
                "pruned": state.counts().get(PRUNED, 0),
                "violating": count_violating(state),
                "objectives": [asdict(objective) for objective in self.sweep.space.goal.objectives],
                "constraints": [str(constraint) for constraint in self.sweep.space.goal.constraints],
                "front_run_ids": [trial.run_id for trial in self.sweep.front],
                "metric": self.sweep.space.metric,
                "best_value": best.value if best else None,
                "best_run_id": best.run_id if best else None,
            }
        return row


def summary(document: Mapping[str, Any]) -> SweepSummary:
    """The line of a sweep's run."""
    try:
        return SweepSummary(document, Sweep.from_document(document))
    except OdenetError:
        return SweepSummary(document, None)


def sweeps_table(rows: Sequence[SweepSummary]) -> Table:
    """One line a sweep."""
    space = Column("space", overflow="fold", min_width=len("simple_digits"))
    numbers = right("over", "failed", "pruned", "best", "run", "test")
    table = list_table([*left("sweep", "status"), space, *numbers, *left("started")])
    for row in rows:
        values, result = row.to_dict(), result_spec(row.document)
        table.add_row(
            str(values["sweep_id"]),
            values["status"],
            values["space"],
            f"{shown(values['over'])}/{shown(values['trials'])}",
            shown(values["failed"]),
            shown(values["pruned"]),
            *_best_cells(row),
            shown(values[result.quantity], result.format),
            values["started"][:10],
        )
    return table


def _best_cells(row: SweepSummary) -> tuple[str, str]:
    """The value of the best trial and its run; of several objectives how many are on the front."""
    if row.sweep is None or row.sweep.space.goal.is_single:
        values, form = row.to_dict(), row.sweep.space.spec.format if row.sweep else ""
        return shown(values["best_value"], form), shown(values["best_run_id"])
    return f"front {len(row.sweep.front)}", NOTHING


def print_sweep(sweep: Sweep, console: Console) -> None:
    """Everything on a terminal."""
    console.print(headline(sweep), style="bold", highlight=False)
    console.print(subtitle(sweep), highlight=False)
    for sentence in cautions(sweep):
        console.print(styled(("•", "yellow"), f" {sentence}"))
    console.print(_trials_table(sweep))
    for table in (failures_table(sweep), checks_table(sweep), best_table(sweep)):
        console.print()
        if table.rows:
            console.print(terminal_table(replace(table, note=None)))
        else:
            console.print(table.title, style="bold", highlight=False)
        if table.note:
            console.print(table.note, highlight=False)
    if sweep.best is not None:
        console.print(f"\n{shlex.join(sweep.command())}", highlight=False, soft_wrap=True)
    console.print()
    for line in [*conditions(sweep), *memory(sweep)]:
        console.print(line, highlight=False)


def _trials_table(sweep: Sweep) -> Table:
    """One line a trial; the suggestion as wide as there is room."""
    space, metrics = sweep.space, sweep.space.goal.metrics
    values = ["value"] if len(metrics) == 1 else [space.spec_of(metric).heading for metric in metrics]
    numbers = right(*values, "epochs", "s", "MB")
    suggestion = Column("suggestion", overflow="fold")
    table = list_table([*right("trial", "run"), *left("outcome"), *numbers, suggestion])
    best = sweep.front
    for trial in sweep.state.trials.values():
        table.add_row(
            str(trial.number),
            shown(trial.run_id),
            "violates" if trial.violates and trial.outcome == COMPLETED else outcome_text(trial),  # what, others say
            *(measured_value(space, metric, trial) for metric in metrics),
            str(trial.epochs),
            shown(trial.seconds, ",.0f"),
            shown(trial.peak_memory_mb, ",.0f"),
            suggestion_text(last_names(trial.suggestion)),
            style="bold" if trial in best else None,
        )
    return table


def to_dict(sweep: Sweep) -> dict[str, Any]:
    """Everything as plain values."""
    results = [check.result for check in sweep.checked if check.result is not None]
    mean, deviation = mean_and_deviation(results) if results else (None, None)
    best, result = sweep.best, sweep.space.task.result.quantity
    return {
        "sweep_id": sweep.sweep_id,
        "status": sweep.status.value,
        "space": sweep.space.text,
        "metric": sweep.space.metric,
        "mode": sweep.space.mode,
        "config": dict(sweep.config),
        "counts": sweep.state.counts(),
        "objectives": [asdict(objective) for objective in sweep.space.goal.objectives],
        "constraints": [str(constraint) for constraint in sweep.space.goal.constraints],
        "best": asdict(best) if best else None,
        "front": [trial.number for trial in sweep.front],
        "nearest": sweep.nearest.number if sweep.nearest else None,
        "command": sweep.command() or None,
        "checks": [asdict(check) for check in sweep.checks],
        result: mean,
        f"{result}_deviation": deviation,
        "cautions": cautions(sweep),
        "trials": [asdict(trial) for trial in sweep.state.trials.values()],
        "started": sweep.started,
        "seconds": sweep.seconds,
        "machine": sweep.machine,
        "software": sweep.software,
    }
