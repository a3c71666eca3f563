"""`odenet sample`: rows drawn from a trained density."""

from pathlib import Path
from typing import Any

import click

from odenet.arguments import JSON, PATH, PLUGINS, RUN_ID, at_least_one, examples, whole_number
from odenet.output import answer
from pipeline.util.errors import InvalidInput


@click.command(epilog=examples("odenet sample 3 --count 1000 --out samples.npz"))
@RUN_ID
@click.option("--count", type=at_least_one, metavar="N", default=1000, help="how many (default 1000)")
@click.option("--seed", type=whole_number, metavar="N", default=0, help="what they are drawn by (default 0)")
@click.option("--out", type=PATH, metavar="FILE", required=True, help="an .npz, which gets x, or a .csv")
@PLUGINS
@JSON
def sample(run_id: int, count: int, seed: int, out: Path, as_json: bool) -> None:
    """Draw rows from a trained density, in the units of its data."""
    from pipeline.runs.query import Runs

    if out.suffix not in (".npz", ".csv"):
        raise InvalidInput(f"{out} ends neither in .npz nor in .csv: name such a file")
    run = Runs().get(run_id)
    if run.task != "density":
        raise InvalidInput(f"run {run_id} is of the task {run.task}, which draws no samples: name a run of a density")
    from pipeline.data.tabular import refuse_overwriting, write_table

    refuse_overwriting(out, run.config["data"]["name"])
    from experiments.evaluate import load_trained

    _, trained, _ = load_trained(run_id)
    model: Any = trained
    rows = model.sample(count, seed)
    write_table(out, rows, model.preprocessing.columns)
    nfe = model.evaluations
    document = {"run_id": run_id, "count": count, "seed": seed, "file": str(out), "shape": list(rows.shape), "nfe": nfe}
    of = f", {nfe} evaluations of the field" if nfe else ""
    answer(as_json, document, f"{count:,} rows of {rows.shape[1]} numbers in {out}{of}")
