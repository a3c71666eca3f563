"""`odenet report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odenet.arguments import BOARD, PATH, any_run_id, count, examples, whole_number
from odenet.output import tell_left_out
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from pipeline.runs.query import Runs, StoredRun


@click.command(
    short_help="Write runs as one interactive page.",
    epilog=examples(
        "odenet report data=digits --out digits.html",
        "odenet report 3 4 7 --out three.html",
        "odenet report --sweep 15 --out sweep.html --board http://127.0.0.1:9000/sacred",
    ),
)
@click.argument("words", metavar="[ID|FILTER]...", nargs=-1, help="runs, or filters as `odenet runs` takes them")
@click.option("--sweep", "sweep_id", type=whole_number, metavar="ID", help="the runs of a sweep")
@click.option("--out", type=PATH, metavar="FILE", required=True, help="where to write it")
@click.option("--limit", type=count, metavar="N", default=1000, help="at most so many; 0 for all (default 1000)")
@BOARD
def report(words: tuple[str, ...], sweep_id: int | None, out: Path, limit: int, board: str | None) -> None:
    """Write runs to one HTML file that works without a network.

    It has curves, settings against results, what matters for these, the Pareto front of result and cost, and a list, in
    which runs are selected by the mouse.
    """
    from pipeline.reporting.words import counted
    from pipeline.runs.query import Runs
    from pipeline.runs.report.page import write_page
    from pipeline.sweeps.stored import load_sweep

    runs = Runs()
    ids = [word for word in words if not set(word) & set("=<>~")]
    filters = [word for word in words if word not in ids]
    if ids and (filters or sweep_id is not None):
        raise InvalidInput(
            f"{ids[0]} names a run and {(filters or ['--sweep'])[0]} looks for runs: give one of the two"
        )
    sweep = None if sweep_id is None else load_sweep(runs, sweep_id)
    if ids:
        found: Sequence[StoredRun] = [runs.get(any_run_id(word)) for word in dict.fromkeys(ids)]
    else:
        found = runs.find(filters if sweep is None else [*filters, f"sweep={sweep_id}"], limit + 1 if limit else 0)
    if sweep is not None:
        found = [*found, *_reused(runs, filters, [t.run_id for t in sweep.state.trials.values() if t.is_reused])]
    if not found:
        raise InvalidInput(runs.why_nothing(filters))
    is_cut = bool(limit) and not ids and len(found) > limit
    found = found[:limit] if is_cut else found
    size = write_page(
        runs,
        found,
        out,
        title=f"Sweep {sweep_id}" if sweep is not None else " ".join(filters),
        notes=[f"There are more runs; these are the newest {limit:,}. `--limit 0` takes all."] if is_cut else [],
        first=sweep.space.parameters() if sweep is not None else (),
        board=board,
    )
    print(f"{counted(len(found), 'run')} in {out} ({size / 1e6:.1f} MB)")
    tell_left_out(runs)


def _reused(runs: "Runs", filters: Sequence[str], run_ids: Sequence[int | None]) -> "list[StoredRun]":
    """Those of the runs that were there before the sweep and meet the filters."""
    return [run for run_id in run_ids for run in runs.find([*filters, f"id={run_id}"])]
