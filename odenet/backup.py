"""`odenet backup` and `odenet restore`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from odenet.arguments import JSON, PATH, examples
from odenet.output import answer, print_json
from pipeline.reporting.terminal import Terminal
from pipeline.reporting.text_table import TextTable, terminal_table

if TYPE_CHECKING:
    from pipeline.runs.backup.restore_backup import RestoredRun


@click.command(epilog=examples("odenet backup mine.zip"))
@click.argument("file", type=PATH, help="a new file")
@JSON
def backup(file: Path, as_json: bool) -> int:
    """Write the whole store into one file.

    The exit status is 1 where something of ours is missing, as the store has it damaged or not whole.
    """
    from pipeline.runs.backup.create_backup import back_up
    from pipeline.tracking.store import connect

    written = back_up(connect(), file)
    for name in written.damaged_files:
        print(f"{name} is not whole in the store: its content is not in the backup", file=sys.stderr)
    for name in written.damaged_documents:
        print(f"{name} is not in the backup, as no restore would take it: mend or remove it", file=sys.stderr)
    for name in written.left_out:
        print(f"{name} of another program is not in the backup, which cannot hold its like", file=sys.stderr)
    text = f"{written.runs} runs and {written.files} files in {written.file} ({written.megabytes} MB)"
    answer(as_json, {**vars(written), "file": str(written.file)}, text)
    return 1 if written.damaged_files or written.damaged_documents else 0


@click.command(epilog=examples("odenet restore mine.zip"))
@click.argument("file", type=PATH, help="a file of `odenet backup`")
@JSON
def restore(file: Path, as_json: bool) -> None:
    """Add what a backup has and the store has not."""
    from pipeline.runs.backup.restore_backup import restore as restore_file
    from pipeline.tracking.store import connect

    restored = restore_file(connect(), file)
    if as_json:
        print_json({"runs": [vars(run) for run in restored.runs], "kept": list(restored.kept)})
        return
    new = [run for run in restored.runs if run.is_new]
    print(f"{len(new)} runs restored; {len(restored.runs) - len(new)} were here already")
    moved = [run for run in restored.runs if run.run_id != run.backup_id]
    if moved:
        Terminal().print(_id_table(moved))
    for run in new:
        if run.was_running:
            print(
                f"run {run.run_id} was still going on when the backup was made, and is here as DIED: "
                f"to have all of it, `odenet rm {run.run_id}` and restore a later backup"
            )
    for name in restored.kept:
        print(f"{name} differs from the backup's and stays as it is")


def _id_table(runs: "list[RestoredRun]") -> Table:
    rows = [(str(run.backup_id), str(run.run_id), "" if run.is_new else "was here already") for run in runs]
    return terminal_table(TextTable("", ("run in the backup", "run here", ""), tuple(rows), "rrl"))
