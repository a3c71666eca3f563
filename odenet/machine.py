"""`odenet data`, `odenet store`, `odenet sync` and `odenet doctor`."""

import argparse

from rich.console import Console

from odenet.arguments import add_command, add_json
from odenet.output import print_json


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "the data sets: known ones and those present"
    data = add_command(commands, "data", list_data, text, as_json=False)
    data_commands = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_json(data_commands.add_parser("list", help="what is known and what is present"))
    prepare = data_commands.add_parser("prepare", help="download a data set")
    prepare.add_argument("name", metavar="NAME")
    prepare.set_defaults(handler=prepare_data)
    store = add_command(commands, "store", manage_store, "the embedded store")
    store.add_argument("action", choices=("status", "start", "stop"))
    add_command(commands, "sync", deliver, "deliver what the store missed")
    add_command(commands, "doctor", diagnose, "what works on this machine and what to do about the rest")


def list_data(arguments: argparse.Namespace) -> int:
    from pipeline.data import list_data_sets
    from pipeline.runs.tables import data_sets_table

    statuses = list_data_sets()
    if arguments.json:
        print_json([{**vars(status), "where": str(status.where) if status.where else None} for status in statuses])
    else:
        Console().print(data_sets_table(statuses))
    return 0


def prepare_data(arguments: argparse.Namespace) -> int:
    from pipeline.data import prepare

    print(prepare(arguments.name))
    return 0


def manage_store(arguments: argparse.Namespace) -> int:
    from pipeline.tracking.embedded import EmbeddedStore
    from pipeline.util.paths import home

    store = EmbeddedStore(home())
    if arguments.action == "start":
        store.start()
    elif arguments.action == "stop":
        store.stop()
    status = store.status()
    if arguments.json:
        print_json({**vars(status), "folder": str(status.folder)})
    else:
        state = f"running at {status.address} (process {status.pid})" if status.running else "not running"
        print(f"{state}; {status.size_mb:.1f} MB in {status.folder}")
    return 0


def deliver(arguments: argparse.Namespace) -> int:
    from pipeline.tracking.store import connect
    from pipeline.tracking.sync import sync
    from pipeline.util.paths import home

    deliveries = []
    for delivery in sync(home(), connect()):
        deliveries.append(vars(delivery))
        if not arguments.json:
            print(delivery.message)
    if arguments.json:
        print_json(deliveries)
    elif not deliveries:
        print("nothing waits to be delivered")
    return 1 if any(delivery["outcome"] in ("elsewhere", "refused") for delivery in deliveries) else 0


def diagnose(arguments: argparse.Namespace) -> int:
    from odenet.examination import examine

    marks = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}
    findings = []
    console = Console(soft_wrap=True)
    for finding in examine():
        findings.append(finding)
        if not arguments.json:
            console.print(marks[finding.verdict], f"[bold]{finding.name}[/]:", finding.message, highlight=False)
    if arguments.json:
        print_json([vars(finding) for finding in findings])
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0
