"""`odenet watch`, `odenet logs` and `odenet stop`: runs that go on."""

import sys
import time
from typing import TYPE_CHECKING

import click

from odenet.arguments import ANY_RUN_ID, ANY_RUN_IDS, any_run_id, examples

if TYPE_CHECKING:
    from pipeline.runs.query import Runs, StoredRun

WATCH_SECONDS = 2.0
STOP_SECONDS = 120.0
"""How long the command waits for a run to end."""


@click.command(epilog=examples("odenet watch", "odenet watch 3 4"))
@click.argument("run_ids", type=any_run_id, metavar="[ID]...", nargs=-1)
def watch(run_ids: tuple[int | str, ...]) -> None:
    """Follow runs that go on, with their curves, on one page.

    Those that go on and those that begin meanwhile, or some, until all of these have ended; Ctrl-C ends the page.
    """
    from rich.live import Live

    from pipeline.reporting.terminal import Terminal
    from pipeline.runs.live_view import followed, live_table
    from pipeline.runs.query import Runs
    from pipeline.tracking.run_document import RunStatus

    runs, console = Runs(), Terminal()
    shown = [runs.get(run_id) for run_id in run_ids] or followed(runs)
    if not shown:
        print("no run goes on; `odenet runs` lists those there are")
        return
    if not sys.stdout.isatty():
        console.print(live_table(shown, console.width))
        return
    with Live(live_table(shown, console.width), console=console, auto_refresh=False) as live:
        while any(run.status is RunStatus.RUNNING for run in shown):
            time.sleep(WATCH_SECONDS)
            shown = [runs.get(run_id) for run_id in run_ids] or followed(runs, shown)
            live.update(live_table(shown, console.width), refresh=True)


@click.command(epilog=examples("odenet logs 3", "odenet logs 3 --follow"))
@ANY_RUN_ID
@click.option("--follow", "-f", "follows", is_flag=True, help="and what it prints from now on, until it ends")
def logs(run_id: int | str, follows: bool) -> None:
    """Show what a run has printed.

    The store hears of it every ten seconds.
    """
    from pipeline.runs.follow import output
    from pipeline.runs.query import Runs
    from pipeline.tracking.kind import kind_of

    runs, has_printed = Runs(), False
    for piece in output(runs, run_id, follows):
        print(piece, end="", flush=True)
        has_printed = True
    if not has_printed:
        is_sweep = kind_of(runs.get(run_id).document).name == "sweep"
        why = f"its trials are told by `odenet sweeps show {run_id}`" if is_sweep else "`odenet show` tells the rest"
        print(f"the store has no output of run {run_id}; {why}", file=sys.stderr)


@click.command(epilog=examples("odenet stop 3", "odenet stop 3 4 --no-wait"))
@ANY_RUN_IDS
@click.option("--no-wait", is_flag=True, help="ask, and do not wait for the end")
def stop(run_ids: tuple[int | str, ...], no_wait: bool) -> int:
    """End runs in order, also on other machines.

    As Ctrl-C does, after their present batch, so that they can be resumed.
    """
    from pipeline.runs.query import Runs
    from pipeline.runs.stop import ask_to_stop, refuse_to_stop

    runs = Runs()
    asked = [runs.get(run_id) for run_id in dict.fromkeys(run_ids)]
    for run in asked:
        refuse_to_stop(run)  # before any of them is asked
    for run in asked:
        ask_to_stop(run)
    ended = [no_wait or _told_end(runs, run) for run in asked]
    if no_wait:
        print(f"asked to stop: {', '.join(str(run.run_id) for run in asked)}")
    return 0 if all(ended) else 1


def _told_end(runs: "Runs", run: "StoredRun") -> bool:
    """Wait for a run's end, and say how it came; whether it has."""
    from pipeline.runs.stop import going_on_with, wait_for_end
    from pipeline.tracking.run_document import RunStatus

    run_id = run.run_id
    status = wait_for_end(runs, run_id, STOP_SECONDS)
    if status is RunStatus.RUNNING:
        print(f"run {run_id} goes on after {STOP_SECONDS:g} s: it looks for requests after a batch, every ten seconds")
        return False
    command = going_on_with(run)
    after = f"; `{command}` goes on with it" if command and status is RunStatus.INTERRUPTED else ""
    print(f"run {run_id} is {status.value}{after}")
    return True
