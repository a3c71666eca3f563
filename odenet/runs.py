"""`odenet runs`, `odenet show` and `odenet board`."""

import argparse

from rich.console import Console

from odenet.arguments import add_command, count
from odenet.output import print_json


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = add_command(commands, "runs", list_runs, "list the runs, newest first")
    listing.add_argument("filters", nargs="*", metavar="KEY=VALUE", help="as in config.data.name=digits")
    listing.add_argument("--limit", type=count, default=20, help="at most so many; 0 for all (default 20)")
    add_command(commands, "show", show, "one run").add_argument("run_id", type=int, metavar="ID")
    board = add_command(commands, "board", serve, "the runs in Omniboard, until Ctrl-C", as_json=False)
    board.add_argument("--port", type=int, help="first port to try")
    board.add_argument("--open", action="store_true", help="open it in the browser")


def list_runs(arguments: argparse.Namespace) -> int:
    from pipeline.runs.query import Runs, parse_filters
    from pipeline.runs.tables import runs_table, summaries

    runs = Runs()
    rows = summaries(runs, runs.find(parse_filters(arguments.filters), arguments.limit))
    if arguments.json:
        print_json(rows)
    else:
        Console().print(runs_table(rows))
    return 0


def show(arguments: argparse.Namespace) -> int:
    from pipeline.runs.query import Runs
    from pipeline.runs.tables import print_run

    stored = Runs().get(arguments.run_id)
    if arguments.json:
        print_json(stored.to_dict())
    else:
        print_run(stored, Console())
    return 0


def serve(arguments: argparse.Namespace) -> int:
    from pipeline.dashboard.board import serve_board

    serve_board(arguments.port, arguments.open)
    return 0
