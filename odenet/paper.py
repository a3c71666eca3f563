"""`odenet paper`."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odenet.arguments import (
    JSON,
    PATH,
    PLUGINS,
    ConfigurationCommand,
    at_least_one,
    examples,
    number,
    overrides_argument,
    seeds_of,
)
from odenet.output import answer, fail
from pipeline.util.early_signals import INTERRUPTED
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from experiments.study_plan import StudyPlan


@click.command(
    cls=ConfigurationCommand,
    short_help="Regenerate a paper's table, or a study of your own, beside the paper's numbers.",
    epilog=examples(
        "odenet paper",
        "odenet paper bijsterbosch-8.1 --scale small --html table.html",
        "odenet paper gladzik-fashion-mnist --dry-run",
        "odenet paper my_study.yaml --plugin my_field.py",
        "odenet paper architecture --model my_net --plugin my_net.py --scale small",
    ),
)
@click.argument("name", required=False, metavar="[NAME|FILE]", help="a study; without it, what there is")
@overrides_argument("named configurations and key=value over those of the study")
@click.option("--scale", metavar="NAME", default="full", help="full (the paper's, default), small, smoke")
@click.option("--seeds", type=seeds_of, metavar="LIST", help="as 0,1,2; those of the study without it")
@click.option("--model", metavar="NAME", help="a named configuration instead of the study's, as in architecture")
@click.option("--dry-run", is_flag=True, help="say what would be done and what it would cost, and do nothing")
@click.option("--no-training", is_flag=True, help="show what the store has, and do nothing")
@click.option("--same-sources", is_flag=True, help="take stored runs of this very code alone")
@click.option("--parallel", type=at_least_one, metavar="N", help="runs at once; all that fit without it")
@click.option("--cpus-per-run", type=number, metavar="N", help="an even share without it")
@click.option("--gpus-per-run", type=number, metavar="F", help="as 0.25; an even share without it")
@click.option("--address", metavar="ADDRESS", help="of a Ray cluster; RAY_ADDRESS without it, else this machine")
@click.option("--html", type=PATH, metavar="FILE", help="write it with its figures to one HTML file, too")
@click.option("--markdown", type=PATH, metavar="FILE", help="write its tables as Markdown, too")
@click.option("--latex", type=PATH, metavar="FILE", help="write its table as LaTeX, too")
@PLUGINS
@JSON
def paper(
    name: str | None,
    overrides: tuple[str, ...],
    scale: str,
    seeds: tuple[int, ...] | None,
    model: str | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Train what a table of a paper needs and the store lacks, then print ours beside theirs."""
    if name is None:
        return _list(scale, as_json)
    if overrides and overrides[0] != "with":
        raise InvalidInput(f"expected `with` before {overrides[0]!r}")
    from experiments.study_plan import find_study, make_plan

    plan = make_plan(
        find_study(name), scale, seeds, overrides[1:], model
    )  # what is wrong is told before torch is there
    files = {kind: settings.pop(kind) for kind in ("html", "markdown", "latex")}
    return _carry_out(plan, as_json, files, **settings)


def _carry_out(
    plan: "StudyPlan",
    as_json: bool,
    files: dict[str, Path | None],
    *,
    dry_run: bool,
    no_training: bool,
    same_sources: bool,
    address: str | None,
    parallel: int | None,
    cpus_per_run: float | None,
    gpus_per_run: float | None,
) -> int:
    from pipeline.sweeps.ray_environment import LOCAL, prepare

    cluster = address or os.environ.get("RAY_ADDRESS") or LOCAL
    prepare(cluster)  # before anything imports Ray
    from experiments.study_cost import estimate, print_estimate
    from experiments.study_result import result_of
    from experiments.study_standing import find_device, look
    from pipeline.runs.query import Runs
    from pipeline.studies.tables import print_study
    from pipeline.sweeps.share import local_share

    if cluster == LOCAL:
        at_once = local_share(parallel, cpus_per_run, gpus_per_run, of="run").parallel
    else:  # which is known once runs are given to it
        at_once = parallel or local_share(None, None, None).parallel
    device = find_device(cluster, gpus_per_run)
    standing = look(plan, Runs(), device, same_sources)
    if dry_run:
        cost = estimate(standing, at_once, calibrates=True)
        answer(as_json, cost.to_dict(), partial(print_estimate, cost))
        return 0
    failures: dict[int, str] = {}
    if standing.missing and not no_training:
        cost = estimate(standing, at_once, calibrates=False)
        print(cost.sentence(), file=sys.stderr, flush=True)
        from experiments.study import carry_out  # here, as Ray takes a second to import

        try:
            failures = carry_out(
                plan,
                device,
                cost.seconds,
                same_sources=same_sources,
                address=cluster,
                parallel=parallel,
                cpus_per_run=cpus_per_run,
                gpus_per_run=gpus_per_run,
            )
        except KeyboardInterrupt:
            return fail("interrupted; what is done stays, and the same command goes on", INTERRUPTED)
        standing = look(plan, Runs(), device, same_sources)
    result = result_of(standing, failures)
    _write(result, files)
    answer(as_json, result.to_dict(), partial(print_study, result))
    return 1 if failures or (result.missing and not no_training) else 0


def _write(result: Any, files: dict[str, Path | None]) -> None:
    """The documents that were asked for."""
    from pipeline.studies.latex import latex
    from pipeline.studies.tables import markdown
    from pipeline.util.files import write_result

    for kind, path in files.items():
        if path is None:
            continue
        if kind == "html":
            from pipeline.studies.page import page  # here, as its figures take a second and more to import

            write_result(path, page(result), "page")
        else:
            write_result(path, markdown(result) if kind == "markdown" else latex(result), "table")
        print(f"written to {path}", file=sys.stderr)


def _list(scale: str, as_json: bool) -> int:
    """Every study that comes along: what is done, what is missing, what it will cost here."""
    from experiments.study_list import list_studies, print_list

    rows = list_studies(scale)
    answer(as_json, [row.to_dict() for row in rows], partial(print_list, rows))
    return 0
