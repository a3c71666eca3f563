"""`odenet sweeps`, and `show`, `best` and `compare` below it."""

import shlex
import sys
from functools import partial
from pathlib import Path

import click

from odenet.arguments import BOARD, JSON, LIMIT, PATH, at_least_one, examples, whole_number
from odenet.output import answer
from pipeline.util.errors import InvalidInput

SWEEP_ID = click.argument("sweep_id", type=whole_number, metavar="ID")


@click.group(
    invoke_without_command=True,
    epilog=examples("odenet sweeps", "odenet sweeps show 12", "odenet sweeps compare 12 15"),
)
@LIMIT
@JSON
@click.pass_context
def sweeps(context: click.Context, limit: int, as_json: bool) -> None:
    """List the sweeps, newest first; show one, or compare some."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.runs.query import Runs
    from pipeline.sweeps.stored import find_sweeps
    from pipeline.sweeps.terminal import summary, sweeps_table

    rows = [summary(run.document) for run in find_sweeps(Runs(), limit)]
    answer(as_json, [row.to_dict() for row in rows], sweeps_table(rows))


@sweeps.command(epilog=examples("odenet sweeps show 12 --report report.html"))
@SWEEP_ID
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
    answer(_wants_json(context, as_json), to_dict(sweep), partial(print_sweep, sweep))


@sweeps.command(epilog=examples("odenet sweeps best 12", "odenet sweeps best 12 7"))
@SWEEP_ID
@click.argument("trial", type=at_least_one, metavar="[TRIAL]", required=False)
@JSON
@click.pass_context
def best(context: click.Context, sweep_id: int, trial: int | None, as_json: bool) -> None:
    """The command that trains a sweep's best configuration again, or that of a trial."""
    from pipeline.runs.query import Runs
    from pipeline.sweeps.chosen import chosen_trial
    from pipeline.sweeps.stored import load_sweep

    sweep = load_sweep(Runs(), sweep_id)
    chosen = chosen_trial(sweep, trial)
    command = sweep.command(chosen)
    found = {"sweep_id": sweep_id, "trial": chosen.number, "run_id": chosen.run_id, "command": command}
    answer(_wants_json(context, as_json), found, shlex.join(command))


@sweeps.command(epilog=examples("odenet sweeps compare 12 15 --html sweeps.html", "odenet sweeps compare 12 15 --json"))
@click.argument("sweep_ids", type=whole_number, metavar="ID...", nargs=-1, required=True)
@JSON
@click.option("--markdown", "as_markdown", is_flag=True, help="the tables in Markdown on standard output")
@click.option("--html", type=PATH, metavar="FILE", help="write it with its figure to one HTML file, too")
@click.pass_context
def compare(
    context: click.Context, sweep_ids: tuple[int, ...], as_json: bool, as_markdown: bool, html: Path | None
) -> None:
    """Set sweeps beside each other: spaces, results for as many trials, time, failures, whether it is fair."""
    as_json = _wants_json(context, as_json)
    if as_json and as_markdown:
        raise InvalidInput("--json and --markdown are two forms of one document: leave one of them out")
    from pipeline.runs.query import Runs
    from pipeline.sweeps.comparison import compare_sweeps
    from pipeline.sweeps.comparison_tables import markdown, print_comparison, to_dict

    comparison = compare_sweeps(Runs(), sweep_ids)
    if html is not None:
        from pipeline.sweeps.comparison_page import write_page  # here, as its figure takes a second to import

        write_page(comparison, html)
        print(f"written to {html}", file=sys.stderr)
    if as_markdown:
        print(markdown(comparison), end="")
    else:
        answer(as_json, to_dict(comparison), partial(print_comparison, comparison))


def _wants_json(context: click.Context, as_json: bool) -> bool:
    """Also where `--json` stands before the command, as in `sweeps --json show`."""
    return as_json or (context.parent is not None and bool(context.parent.params["as_json"]))
