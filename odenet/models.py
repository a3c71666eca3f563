"""`odenet promote` and `odenet models`."""

import argparse

from odenet.arguments import add_command
from odenet.output import print_json
from pipeline.util.errors import InvalidInput


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    promoting = add_command(commands, "promote", promote, "give a run's model a name, or move the name to it")
    promoting.add_argument("run_id", type=int, nargs="?", metavar="ID")
    promoting.add_argument("name", nargs="?", metavar="NAME")
    promoting.add_argument("--remove", metavar="NAME", help="give this name up; the run stays")
    add_command(commands, "models", list_promoted, "the models that have a name")


def promote(arguments: argparse.Namespace) -> int:
    from pipeline.runs.query import Runs
    from pipeline.runs.registry import demote
    from pipeline.runs.registry import promote as promote_run

    has_both = arguments.run_id is not None and arguments.name is not None
    if arguments.remove is not None and arguments.run_id is None:
        demote(arguments.remove, Runs().database)
        document, words = {"removed": arguments.remove}, f"{arguments.remove} names no model any more"
    elif arguments.remove is None and has_both:
        model = promote_run(Runs().get(arguments.run_id), arguments.name)
        document = {"name": model.name, **vars(model.current)}
        words = f"{model.name} is now the model of run {model.current.run_id}"
    else:
        raise InvalidInput("write `odenet promote ID NAME`, or `odenet promote --remove NAME`")
    if arguments.json:
        print_json(document)
    else:
        print(words)
    return 0


def list_promoted(arguments: argparse.Namespace) -> int:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from pipeline.runs.registry import list_models
    from pipeline.tracking.store import connect

    models = list_models(connect())
    if arguments.json:
        print_json(
            [{"name": model.name, "history": [vars(promotion) for promotion in model.history]} for model in models]
        )
        return 0
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", overflow="fold")
    table.add_column("run", justify="right")
    table.add_column("accuracy", justify="right")
    table.add_column("promoted (UTC)")
    table.add_column("before that, runs")
    for model in models:
        current = model.current
        accuracy = "–" if current.accuracy is None else f"{current.accuracy:.2%}"
        earlier = ", ".join(str(promotion.run_id) for promotion in model.history[:-1]) or "–"
        table.add_row(model.name, str(current.run_id), accuracy, f"{current.promoted_at:%Y-%m-%d %H:%M}", earlier)
    Console().print(table)
    return 0
