"""`odenet rerun` and `odenet resume`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from odenet.arguments import JSON, PLUGINS, RUN_ID, examples, overrides_argument
from odenet.output import fail, finish_run, print_json
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from pipeline.runs.query import StoredRun
    from pipeline.runs.reproduce import Deviation, Difference


@click.command(
    short_help="Do a stored run again, and say whether it came out the same.",
    epilog=examples("odenet rerun 3 --expect-identical", "odenet rerun 3 with seed=1"),
)
@RUN_ID
@overrides_argument("key=value over its configuration", takes_names=False)
@click.option("--strict", is_flag=True, help="refuse when anything differs from the original's world")
@click.option("--use-stored-source", is_flag=True, help="run the sources that the store holds")
@click.option("--expect-identical", is_flag=True, help="exit status 1 unless identical to the bit")
@PLUGINS
@JSON
def rerun(
    run_id: int,
    overrides: tuple[str, ...],
    strict: bool,
    use_stored_source: bool,
    expect_identical: bool,
    as_json: bool,
) -> int:
    """Run a stored configuration and seed again, say what differs here, and whether it came out the same."""
    from experiments.presets import resolve_changed
    from pipeline.config.overrides import parse_changes
    from pipeline.runs.query import Runs
    from pipeline.runs.stored_parts import describe_plugins, load_plugins_of, stored_plugins
    from pipeline.tracking.run_document import refuse_sweep

    updates = parse_changes(overrides)
    original = Runs().get(run_id)
    refuse_sweep(original.document)
    resolved = None
    if not use_stored_source:  # those may know other keys
        load_plugins_of(original)
        resolved = resolve_changed(original.task, original.config, updates)
    # Here, when all that was asked for can be: torch and its like take seconds to import.
    from experiments.rerun import rerun as run_again
    from experiments.rerun import rerun_stored_source
    from experiments.tracked import prepare
    from pipeline.runs.reproduce import deviations, differences

    prepared = prepare(resolved.task, resolved.config) if resolved else None
    fingerprint = prepared.data.sha256 if prepared else None
    found = list(differences(original, fingerprint))
    _print_differences(original, found)
    if strict and found:
        raise InvalidInput(f"--strict: {len(found)} things differ from the world of run {original.run_id}")
    if prepared is None:
        _print_stored_sources(original, describe_plugins(stored_plugins(original)))
        repeated = Runs().get(rerun_stored_source(original, updates))
    else:
        outcome = run_again(original, prepared)
        if outcome.error is not None:
            return finish_run(outcome, as_json)
        repeated = Runs().get(outcome.run_id)
    parted = deviations(original, repeated)
    if as_json:
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
    return 1 if parted and expect_identical else 0


@click.command(
    short_help="Go on with a run from its checkpoint on this machine.",
    epilog=examples("odenet resume 3", "odenet resume 3 with training.max_epochs=80"),
)
@RUN_ID
@overrides_argument("training.max_epochs or training.patience", takes_names=False)
@PLUGINS
@JSON
def resume(run_id: int, overrides: tuple[str, ...], as_json: bool) -> int:
    """Go on with a run from its last whole checkpoint on this machine, under the same id."""
    from pipeline.config.overrides import parse_changes
    from pipeline.runs.query import Runs
    from pipeline.util.paths import home

    updates = parse_changes(overrides)
    runs = Runs()
    runs.get(run_id)
    # Here, when there is such a run: torch and its like take seconds to import.
    from experiments.tracked import prepare, resume_tracked
    from pipeline.runs.resume import prepare_resume

    run, config, data = prepare_resume(run_id, updates, home(), runs.database)
    return finish_run(resume_tracked(run, prepare(run.task, config, data)), as_json)


def _print_differences(run: "StoredRun", found: "Sequence[Difference]") -> None:
    if not found:
        print(f"Nothing here differs from the world of run {run.run_id}.", file=sys.stderr)
        return
    print(f"Different here from the world of run {run.run_id}:", file=sys.stderr)
    for difference in found:
        print(f"  {difference}", file=sys.stderr)
    for difference in found:
        print(difference.diff, end="", file=sys.stderr)


def _print_stored_sources(run: "StoredRun", plugins: Sequence[str]) -> None:
    sources = run.document["experiment"]["sources"]
    print(f"\nWill execute the {len(sources)} stored source files:", file=sys.stderr)
    for name, _ in sources:
        print(f"  {name}", file=sys.stderr)
    for line in plugins:
        print(f"  plug-in {line}", file=sys.stderr)


def _print_deviations(original: "StoredRun", repeated: "StoredRun", parted: "Sequence[Deviation]") -> None:
    if not parted:
        print(f"run {repeated.run_id} is identical to run {original.run_id}, to the bit")
        return
    print(f"run {repeated.run_id} deviates from run {original.run_id}:")
    for deviation in parted:
        print(f"  {deviation.metric}: largest deviation {deviation.largest:.3g}, from epoch {deviation.first_epoch} on")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in values.items()}
