"""`odenet sweeps` and `odenet sweeps show`."""

import sys
from functools import partial
from pathlib import Path

import click

from odenet.arguments import BOARD, JSON, LIMIT, PATH, examples, whole_number
from odenet.output import answer


@click.group(invoke_without_command=True, epilog=examples("odenet sweeps", "odenet sweeps show 12"))
@LIMIT
@JSON
@click.pass_context
def sweeps(context: click.Context, limit: int, as_json: bool) -> None:
    """List the sweeps, newest first, or show one."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.runs.query import Runs
    from pipeline.sweeps.stored import find_sweeps
    from pipeline.sweeps.terminal import summary, sweeps_table

    rows = [summary(run.document) for run in find_sweeps(Runs(), limit)]
    answer(as_json, [row.to_dict() for row in rows], sweeps_table(rows))


@sweeps.command(epilog=examples("odenet sweeps show 12 --report report.html"))
@click.argument("sweep_id", type=whole_number, metavar="ID")
@JSON
@click.option("--report", type=PATH, metavar="FILE", help="write it with its figures to one HTML file, too")
@BOARD
@click.pass_context
def show(context: click.Context, sweep_id: int, as_json: bool, report: Path | None, board: str | None) -> None:
    """Show one sweep."""
    from pipeline.runs.query import Runs
    from pipeline.sweeps.stored import load_sweep
    from pipeline.sweeps.terminal import print_sweep, to_dict

    sweep = load_sweep(Runs(), sweep_id)
    if report is not None:
        from pipeline.sweeps.report import write_page  # here, as its figures take a second and more to import

        write_page(sweep, report, board=board)
        print(f"written to {report}", file=sys.stderr)
    as_json |= context.parent is not None and context.parent.params["as_json"]  # `sweeps --json show`
    answer(as_json, to_dict(sweep), partial(print_sweep, sweep))
