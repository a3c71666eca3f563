"""`odenet runs` and `odenet show`."""

from functools import partial
from typing import TYPE_CHECKING

import click

from odenet.arguments import ANY_RUN_ID, FILTERS, JSON, LIMIT, examples
from odenet.output import answer, tell_left_out, tell_why_nothing

if TYPE_CHECKING:
    from pipeline.runs.query import StoredRun


@click.command(epilog=examples("odenet runs config.data.name=digits status=COMPLETED", "odenet runs --limit 0 --json"))
@FILTERS
@LIMIT
@JSON
def runs(filters: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the runs, newest first."""
    from pipeline.reporting.terminal import Terminal
    from pipeline.runs.query import Runs, parse_filters
    from pipeline.runs.tables import runs_table, summaries

    stored = Runs()
    chosen = parse_filters(filters)
    rows = summaries(stored, stored.find(chosen, limit))
    if not rows:
        tell_why_nothing(stored, chosen)
    answer(as_json, [row.to_dict() for row in rows], runs_table(rows, Terminal().width))
    tell_left_out(stored)


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
