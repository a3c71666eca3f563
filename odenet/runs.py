"""`odenet runs` and `odenet show`."""

from functools import partial

import click

from odenet.arguments import ANY_RUN_ID, FILTERS, JSON, LIMIT, examples
from odenet.output import answer, tell_left_out, tell_why_nothing


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


@click.command(epilog=examples("odenet show 3"))
@ANY_RUN_ID
@JSON
def show(run_id: int | str, as_json: bool) -> None:
    """Show one run."""
    from pipeline.runs.query import Runs
    from pipeline.runs.tables import print_run

    stored = Runs().get(run_id)
    answer(as_json, stored.to_dict(), partial(print_run, stored))
