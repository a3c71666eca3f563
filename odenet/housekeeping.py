"""`odenet tag`, `note`, `attach`, `export`, `rm` and `gc`."""

import argparse
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odenet.arguments import add_command
from odenet.output import print_json
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from pipeline.runs.garbage import Garbage
    from pipeline.runs.query import StoredRun


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tagging = add_command(commands, "tag", tag, "tag a run, as Omniboard shows it")
    tagging.add_argument("run_id", type=int, metavar="ID")
    tagging.add_argument("tags", nargs="+", metavar="TAG")
    tagging.add_argument("--remove", action="store_true", help="take these tags away")
    noting = add_command(commands, "note", note, "write a run's note, as Omniboard shows it", as_json=False)
    noting.add_argument("run_id", type=int, metavar="ID")
    noting.add_argument("text", metavar="TEXT")
    attaching = add_command(commands, "attach", attach, "add a file to the artifacts of a run", as_json=False)
    attaching.add_argument("run_id", type=int, metavar="ID")
    attaching.add_argument("file", type=Path, metavar="FILE")
    exporting = add_command(commands, "export", export, "runs and metrics as two tables", as_json=False)
    exporting.add_argument("filters", nargs="*", metavar="KEY=VALUE", help="as in config.data.name=digits")
    exporting.add_argument("--format", choices=("csv", "parquet", "json"), default="json", help="json without it")
    exporting.add_argument("--out", type=Path, metavar="DIR", help="a new folder; without it JSON on standard output")
    removing = add_command(commands, "rm", remove, "remove runs with their metrics, files and folders")
    removing.add_argument("run_ids", type=int, nargs="+", metavar="ID")
    _add_yes(removing)
    clearing = add_command(commands, "gc", collect_garbage, "remove what no run needs: orphans and old checkpoints")
    clearing.add_argument("--dry-run", action="store_true", help="show what would go, and remove nothing")
    clearing.add_argument(
        "--checkpoint-days", type=float, default=30, help="keep checkpoints written in so many days (default 30)"
    )
    clearing.add_argument(
        "--keep-best", type=int, default=5, help="keep the checkpoints of the best so many runs a data set (default 5)"
    )
    _add_yes(clearing)


def _add_yes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--yes", action="store_true", help="do not ask")


def tag(arguments: argparse.Namespace) -> int:
    from pipeline.runs.annotations import add_tags, remove_tags
    from pipeline.runs.query import Runs

    change = remove_tags if arguments.remove else add_tags
    tags = change(Runs().get(arguments.run_id), arguments.tags)
    if arguments.json:
        print_json({"run_id": arguments.run_id, "tags": tags})
    else:
        print(f"run {arguments.run_id}: {', '.join(tags) or 'no tags'}")
    return 0


def note(arguments: argparse.Namespace) -> int:
    from pipeline.runs.annotations import set_note
    from pipeline.runs.query import Runs

    set_note(Runs().get(arguments.run_id), arguments.text)
    return 0


def attach(arguments: argparse.Namespace) -> int:
    from pipeline.runs.annotations import attach as attach_file
    from pipeline.runs.query import Runs
    from pipeline.util.paths import home

    attach_file(Runs().get(arguments.run_id), arguments.file, home())
    print(f"{arguments.file.name} is an artifact of run {arguments.run_id}")
    return 0


def export(arguments: argparse.Namespace) -> int:
    from pipeline.runs.export import to_json, write_export
    from pipeline.runs.query import Runs, parse_filters

    filters = parse_filters(arguments.filters)
    if arguments.out is not None:
        runs, points = write_export(Runs(), arguments.out, arguments.format, filters)
        print(f"{runs} runs and {points} points of their metrics in {arguments.out}")
    elif arguments.format == "json":
        print_json(to_json(Runs(), filters))
    else:
        raise InvalidInput(f"two tables as {arguments.format} need a folder: give --out DIR")
    return 0


def remove(arguments: argparse.Namespace) -> int:
    from pipeline.runs.removal import removable_runs, remove_run
    from pipeline.tracking.store import connect
    from pipeline.util.paths import home

    runs = removable_runs(arguments.run_ids, home(), connect())
    for run in runs:
        print(f"run {run.run_id}: {_in_words(run)}", file=sys.stderr)
    if not arguments.yes and not _confirmed("Remove them?" if len(runs) > 1 else "Remove it?"):
        return 1
    for run in runs:
        remove_run(run, home())
        if not arguments.json:
            print(f"run {run.run_id} removed")
    if arguments.json:
        print_json({"removed": [run.run_id for run in runs]})
    return 0


def collect_garbage(arguments: argparse.Namespace) -> int:
    from pipeline.runs.garbage import collect, find_garbage
    from pipeline.tracking.store import connect
    from pipeline.util.paths import home

    if arguments.checkpoint_days < 0 or arguments.keep_best < 0:
        raise InvalidInput("--checkpoint-days and --keep-best must be at least 0")
    database = connect()
    age = timedelta(days=arguments.checkpoint_days)
    garbage = find_garbage(database, home(), age, arguments.keep_best)
    if not arguments.json:
        _print_garbage(garbage)
    is_wanted = not garbage.is_empty and not arguments.dry_run
    if is_wanted and not arguments.yes and not _confirmed("Remove it?"):
        return 1
    if is_wanted:
        collect(garbage, database)
    if arguments.json:
        print_json(_to_dict(garbage) | {"removed": is_wanted})
    elif is_wanted:
        print("removed")
    return 0


def _confirmed(question: str) -> bool:
    """Whether a person says yes; the question goes to stderr, past any document on stdout."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print(file=sys.stderr)
        raise InvalidInput("nobody answers, so nothing was removed: --yes removes without asking")
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was removed", file=sys.stderr)
    return False


def _in_words(run: "StoredRun") -> str:
    data = run.config.get("data", {}).get("name", "unknown data")
    result = "no result" if run.result is None else f"result {run.result:.4f}"
    started = run.document["start_time"].isoformat(sep=" ", timespec="minutes")
    return f"{run.status}, {data}, {result}, started {started}, {len(run.artifacts)} artifacts"


def _print_garbage(garbage: "Garbage") -> None:
    for found, what in (
        (garbage.metrics, "series of metrics whose run is gone"),
        (garbage.files, "files that no run refers to"),
        (garbage.chunks, "files of which only a part was stored"),
        (garbage.checkpoints, "old checkpoints of runs that have ended"),
    ):
        if found:
            print(f"{len(found)} {what}")
    if garbage.is_empty:
        print("nothing to remove")
    else:
        print(f"{garbage.megabytes:.1f} MB in all")
    if garbage.unknown_folders:
        folder = garbage.unknown_folders[0]
        print(
            f"{len(garbage.unknown_folders)} folders with checkpoints of runs that this store does not have, such as "
            f"{folder}, are left: delete them by hand unless another store has their runs"
        )


def _to_dict(garbage: "Garbage") -> dict[str, Any]:
    return {
        "metrics": len(garbage.metrics),
        "files": sorted(garbage.files.values()),
        "chunks": len(garbage.chunks),
        "checkpoints": [str(checkpoint) for checkpoint in garbage.checkpoints],
        "unknown_folders": [str(folder) for folder in garbage.unknown_folders],
        "megabytes": garbage.megabytes,
    }
