"""`odenet data list` and `odenet data prepare`."""

import click

from odenet.arguments import JSON, PLUGINS, examples
from odenet.output import answer


@click.group(no_args_is_help=False, epilog=examples("odenet data list", "odenet data prepare fashion_mnist"))
def data() -> None:
    """The data sets: known ones and those present."""


@data.command("list", epilog=examples("odenet data list --json"))
@PLUGINS
@JSON
def list_data(as_json: bool) -> None:
    """What is known and what is present."""
    from pipeline.data import list_data_sets
    from pipeline.runs.tables import data_sets_table

    statuses = list_data_sets()
    document = [{**vars(status), "where": status.where and str(status.where)} for status in statuses]
    answer(as_json, document, data_sets_table(statuses))


@data.command(epilog=examples("odenet data prepare fashion_mnist"))
@click.argument("name")
def prepare(name: str) -> None:
    """Download a data set."""
    from pipeline.data import prepare as prepare_data

    print(prepare_data(name))
