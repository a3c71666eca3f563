"""`odenet sweeps` and `odenet sweeps show`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from odenet.arguments import add_command, count
from odenet.output import print_json
from pipeline.util.errors import InvalidInput


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = add_command(commands, "sweeps", list_sweeps, "list the sweeps, newest first, or show one")
    listing.add_argument("--limit", type=count, default=20, help="at most so many; 0 for all (default 20)")
    one = listing.add_subparsers(title="commands", metavar="COMMAND").add_parser("show", help="one sweep")
    one.set_defaults(handler=show_sweep)
    one.add_argument("sweep_id", type=int, metavar="ID")
    # Suppressed, or it would undo the --json before `show`.
    one.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON document on standard output"
    )
    one.add_argument("--report", type=Path, metavar="FILE", help="write it with its figures to one HTML file, too")
    one.add_argument("--board", metavar="URL", help="of an Omniboard, for the report's links to runs")


def list_sweeps(arguments: argparse.Namespace) -> int:
    from pipeline.runs.query import Runs
    from pipeline.sweeps.stored import find_sweeps
    from pipeline.sweeps.terminal import summary, sweeps_table

    rows = [summary(run.document) for run in find_sweeps(Runs(), arguments.limit)]
    if arguments.json:
        print_json(rows)
    else:
        Console().print(sweeps_table(rows))
    return 0


def show_sweep(arguments: argparse.Namespace) -> int:
    from pipeline.runs.query import Runs
    from pipeline.sweeps.stored import load_sweep
    from pipeline.sweeps.terminal import print_sweep, to_dict

    if arguments.board is not None and not arguments.board.startswith(("http://", "https://")):
        raise InvalidInput(f"--board wants the address that `odenet board` shows, http://…, not {arguments.board}")
    sweep = load_sweep(Runs(), arguments.sweep_id)
    if arguments.report is not None:
        from pipeline.sweeps.report import write_page  # here, as its figures take a second and more to import

        write_page(sweep, arguments.report, board=arguments.board)
        print(f"written to {arguments.report}", file=sys.stderr)
    if arguments.json:
        print_json(to_dict(sweep))
    else:
        print_sweep(sweep, Console())
    return 0
