"""`odenet sweep`."""

import os
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from odenet.arguments import (
    JSON,
    PLUGINS,
    ConfigurationCommand,
    at_least_one,
    count,
    examples,
    number,
    overrides_argument,
    whole_number,
)
from odenet.output import answer, finish
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from experiments.sweep_plan import Plan


@click.command(
    cls=ConfigurationCommand,
    short_help="Search hyperparameters on this machine or a Ray cluster.",
    epilog=examples(
        "odenet sweep digits --trials 20",
        "odenet sweep thesis_simple --minutes 38 --parallel 2 with data.subset=10000",
        "odenet sweep digits --constraint 'solver.nfe_forward <= 30'",
        "odenet sweep cnf_pareto --trials 16",
        "odenet sweep --resume 12",
    ),
)
@click.argument("space", required=False, metavar="[SPACE]", help="a YAML file, or one that comes along: digits, …")
@overrides_argument("named configurations and key=value over those of the space")
@click.option(
    "--constraint",
    "constraints",
    metavar="'METRIC <= N'",
    multiple=True,
    help="or >=, beside those of the space: no trial that violates it is the best; may be repeated",
)
@click.option("--trials", type=at_least_one, metavar="N", default=50, help="how many (default 50)")
@click.option("--minutes", type=number, metavar="M", help="begin no trial after so many")
@click.option("--parallel", type=at_least_one, metavar="N", help="trials at once; all that fit without it")
@click.option("--cpus-per-trial", type=number, metavar="N", help="an even share without it")
@click.option("--gpus-per-trial", type=number, metavar="F", help="as 0.25; an even share without it")
@click.option("--address", metavar="ADDRESS", help="of a Ray cluster; RAY_ADDRESS without it, else this machine")
@click.option("--seed", type=whole_number, metavar="N", default=0, help="of the searcher and all trials (default 0)")
@click.option(
    "--fresh-seeds", type=count, metavar="N", help="to check the best on (default 3; with several objectives 0)"
)
@click.option(
    "--resume",
    type=whole_number,
    metavar="ID",
    help="go on with a sweep; of the others --parallel, --*-per-trial, --address",
)
@click.option(
    "--no-pruning",
    "prunes",
    is_flag=True,
    flag_value=False,
    default=True,
    help="let every trial run to its end, as with several objectives",
)
@click.option("--skip-existing", "skips_existing", is_flag=True, help="take completed runs of the same configuration")
@PLUGINS
@JSON
def sweep(
    space: str | None,
    overrides: tuple[str, ...],
    address: str | None,
    resume: int | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Search hyperparameters on this machine or a Ray cluster, check the best on fresh seeds, report."""
    from pipeline.sweeps.ray_environment import LOCAL, prepare

    plan = _plan(space, overrides, resume, settings)  # what is wrong is told before Ray's and torch's imports
    cluster = address or os.environ.get("RAY_ADDRESS") or LOCAL
    prepare(cluster)  # before anything imports Ray
    from experiments.sweep import resume_sweep, sweep_tracked
    from pipeline.sweeps.text import headline

    if isinstance(plan, int):
        from experiments.sweep_plan import SHARES

        shares = {name: settings[name] for name in SHARES if settings[name] is not None}
        outcome = resume_sweep(plan, cluster, **shares)
    else:
        outcome = sweep_tracked(plan, cluster)
    report = outcome.folder / "report.html"
    text = f"{headline(outcome.sweep)}: `odenet sweeps show {outcome.run_id}`{f', {report}' if report.exists() else ''}"
    answer(as_json, outcome.to_dict(), text)
    return finish(outcome, "sweep")


def _plan(space: str | None, overrides: tuple[str, ...], resumed: int | None, settings: dict[str, Any]) -> "Plan | int":
    """What a new sweep is to do, or the id of the one that goes on."""
    if resumed is not None:
        if space is not None:
            other = "what follows with" if space == "with" else space
            raise InvalidInput(f"--resume {resumed} goes on with its own space and settings: leave {other} out")
        _refuse_settings(resumed, settings)
        return resumed
    from experiments.sweep_plan import Plan, find_space

    if space is None:
        raise InvalidInput("odenet sweep needs a space, as in: odenet sweep digits --trials 20")
    if overrides and overrides[0] != "with":
        raise InvalidInput(f"expected `with` before {overrides[0]!r}")
    found = find_space(space, settings["constraints"], overrides[1:])
    if settings["fresh_seeds"] is None:
        settings["fresh_seeds"] = 3 if found.goal.is_single else 0
    settings["prunes"] &= found.goal.is_single
    return Plan(space=found, space_file=space, overrides=overrides[1:], **settings)


def _refuse_settings(resumed: int, settings: dict[str, Any]) -> None:
    """Those of the command line that would have no effect."""
    from experiments.sweep_plan import SHARES

    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in settings and name not in SHARES:
            raise InvalidInput(
                f"--resume {resumed} goes on with its own space and settings: leave {parameter.opts[0]} out"
            )
