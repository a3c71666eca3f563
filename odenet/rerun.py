"""`odenet rerun` and `odenet resume`."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from odenet.arguments import add_command, add_with
from odenet.output import fail, finish_run, print_json
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from pipeline.runs.query import StoredRun
    from pipeline.runs.reproduce import Deviation, Difference


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    again = add_command(commands, "rerun", rerun, "do a stored run again, and say whether it came out the same")
    again.add_argument("run_id", type=int, metavar="ID")
    add_with(again, "key=value over its configuration")
    again.add_argument("--strict", action="store_true", help="refuse when anything differs from the original's world")
    again.add_argument("--use-stored-source", action="store_true", help="run the sources that the store holds")
    again.add_argument("--expect-identical", action="store_true", help="exit status 1 unless identical to the bit")
    on = add_command(commands, "resume", resume, "go on with a run from its checkpoint on this machine")
    on.add_argument("run_id", type=int, metavar="ID")
    add_with(on, "training.max_epochs or training.patience")


def rerun(arguments: argparse.Namespace) -> int:
    """Run a stored configuration and seed again, say what differs here, and whether it came out the same."""
    from pipeline.config.presets import merge, parse_changes
    from pipeline.config.sections import Config
    from pipeline.runs.query import Runs
    from pipeline.tracking.run_document import refuse_sweep

    updates = parse_changes(arguments.with_)
    original = Runs().get(arguments.run_id)
    refuse_sweep(original.document)
    if not arguments.use_stored_source:  # those may know other keys
        Config.from_dict(merge(original.config, updates))
    # Here, when all that was asked for can be: torch and its like take seconds to import.
    from experiments.rerun import rerun as run_again
    from experiments.rerun import rerun_stored_source
    from pipeline.runs.reproduce import deviations, differences

    found = list(differences(original))
    _print_differences(original, found, arguments.use_stored_source)
    if arguments.strict and found:
        raise InvalidInput(f"--strict: {len(found)} things differ from the world of run {original.run_id}")
    if arguments.use_stored_source:
        repeated = Runs().get(rerun_stored_source(original, updates))
    else:
        outcome = run_again(original, updates)
        if outcome.error is not None:
            return finish_run(outcome, arguments.json)
        repeated = Runs().get(outcome.run_id)
    parted = deviations(original, repeated)
    if arguments.json:
        print_json(
            {
                "run_id": repeated.run_id,
                "rerun_of": original.run_id,
                "status": repeated.status,
                "identical": not parted,
                "differences": [vars(difference) for difference in found],
                "deviations": [_finite(vars(deviation)) for deviation in parted],
            }
        )
    else:
        _print_deviations(original, repeated, parted)
    if repeated.status != "COMPLETED":
        return fail(f"run {repeated.run_id} {repeated.status}: `odenet show {repeated.run_id}` says why", 1)
    return 1 if parted and arguments.expect_identical else 0


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run from its last whole checkpoint on this machine, under the same id."""
    from pipeline.config.presets import parse_changes
    from pipeline.runs.query import Runs
    from pipeline.util.paths import home

    updates = parse_changes(arguments.with_)
    runs = Runs()
    runs.get(arguments.run_id)
    # Here, when there is such a run: torch and its like take seconds to import.
    from experiments.classification import resume_tracked
    from pipeline.runs.resume import prepare

    run, config = prepare(arguments.run_id, updates, home(), runs.database)
    return finish_run(resume_tracked(run, config), arguments.json)


def _print_differences(run: "StoredRun", found: "Sequence[Difference]", uses_stored_source: bool) -> None:
    if not found:
        print(f"Nothing here differs from the world of run {run.run_id}.", file=sys.stderr)
        return
    print(f"Different here from the world of run {run.run_id}:", file=sys.stderr)
    for difference in found:
        print(f"  {difference}", file=sys.stderr)
    for difference in found:
        print(difference.diff, end="", file=sys.stderr)
    if uses_stored_source:
        print(f"\nWill execute the {len(run.document['experiment']['sources'])} stored source files:", file=sys.stderr)
        for name, _ in run.document["experiment"]["sources"]:
            print(f"  {name}", file=sys.stderr)


def _print_deviations(original: "StoredRun", repeated: "StoredRun", parted: "Sequence[Deviation]") -> None:
    if not parted:
        print(f"run {repeated.run_id} is identical to run {original.run_id}, to the bit")
        return
    print(f"run {repeated.run_id} deviates from run {original.run_id}:")
    for deviation in parted:
        print(f"  {deviation.metric}: largest deviation {deviation.largest:.3g}, from epoch {deviation.first_epoch} on")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in values.items()}
