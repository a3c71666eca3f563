"""`odenet rerun` and `odenet resume`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from experiments.presets import resolve_changed
from odenet.arguments import JSON, PLUGINS, RUN_ID, WORKERS, examples, overrides_argument
from odenet.output import answer, fail, finish, finish_run
from pipeline.config.overrides import parse_changes
from pipeline.util.errors import InvalidInput
from pipeline.util.paths import home
from pipeline.util.torchrun import torchrun_rank, workers_asked

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
    from pipeline.runs.query import RunNotFound, Runs
    from pipeline.runs.stored_parts import describe_plugins, load_plugins_of, stored_plugins
    from pipeline.tracking.run_document import refuse_reevaluation, refuse_sweep

    updates = parse_changes(overrides)
    original = Runs().get(run_id)
    refuse_sweep(original.document)
    refuse_reevaluation(original.document)
    resolved = None
    if not use_stored_source:  # those may know other keys
        load_plugins_of(original)
        resolved = resolve_changed(original.task, original.config, updates)
    # Here, when all that was asked for can be: torch and its like take seconds to import.
    from experiments.prepare import prepare
    from experiments.rerun import fingerprint_here, rerun_stored_source
    from experiments.tracked import run_tracked
    from pipeline.runs.reproduce import deviations, differences

    prepared = prepare(resolved.task, resolved.config) if resolved else None
    fingerprint, problem = (prepared.data.sha256, "") if prepared else fingerprint_here(original, updates)
    found = list(differences(original, fingerprint, problem))
    _print_differences(original, found)
    if strict and found:
        raise InvalidInput(f"--strict: {len(found)} things differ from the world of run {original.run_id}")
    outcome = None
    if prepared is None:
        _print_stored_sources(original, describe_plugins(stored_plugins(original)))
        repeated = Runs().get(rerun_stored_source(original, updates))
    else:
        outcome = run_tracked(prepared, info={"rerun_of": original.run_id}, changed=updates)
        if outcome.error is not None and not as_json:
            return finish(outcome)
        repeated = Runs().get(outcome.run_id)
    try:
        original = Runs().get(run_id)  # it may have gone on until now
    except RunNotFound:
        told = f"run {run_id}, which it repeats, was removed meanwhile, so nothing is compared"
        return fail(f"run {repeated.run_id} {repeated.status}, but {told}", 1)
    parted = deviations(original, repeated)
    document = {
        "run_id": repeated.run_id,
        "rerun_of": original.run_id,
        "status": repeated.status,
        "identical": not parted,
        "differences": [vars(difference) for difference in found],
        "deviations": [vars(deviation) for deviation in parted],
    }
    answer(as_json, document, _in_words(original, repeated, parted))
    if outcome is not None and outcome.error is not None:
        return finish(outcome)
    if repeated.status != "COMPLETED":
        return fail(f"run {repeated.run_id} {repeated.status}: `odenet show {repeated.run_id}` says why", 1)
    return 1 if parted and expect_identical else 0


@click.command(
    short_help="Go on with a run from its checkpoint on this machine.",
    epilog=examples("odenet resume 3", "odenet resume 3 with training.max_epochs=80"),
)
@RUN_ID
@overrides_argument("training.max_epochs, training.patience or training.device", takes_names=False)
@WORKERS
@PLUGINS
@JSON
def resume(run_id: int, overrides: tuple[str, ...], workers: int | None, as_json: bool) -> int:
    """Go on with a run from its last whole checkpoint on this machine, under the same id."""
    if torchrun_rank():
        from experiments.worker import follow_torchrun

        return follow_torchrun()
    from pipeline.runs.query import Runs

    size, updates = workers_asked(workers), parse_changes(overrides)
    runs = Runs()
    runs.get(run_id)
    # Here, when there is such a run: torch and its like take seconds to import.
    from experiments.prepare import prepare
    from experiments.tracked import resume_tracked
    from pipeline.runs.resume import prepare_resume

    run, config, data = prepare_resume(run_id, updates, home(), runs.database)
    return finish_run(resume_tracked(run, prepare(run.task, config, data, size), changed=updates), as_json)


def _print_differences(run: "StoredRun", found: "Sequence[Difference]") -> None:
    if found:
        lines = [f"Different here from the world of run {run.run_id}:", *(f"  {difference}" for difference in found)]
    else:
        lines = [f"Nothing here differs from the world of run {run.run_id}."]
    print("\n".join(lines), file=sys.stderr)
    for difference in found:
        print(difference.diff, end="", file=sys.stderr)


def _print_stored_sources(run: "StoredRun", plugins: Sequence[str]) -> None:
    sources = run.document["experiment"]["sources"]
    lines = [*(name for name, _ in sources), *(f"plug-in {line}" for line in plugins)]
    print(f"\nWill execute the {len(sources)} stored source files:", *lines, sep="\n  ", file=sys.stderr)


def _in_words(original: "StoredRun", repeated: "StoredRun", parted: "Sequence[Deviation]") -> str:
    if not parted:
        return f"run {repeated.run_id} is identical to run {original.run_id}, to the bit"
    lines = [f"run {repeated.run_id} deviates from run {original.run_id}:"]
    lines += [f"  {deviation}" for deviation in parted]
    return "\n".join(lines)
