"""What makes a comparison of runs unfair."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.comparison.compare import Comparison
from pipeline.comparison.compared_run import ComparedRun
from pipeline.comparison.groups import Group
from pipeline.tracking.conditions import machine
from pipeline.tracking.run_document import result_spec, task_of

PARAMETER_TOLERANCE = 0.05
"""Share by which parameter counts may differ."""

MULTIPLY_ADDS_TOLERANCE = 1.5
"""So many times the multiply-adds as solved may differ."""

SPLIT_KEYS = ("data.subset", "data.validation_fraction")


def find_unfairness(comparison: Comparison, tried: Mapping[str, int] | None = None) -> list[str]:
    """A sentence for each reason not to take the comparison at its face; what a run does not record is no reason.

    Args:
        tried: letter of a group -> how many configurations of its training were tried; nothing is said without it.
    """
    runs = comparison.runs
    return [
        *_outcomes(runs),
        *_tasks(runs),
        *_data(runs),
        *_seeds(comparison.groups),
        *_repetitions(comparison.groups),
        *_missing_results(comparison.groups),
        *_parameters(comparison.groups),
        *_multiply_adds(comparison.groups),
        *_epochs(runs),
        *_stopping(runs),
        *_tuning(comparison.groups, tried or {}),
        *_machines(runs),
    ]


def _outcomes(runs: Sequence[ComparedRun]) -> Iterator[str]:
    for run in runs:
        if not run.completed:
            yield f"Run {run.run_id} did not complete ({run.status}) and is in no mean."


def _tasks(runs: Sequence[ComparedRun]) -> Iterator[str]:
    tasks = by_value(runs, lambda run: task_of(run.document))
    if len(tasks) > 1:
        yield f"The tasks differ: {listed(tasks)}."


def _data(runs: Sequence[ComparedRun]) -> Iterator[str]:
    fingerprints = by_value(runs, lambda run: run.info.data_sha256)
    if len(fingerprints) > 1:
        shown = {str(sha256)[:10]: found for sha256, found in fingerprints.items()}
        yield f"The data differ: fingerprint {listed(shown)}."
    for key in SPLIT_KEYS:
        # A missing subset is all of them, and so a value among the others.
        values = by_value(runs, lambda run, key=key: str(run.config.get(key)))  # type: ignore[misc]
        if len(values) > 1:
            yield f"The training and validation splits differ: {key} is {listed(values)}."
    tested = by_value(runs, lambda run: run.info.tested or ("all" if run.info.test else None))
    if len(tested) > 1:
        yield f"They were not tested on the same part of the test split: {listed(tested)}."
    sizes = by_value(runs, lambda run: run.info.sizes.get("training"))
    if len(sizes) > 1:
        kinds = {things for _, things in sizes}
        shown = {f"{n} {things}" if len(kinds) > 1 else str(n): ids for (n, things), ids in sizes.items()}
        noun = f" {kinds.pop()}" if len(kinds) == 1 else ""
        yield f"The training sets are not of one size: {listed(shown)}{noun}."


def _seeds(groups: Sequence[Group]) -> Iterator[str]:
    found = {group.letter: {run.seed for run in group.runs if run.seed is not None} for group in groups}
    seeds = {letter: sorted(of_group, key=_number_first) for letter, of_group in found.items()}
    seeds = {letter: of_group for letter, of_group in seeds.items() if of_group}
    if len(set(map(tuple, seeds.values()))) > 1:
        shown = "; ".join(f"{letter}: {', '.join(map(str, of_group))}" for letter, of_group in seeds.items())
        yield f"The seeds differ, and with them what chance decides, such as the validation split ({shown})."


def _number_first(seed: Any) -> tuple[bool, Any]:
    """Another program's seed may be a text."""
    return isinstance(seed, str), seed


def _repetitions(groups: Sequence[Group]) -> Iterator[str]:
    for group in groups:
        for seed, ids in by_value(group.completed, lambda run: run.seed).items():
            if len(ids) > 1:
                shown = ", ".join(map(str, ids))
                yield f"Runs {shown} repeat each other (seed {seed}): in the means of {group.letter} they count as one."


