"""`odenet sweep`."""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from odenet.arguments import add_command, add_with, count
from odenet.output import INTERRUPTED, fail, print_json
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from experiments.sweep_plan import Plan


def at_least_one(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = count(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be at least 1, not 0")
    return number


def fraction(text: str) -> float:
    """A number that is not negative, for argparse."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None
    if not 0 <= number < 1e6:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {text}")
    return number


VALUED: Mapping[str, Mapping[str, Any]] = {
    "--trials": {"type": at_least_one, "default": 50, "metavar": "N", "help": "(default 50)"},
    "--minutes": {"type": fraction, "metavar": "M", "help": "begin no trial after so many"},
    "--parallel": {"type": at_least_one, "metavar": "N", "help": "trials at once; all that fit without it"},
    "--cpus-per-trial": {"type": fraction, "metavar": "N", "help": "an even share without it"},
    "--gpus-per-trial": {"type": fraction, "metavar": "F", "help": "as 0.25; an even share without it"},
    "--address": {"help": "of a Ray cluster; RAY_ADDRESS without it, else this machine"},
    "--seed": {"type": count, "default": 0, "help": "of the searcher and all trials (default 0)"},
    "--fresh-seeds": {"type": count, "default": 3, "metavar": "N", "help": "to check the best on (default 3)"},
    "--resume": {"type": int, "metavar": "ID", "help": "go on with a sweep; the other flags are then its own"},
}
"""The flags that take a value -> what argparse is told of them."""


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = add_command(commands, "sweep", sweep, "search hyperparameters on this machine or on a Ray cluster")
    command.add_argument("space", nargs="?", metavar="SPACE", help="a YAML file, or one that comes along: digits, …")
    add_with(command, "named configurations and key=value over those of the space")
    for flag, settings in VALUED.items():
        command.add_argument(flag, **settings)
    command.add_argument("--no-pruning", action="store_true", help="let every trial run to its end")
    command.add_argument("--skip-existing", action="store_true", help="take completed runs of the same configuration")


def sweep(arguments: argparse.Namespace) -> int:
    """Search, check the best on fresh seeds, report."""
    from pipeline.sweeps.ray_environment import LOCAL, prepare

    plan = _plan(arguments)  # what is wrong is told before Ray's and torch's imports
    address = arguments.address or os.environ.get("RAY_ADDRESS") or LOCAL
    prepare(address)  # before anything imports Ray
    from experiments.sweep import resume_sweep, sweep_tracked
    from pipeline.sweeps.text import headline

    outcome = resume_sweep(arguments.resume, address) if plan is None else sweep_tracked(plan, address)
    if arguments.json:
        print_json(outcome.to_dict())
    else:
        print(f"{headline(outcome.sweep)}: `odenet sweeps show {outcome.run_id}`, {outcome.folder}/report.html")
    if outcome.error is not None:
        status = INTERRUPTED if outcome.status == "INTERRUPTED" else 1
        return fail(f"sweep {outcome.run_id} {outcome.status}: {outcome.error}", status)
    return 0


def _plan(arguments: argparse.Namespace) -> "Plan | None":
    """What a new sweep is to do; None where an old one goes on."""
    if arguments.resume is not None:
        if arguments.space is not None:
            raise InvalidInput(f"--resume {arguments.resume} goes on with its own space, not with {arguments.space}")
        return None
    from experiments.sweep_plan import Plan, find_space

    if arguments.space is None:
        raise InvalidInput("odenet sweep needs a space, as in: odenet sweep digits --trials 20")
    if arguments.with_ and arguments.with_[0] != "with":
        raise InvalidInput(f"expected `with` before {arguments.with_[0]!r}")
    return Plan(
        space=find_space(arguments.space),
        space_file=arguments.space,
        words=tuple(arguments.with_[1:]),
        trials=arguments.trials,
        seed=arguments.seed,
        fresh_seeds=arguments.fresh_seeds,
        prunes=not arguments.no_pruning,
        skips_existing=arguments.skip_existing,
        minutes=arguments.minutes,
        parallel=arguments.parallel,
        cpus_per_trial=arguments.cpus_per_trial,
        gpus_per_trial=arguments.gpus_per_trial,
    )
