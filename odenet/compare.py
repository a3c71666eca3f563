"""`odenet compare`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from odenet.arguments import add_command
from odenet.output import print_json


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "set runs beside each other: results, tests of the difference, cost, what differs and whether it is fair"
    command = add_command(commands, "compare", compare_runs, text, as_json=False)
    command.add_argument("run_ids", nargs="+", type=int, metavar="ID")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document on standard output")
    form.add_argument("--markdown", action="store_true", help="the tables in Markdown on standard output")
    command.add_argument("--html", type=Path, metavar="FILE", help="write it with its figures to one HTML file, too")


def compare_runs(arguments: argparse.Namespace) -> int:
    from pipeline.comparison.compare import compare
    from pipeline.comparison.fairness import find_unfairness
    from pipeline.comparison.tables import markdown, print_comparison
    from pipeline.runs.query import Runs

    runs = Runs()
    comparison = compare([runs.get(run_id) for run_id in arguments.run_ids])
    if arguments.html is not None:
        from pipeline.comparison.page import write_page  # here, as its figures take a second and more to import

        write_page(comparison, arguments.html)
        print(f"written to {arguments.html}", file=sys.stderr)
    if arguments.json:
        print_json(comparison.to_dict() | {"unfair": find_unfairness(comparison)})
    elif arguments.markdown:
        print(markdown(comparison), end="")
    else:
        print_comparison(comparison, Console())
    return 0