def _missing_results(groups: Sequence[Group]) -> Iterator[str]:
    for group in groups:
        without = [run.run_id for run in group.completed if run.values.get(result_spec(run.document).quantity) is None]
        if without and len(without) < len(group.completed):
            shown = ", ".join(map(str, without))
            yield f"Of {group.letter}, runs that completed without a result that is a number are in no mean: {shown}."


def _parameters(groups: Sequence[Group]) -> Iterator[str]:
    counts = {group.letter: count for group in groups if (count := _parameter_count(group)) is not None}
    if not counts:
        return
    apart = max(counts.values()) / min(counts.values()) - 1
    if apart > PARAMETER_TOLERANCE:
        shown = ", ".join(f"{letter} {count:,.0f}" for letter, count in counts.items())
        how_far = f"{apart:.0%}" if apart <= 1 else f"{apart + 1:,.1f} times"
        yield f"The parameter counts are up to {how_far} apart: {shown}."


def _parameter_count(group: Group) -> float | None:
    return next((count for run in group.runs if (count := run.values.get("parameters")) is not None), None)


def _multiply_adds(groups: Sequence[Group]) -> Iterator[str]:
    """Of a test sample, with the evaluations that its solver made."""
    spreads = {group.letter: group.spread("multiply_adds_test") for group in groups}
    means = {letter: spread.mean for letter, spread in spreads.items() if spread is not None and spread.mean > 0}
    if len(means) < 2:
        return
    times = max(means.values()) / min(means.values())
    if times > MULTIPLY_ADDS_TOLERANCE:
        are_small = min(means.values()) < 1e5
        shown = ", ".join(
            f"{letter} {mean:,.0f}" if are_small else f"{letter} {mean / 1e6:,.1f} M" for letter, mean in means.items()
        )
        yield f"The multiply-adds of a sample, as solved, are up to {times:.1f} times apart: {shown}."


def _epochs(runs: Sequence[ComparedRun]) -> Iterator[str]:
    for key in ("training.max_epochs", "training.patience"):
        values = by_value(runs, lambda run, key=key: str(run.config[key]) if key in run.config else None)  # type: ignore[misc]
        if len(values) > 1:
            yield f"They may train for other numbers of epochs: {key} is {listed(values)}."


def _tuning(groups: Sequence[Group], tried: Mapping[str, int]) -> Iterator[str]:
    counts = {group.letter: tried[group.letter] for group in groups if group.letter in tried}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"of {letter} {count}" for letter, count in counts.items())
        yield f"They were not tuned alike; configurations of the training that were tried: {shown}."


def _stopping(runs: Sequence[ComparedRun]) -> Iterator[str]:
    fixed = {(run.config.get("training.patience"), run.config.get("training.max_epochs")) for run in runs}
    if len(fixed) == 1 and runs[0].config.get("training.patience") is None:
        return  # all of them trained for the same number of epochs on purpose
    late = [run for run in runs if run.completed and not run.info.stopped_early]
    if late:
        limits = by_value(late, lambda run: run.config.get("training.max_epochs"))
    if late and limits:
        yield f"Not stopped early but by training.max_epochs: {listed(limits)}; more epochs might have changed them."


def _machines(runs: Sequence[ComparedRun]) -> Iterator[str]:
    machines = by_value(runs, lambda run: machine(run.document))
    if len(machines) > 1:
        yield f"The machines differ, so do not compare times: {listed(machines)}."


def by_value(runs: Sequence[ComparedRun], value_of: Callable[[ComparedRun], Any]) -> dict[Any, list[int]]:
    """Value -> the runs that have it; without the runs that have none."""
    found: dict[Any, list[int]] = {}
    for run in runs:
        value = value_of(run)
        if value is not None:
            found.setdefault(value, []).append(run.run_id)
    return found


def listed(found: dict[Any, list[int]]) -> str:
    """'1149 (runs 1, 2), 800 (run 3)'."""
    parts = []
    for value, ids in found.items():
        noun = "run" if len(ids) == 1 else "runs"
        parts.append(f"{value} ({noun} {', '.join(map(str, ids))})")
    return ", ".join(parts)
