"""`odenet rename`, `tag`, `note`, `attach`, `export`, `rm` and `gc`."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odenet.arguments import ANY_RUN_ID, FILTERS, JSON, PATH, RUN_ID, RUN_IDS, count, examples, number
from odenet.output import answer, print_json, tell_left_out, tell_why_nothing
from pipeline.util.errors import InvalidInput, brief
from pipeline.util.paths import home

if TYPE_CHECKING:
    from pipeline.runs.export import Format
    from pipeline.runs.garbage import Garbage
    from pipeline.runs.query import StoredRun


YES = click.option("--yes", is_flag=True, help="do not ask")


@click.command(epilog=examples('odenet rename 3 "wide field"'))
@ANY_RUN_ID
@click.argument("name")
def rename(run_id: int | str, name: str) -> None:
    """Give a run a name."""
    from pipeline.runs.annotations import rename as rename_run
    from pipeline.runs.query import Runs

    rename_run(Runs().get(run_id), name)


@click.command(epilog=examples("odenet tag 3 paper", "odenet tag 3 paper --remove"))
@ANY_RUN_ID
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="take these tags away")
@JSON
def tag(run_id: int | str, tags: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Tag a run, as Omniboard shows it."""
    from pipeline.runs.annotations import add_tags, remove_tags
    from pipeline.runs.query import Runs

    change = remove_tags if remove else add_tags
    tags_now = change(Runs().get(run_id), tags)
    answer(as_json, {"run_id": run_id, "tags": tags_now}, f"run {run_id}: {', '.join(map(str, tags_now)) or 'no tags'}")


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},  # a text may begin with a dash
    epilog=examples('odenet note 3 "the run of table 2"'),
)
@ANY_RUN_ID
@click.argument("text")
def note(run_id: int | str, text: str) -> None:
    """Write a run's note, as Omniboard shows it."""
    from pipeline.runs.annotations import set_note
    from pipeline.runs.query import Runs

    set_note(Runs().get(run_id), text)


@click.command(epilog=examples("odenet attach 3 slides.pdf"))
@RUN_ID
@click.argument("file", type=PATH)
def attach(run_id: int, file: Path) -> None:
    """Add a file to the artifacts of a run."""
    from pipeline.runs.annotations import attach as attach_file
    from pipeline.runs.query import Runs

    attach_file(Runs().get(run_id), file, home())
    print(f"{file.name} is an artifact of run {run_id}")


@click.command(epilog=examples("odenet export status=COMPLETED --format csv --out tables", "odenet export > runs.json"))
@FILTERS
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "json"]), default="json", help="json without it")
@click.option("--out", type=PATH, metavar="DIR", help="a new folder; without it JSON on standard output")
def export(filters: tuple[str, ...], form: "Format", out: Path | None) -> None:
    """Write runs and metrics as two tables."""
    from pipeline.runs.export import to_json, write_export
    from pipeline.runs.query import Runs

    if out is None and form != "json":
        raise InvalidInput(f"two tables as {form} need a folder: give --out DIR")
    stored = Runs()
    if filters and not stored.find(filters, limit=1):
        tell_why_nothing(stored, filters)
    if out is not None:
        runs, points = write_export(stored, out, form, filters)
        print(f"{runs} runs and {points} points of their metrics in {out}")
    else:
        print_json(to_json(stored, filters))
    tell_left_out(stored)


@click.command(epilog=examples("odenet rm 3 4 7"))
@RUN_IDS
@YES
@JSON
def rm(run_ids: tuple[int, ...], yes: bool, as_json: bool) -> int:
    """Remove runs with their metrics, files and folders."""
    from pipeline.runs.removal import removable_runs, remove_run
    from pipeline.tracking.store import connect

    runs = removable_runs(run_ids, home(), connect())
    for run in runs:
        print(f"run {run.run_id}: {_in_words(run)}", file=sys.stderr)
    if not yes and not _confirmed("Remove them?" if len(runs) > 1 else "Remove it?"):
        return 1
    removed: list[int] = []
    try:
        for run in removable_runs(run_ids, home(), connect()):  # as they are since somebody was asked
            remove_run(run, home())
            removed.append(run.run_id)
            if not as_json:
                print(f"run {run.run_id} removed")
    finally:
        if as_json:
            print_json({"removed": removed})
    return 0


@click.command(epilog=examples("odenet gc --dry-run", "odenet gc --checkpoint-days 7 --keep-best 2"))
@click.option("--dry-run", is_flag=True, help="show what would go, and remove nothing")
@click.option(
    "--checkpoint-days",
    type=number,
    metavar="DAYS",
    default=30,
    help="keep checkpoints written in so many days (default 30)",
)
@click.option(
    "--keep-best",
    type=count,
    metavar="N",
    default=5,
    help="keep the checkpoints of the best so many runs a data set (default 5)",
)
@YES
@JSON
def gc(dry_run: bool, checkpoint_days: float, keep_best: int, yes: bool, as_json: bool) -> int:
    """Remove what no run needs: orphans and old checkpoints."""
    from pipeline.runs.garbage import collect, find_garbage
    from pipeline.tracking.store import connect

    database = connect()
    age = timedelta(days=checkpoint_days)
    garbage = find_garbage(database, home(), age, keep_best)
    if not as_json:
        _print_garbage(garbage)
    is_wanted = not garbage.is_empty and not dry_run
    if is_wanted and not yes and not _confirmed("Remove it?"):
        return 1
    if is_wanted:
        collect(garbage, database)
    if as_json:
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
    section = run.config.get("data")
    data = section.get("name", run.task) if isinstance(section, dict) else run.task
    match run.result:
        case None:
            result = "no result"
        case int() | float() as value:
            result = f"result {value:.4f}"
        case other:
            result = f"result {brief(other)}"
    started = run.document["start_time"].isoformat(sep=" ", timespec="minutes")
    return f"{run.status}, {data}, {result}, started {started}, {len(run.artifacts)} artifacts"


def _print_garbage(garbage: "Garbage") -> None:
    for found, what in (
        (garbage.metrics, "series of metrics whose run is gone"),
        (garbage.environments, "lists of sources and packages that no run refers to"),
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
        "environments": len(garbage.environments),
        "files": sorted(garbage.files.values()),
        "chunks": len(garbage.chunks),
        "checkpoints": [str(checkpoint) for checkpoint in garbage.checkpoints],
        "unknown_folders": [str(folder) for folder in garbage.unknown_folders],
        "megabytes": garbage.megabytes,
    }
