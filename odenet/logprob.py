"""`odenet logprob`: what a trained density says of rows."""

import sys
from pathlib import Path
from typing import Any

import click

from odenet.arguments import JSON, PATH, PLUGINS, RUN_ID, examples
from odenet.output import answer
from pipeline.util.errors import InvalidInput


@click.command(
    short_help="Log-densities of rows, with their error.",
    epilog=examples("odenet logprob 3 --data my_table.npz", "odenet logprob 3 --data a.csv --out b.csv"),
)
@RUN_ID
@click.option(
    "--data",
    metavar="NAME|FILE",
    help="a table, all of it unless it is split, or another data set's test rows (default: the run's own test rows)",
)
@click.option("--out", type=PATH, metavar="FILE", help="an .npz or a .csv, which gets the log-density of each row")
@PLUGINS
@JSON
def logprob(run_id: int, data: str | None, out: Path | None, as_json: bool) -> None:
    """Log-densities of rows in nats, in the units of their columns, with their numerical error."""
    from pipeline.runs.query import Runs

    if out is not None and out.suffix not in (".npz", ".csv"):
        raise InvalidInput(f"{out} ends neither in .npz nor in .csv: name such a file")
    run = Runs().get(run_id)
    if run.task != "density":
        raise InvalidInput(f"run {run_id} is of the task {run.task}, which has no densities: name a run of a density")
    if out is not None:
        from pipeline.data.tabular import refuse_overwriting

        own = run.config["data"]["name"]
        refuse_overwriting(out, data or own, own)
    from experiments.evaluate import load_trained
    from pipeline.tasks.density.answered import answer_rows

    _, trained, _ = load_trained(run_id)
    model: Any = trained
    found = answer_rows(model, data)
    if found.sha256 not in (None, run.info["data"]["sha256"]):
        print(f"warning: the data are not those that run {run_id} was trained on", file=sys.stderr)
    if out is not None:
        found.write(out)
    document = found.to_dict() | {"run_id": run_id, "file": str(out) if out else None}
    answer(as_json, document, found.text() + (f"; the log-density of each is in {out}" if out else ""))
