"""`odenet compare`."""

import sys
from functools import partial
from pathlib import Path

import click

from odenet.arguments import ANY_RUN_IDS, JSON, PATH, PLUGINS, examples
from odenet.output import answer
from pipeline.util.errors import InvalidInput


@click.command(
    short_help="Set runs beside each other.",
    epilog=examples("odenet compare 1 2 3 --html comparison.html", "odenet compare 1 2 --markdown"),
)
@ANY_RUN_IDS
@JSON
@click.option("--markdown", "as_markdown", is_flag=True, help="the tables in Markdown on standard output")
@click.option("--html", type=PATH, metavar="FILE", help="write it with its figures to one HTML file, too")
@PLUGINS
def compare(run_ids: tuple[int | str, ...], as_json: bool, as_markdown: bool, html: Path | None) -> None:
    """Set runs beside each other: results, tests of the difference, cost, what differs and whether it is fair."""
    if as_json and as_markdown:
        raise InvalidInput("--json and --markdown are two forms of one document: leave one of them out")
    from pipeline.comparison.compare import compare as compare_runs
    from pipeline.comparison.fairness import find_unfairness
    from pipeline.comparison.tables import markdown, print_comparison
    from pipeline.comparison.tuning import count_tried
    from pipeline.runs.query import Runs

    runs = Runs()
    comparison = compare_runs([runs.get(run_id) for run_id in run_ids])
    tried = count_tried(runs, comparison)
    if html is not None:
        from pipeline.comparison.page import write_page  # here, as its figures take a second and more to import

        write_page(comparison, html, tried)
        print(f"written to {html}", file=sys.stderr)
    if as_markdown:
        print(markdown(comparison, tried), end="")
    else:
        document = comparison.to_dict() | {"unfair": find_unfairness(comparison, tried)}
        answer(as_json, document, partial(print_comparison, comparison, tried=tried))
