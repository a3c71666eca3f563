"""`odenet runs` and `odenet show`."""

import sys
from functools import partial

import click

from odenet.arguments import FILTERS, JSON, LIMIT, RUN_ID, examples
from odenet.output import answer
from pipeline.util.errors import in_a_line


@click.command(epilog=examples("odenet runs config.data.name=digits status=COMPLETED", "odenet runs --limit 0 --json"))
@FILTERS
@LIMIT
@JSON
def runs(filters: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the runs, newest first."""
    from rich.console import Console

    from pipeline.runs.query import Runs, parse_filters
    from pipeline.runs.tables import runs_table, summaries

    stored = Runs()
    chosen = parse_filters(filters)
    rows = summaries(stored, stored.find(chosen, limit))
    if not rows and (hint := stored.why_nothing(chosen)):
        print(f"odenet: {in_a_line(hint)}", file=sys.stderr)
    answer(as_json, [row.to_dict() for row in rows], runs_table(rows, Console().width))


@click.command(epilog=examples("odenet show 3"))
@RUN_ID
@JSON
def show(run_id: int, as_json: bool) -> None:
    """Show one run."""
    from pipeline.runs.query import Runs
    from pipeline.runs.tables import print_run

    stored = Runs().get(run_id)
    answer(as_json, stored.to_dict(), partial(print_run, stored))
