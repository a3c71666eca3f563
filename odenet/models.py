"""`odenet promote` and `odenet models`."""

import click

from odenet.arguments import JSON, examples, whole_number
from odenet.output import answer
from pipeline.util.errors import InvalidInput


@click.command(epilog=examples("odenet promote 3 best", "odenet promote --remove best"))
@click.argument("run_id", type=whole_number, metavar="[ID]", required=False)
@click.argument("name", required=False)
@click.option("--remove", metavar="NAME", help="give this name up; the run stays")
@JSON
def promote(run_id: int | None, name: str | None, remove: str | None, as_json: bool) -> None:
    """Give a run's model a name, or move the name to it."""
    from pipeline.runs.query import Runs
    from pipeline.runs.registry import demote
    from pipeline.runs.registry import promote as promote_run

    if remove is not None and run_id is None:
        demote(remove, Runs().database)
        document, words = {"removed": remove}, f"{remove} names no model any more"
    elif remove is None and run_id is not None and name is not None:
        model = promote_run(Runs().get(run_id), name)
        document = {"name": model.name, **model.current.to_dict()}
        words = f"{model.name} is now the model of run {model.current.run_id}"
    else:
        raise InvalidInput("write `odenet promote ID NAME`, or `odenet promote --remove NAME`")
    answer(as_json, document, words)


@click.command(epilog=examples("odenet models"))
@JSON
def models(as_json: bool) -> None:
    """The models that have a name."""
    from pipeline.reporting.text_table import NOTHING, TextTable, shown, terminal_table
    from pipeline.runs.registry import list_models
    from pipeline.tracking.store import connect

    promoted = list_models(connect())
    headings = ("model", "run", "result", "metric", "promoted (UTC)", "before that, runs")
    rows = []
    for model in promoted:
        current = model.current
        result, metric = shown(current.result, current.metric.format), current.metric.heading
        earlier = ", ".join(str(promotion.run_id) for promotion in model.history[:-1]) or NOTHING
        rows.append((model.name, str(current.run_id), result, metric, f"{current.promoted_at:%Y-%m-%d %H:%M}", earlier))
    document = [{"name": model.name, "history": [p.to_dict() for p in model.history]} for model in promoted]
    table = terminal_table(TextTable("", headings, tuple(rows), "lrrlll"))
    table.columns[0].overflow = "fold"  # a name is of use as a whole alone
    answer(as_json, document, table)
