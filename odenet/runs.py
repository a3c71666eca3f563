"""`odenet runs` and `odenet show`."""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from odenet.arguments import ANY_RUN_ID, FILTERS, JSON, LIMIT, examples
from odenet.output import answer, tell_left_out, tell_why_nothing
from pipeline.reporting.terminal import print_in_full
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.runs.listing import Grouping
    from pipeline.runs.query import Runs, StoredRun

WATCH_SECONDS = 2.0


@click.command(
    epilog=examples(
        "odenet runs data=digits status=COMPLETED",
        "odenet runs 'result>=0.9' 'lr<1e-3' model~odenet since=2d --sort -result",
        "odenet runs tag=paper --group-by seed",
        "odenet runs --columns name,training.lr,accuracy,host --limit 0",
    )
)
@FILTERS
@LIMIT
@click.option("--sort", metavar="FIELD", help="by a field, ascending; descending with -FIELD. Newest first without it")
@click.option("--columns", metavar="FIELD,...", help="these fields instead of the usual ones")
@click.option(
    "--group-by",
    type=click.Choice(["seed", "sweep", "config"]),
    help="take runs together that differ in their seed alone, are of one sweep, or have one configuration",
)
@click.option("--wide", is_flag=True, help="every column, however narrow the terminal")
@click.option("--watch", is_flag=True, help="again every two seconds, until Ctrl-C")
@JSON
def runs(
    filters: tuple[str, ...],
    limit: int,
    sort: str | None,
    columns: str | None,
    group_by: "Grouping | None",
    wide: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """List the runs, newest first, or groups of all that match."""
    from pipeline.runs.query import Runs

    for option, value in (("--sort", sort), ("--columns", columns)):
        if value is not None and not value.strip():
            raise InvalidInput(f"{option} names no field: write one, as in {option} accuracy, or leave it out")
    if group_by and columns:
        raise InvalidInput("--columns shows runs and --group-by shows groups of them: leave one out")
    stored = Runs()
    listing = partial(_list, stored, filters, limit, sort, columns.split(",") if columns else None, group_by, wide)
    if watch and not as_json:
        _watch(lambda: listing()[1])
    document, table = listing()
    if not document:
        tell_why_nothing(stored, filters)
    if document or as_json:
        answer(as_json, document, partial(print_in_full, table=table) if wide or columns else table)
    tell_left_out(stored)


def _list(
    stored: "Runs",
    filters: Sequence[str],
    limit: int,
    sort: str | None,
    columns: Sequence[str] | None,
    group_by: "Grouping | None",
    wide: bool,
) -> tuple[list[dict[str, Any]], "Table"]:
    """What the command prints, as a document and as a table."""
    from pipeline.reporting.terminal import Terminal
    from pipeline.runs.listing import field_table, field_values, group_runs, groups_table, runs_table, sorted_runs
    from pipeline.runs.summary import summaries, summary

    width = None if wide else Terminal().width
    found: Sequence[StoredRun] = stored.find(filters, 0 if sort or group_by else limit)
    if sort:
        found = sorted_runs(found, sort)
    if group_by:
        groups = group_runs(found, [summary(run.document, {}) for run in found], group_by)[: limit or None]
        return [group.to_dict() for group in groups], groups_table(groups, width)
    found = found[: limit or None]
    if columns and found:
        asked = field_values(found, [name.strip() for name in columns])
        whole = [run.to_row() | {name: values[k] for name, values in asked.items()} for k, run in enumerate(found)]
        return whole, field_table(found, asked, width)
    rows = summaries(stored, found)
    return [row.to_dict() for row in rows], runs_table(rows, width)


def _watch(table: Callable[[], "Table"]) -> NoReturn:
    """Show the table again and again, until an interrupt, which ends the command."""
    from rich.live import Live

    from pipeline.reporting.terminal import Terminal

    with Live(table(), console=Terminal(), auto_refresh=False, screen=sys.stdout.isatty()) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            live.update(table(), refresh=True)


@click.command(epilog=examples("odenet show 3", "odenet show 3 --figures"))
@ANY_RUN_ID
@click.option("--figures", "draws", is_flag=True, help="draw the figures that it lacks, and add them to the run")
@JSON
def show(run_id: int | str, draws: bool, as_json: bool) -> None:
    """Show one run."""
    from pipeline.runs.query import Runs
    from pipeline.runs.tables import print_run

    stored = Runs().get(run_id)
    if draws:
        _draw_figures(stored, as_json)
        return
    answer(as_json, stored.to_dict(), partial(print_run, stored))


def _draw_figures(run: "StoredRun", as_json: bool) -> None:
    from pipeline.runs.missing_figures import draw_missing
    from pipeline.util.paths import home

    done = draw_missing(run, home())
    lines = [f"run {run.run_id} has {name} now" for name in done.drawn]
    lines += [f"{name} is still missing: {why}" for name, why in done.left.items()]
    answer(as_json, vars(done), "\n".join(lines) or f"run {run.run_id} lacks no figure that its numbers give")
