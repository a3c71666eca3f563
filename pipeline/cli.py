"""`odenet`: arguments to calls."""

import argparse
import errno
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console

from pipeline.errors import InvalidInput, OdenetError

Handler = Callable[[argparse.Namespace], int]
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.handler(parsed))
    except OdenetError as error:
        return fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except torch.OutOfMemoryError:
        return fail("the GPU is out of memory: use a smaller training.batch_size or solver.gradient=adjoint", 1)
    except BrokenPipeError:  # the reader of our output, `head` say, has enough
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return fail(f"the disk is full ({error.filename or 'no space left'}): make room or move ODENET_HOME", 1)


def fail(message: str, status: int) -> int:
    """Say what went wrong, on stderr."""
    print(f"odenet: {message}", file=sys.stderr)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Every command with its arguments."""
    parser = argparse.ArgumentParser(
        prog="odenet", description="Tracked experiments with ODE-Nets beside residual networks."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, handler: Handler, text: str, as_json: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(handler=handler)
        if as_json:
            command.add_argument("--json", action="store_true", help="one JSON document on standard output")
        return command

    _add_with(add("run", run, "train and evaluate, tracked"))
    _add_with(add("describe", describe_model, "layers, parameters and multiply-adds of a model"))
    listing = add("runs", list_runs, "list the runs, newest first")
    listing.add_argument("filters", nargs="*", metavar="KEY=VALUE", help="as in config.data.name=digits")
    listing.add_argument("--limit", type=int, default=20, help="at most so many; 0 for all (default 20)")
    add("show", show, "one run").add_argument("run_id", type=int, metavar="ID")
    data = add("data", list_data, "the data sets: known ones and those present", as_json=False)
    data_commands = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = data_commands.add_parser("list", help="what is known and what is present")
    listing.add_argument("--json", action="store_true", help="one JSON document on standard output")
    prepare = data_commands.add_parser("prepare", help="download a data set")
    prepare.add_argument("name", metavar="NAME")
    prepare.set_defaults(handler=prepare_data)
    add("store", manage_store, "the embedded store").add_argument("action", choices=("status", "start", "stop"))
    board = add("board", serve, "the runs in Omniboard, until Ctrl-C", as_json=False)
    board.add_argument("--port", type=int, help="first port to try")
    board.add_argument("--open", action="store_true", help="open it in the browser")
    add("sync", deliver, "deliver what the store missed")
    add("doctor", diagnose, "what works on this machine and what to do about the rest")
    return parser


def _add_with(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "with_",
        nargs="*",
        metavar="with …",
        help="`with` and then named configurations and key=value, as in: with odenet_simple digits seed=1",
    )


def _with(arguments: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    from experiments.named_configs import parse_arguments

    words = list(arguments.with_)
    if words and words[0] != "with":
        raise InvalidInput(f"expected `with` before {words[0]!r}, as in: odenet run with odenet_simple digits")
    return parse_arguments(words[1:])


def run(arguments: argparse.Namespace) -> int:
    from experiments.classification import run_tracked
    from pipeline.tables import last_values, runs_table, summary

    names, updates = _with(arguments)
    outcome = run_tracked(names, updates)
    if arguments.json:
        print_json(outcome.to_dict())
    elif outcome.status == "COMPLETED":
        Console().print(runs_table([summary(outcome.document, last_values(outcome.metrics))]))
        print(f"odenet show {outcome.run_id} tells more; odenet board shows it in Omniboard")
    if outcome.error is not None:
        status = INTERRUPTED if outcome.status == "INTERRUPTED" else 1
        return fail(f"run {outcome.run_id} {outcome.status}: {outcome.error}", status)
    return 0


def describe_model(arguments: argparse.Namespace) -> int:
    from experiments.named_configs import resolve
    from pipeline.config import Config
    from pipeline.data.shapes import network_input
    from pipeline.models.describe import describe
    from pipeline.tables import print_description

    config = Config.from_dict(resolve(*_with(arguments)))
    description = describe(config, *network_input(config.data))
    if arguments.json:
        print_json(description.to_dict())
    else:
        print_description(description, Console())
    return 0


def list_runs(arguments: argparse.Namespace) -> int:
    from pipeline.runs import Runs, parse_filters
    from pipeline.tables import runs_table, summaries

    runs = Runs()
    rows = summaries(runs, runs.find(parse_filters(arguments.filters), arguments.limit))
    if arguments.json:
        print_json(rows)
    else:
        Console().print(runs_table(rows))
    return 0


def show(arguments: argparse.Namespace) -> int:
    from pipeline.runs import Runs
    from pipeline.tables import print_run

    stored = Runs().get(arguments.run_id)
    if arguments.json:
        print_json(stored.to_dict())
    else:
        print_run(stored, Console())
    return 0


def list_data(arguments: argparse.Namespace) -> int:
    from pipeline.data import list_data_sets
    from pipeline.tables import data_sets_table

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
    from pipeline.paths import home
    from pipeline.tracking.embedded import EmbeddedStore

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


def serve(arguments: argparse.Namespace) -> int:
    from pipeline.board import serve_board

    serve_board(arguments.port, arguments.open)
    return 0


def deliver(arguments: argparse.Namespace) -> int:
    from pipeline.paths import home
    from pipeline.tracking.store import connect
    from pipeline.tracking.sync import sync

    deliveries = []
    for delivery in sync(home(), connect()):
        deliveries.append(vars(delivery))
        if not arguments.json:
            print(delivery.message)
    if arguments.json:
        print_json(deliveries)
    elif not deliveries:
        print("nothing waits to be delivered")
    return 1 if any(delivery["outcome"] == "elsewhere" for delivery in deliveries) else 0


def diagnose(arguments: argparse.Namespace) -> int:
    from pipeline.doctor import examine

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


def print_json(document: Any) -> None:
    """The one document, on standard output."""
    print(json.dumps(document, indent=1, allow_nan=False, default=str))


if __name__ == "__main__":
    sys.exit(main())
