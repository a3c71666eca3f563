"""A comparison of sweeps as tables of words, for a terminal, for Markdown and for the page; and as plain values."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.console import Console

from pipeline.reporting.markdown import escaped, markdown_table, note
from pipeline.reporting.text_table import NOTHING, TextTable, shown, terminal_table
from pipeline.reporting.words import counted, duration
from pipeline.sweeps.axes import tidy
from pipeline.sweeps.comparison import ComparedSweep, SweepComparison
from pipeline.sweeps.comparison_cautions import find_cautions
from pipeline.sweeps.space import Choice, Distribution
from pipeline.sweeps.state import COMPLETED, FAILURES, PRUNED
from pipeline.sweeps.text import (
    constraints_text,
    count_violating,
    measured_value,
    metric_text,
    metric_words,
    spec_words,
    test_result,
)

Fact = Callable[[ComparedSweep], str]


def title(comparison: SweepComparison) -> str:
    """What is compared."""
    return f"{counted(len(comparison.sweeps), 'sweep')} for {_objectives(comparison)}"


def comparison_tables(comparison: SweepComparison) -> list[TextTable]:
    """All tables, in the order in which one reads them."""
    return [
        results_table(comparison),
        numbers_table(comparison),
        cost_table(comparison),
        failures_table(comparison),
        spaces_table(comparison),
        best_table(comparison),
        settings_table(comparison),
    ]


def results_table(comparison: SweepComparison) -> TextTable:
    """What each sweep came to."""
    space = comparison.sweeps[0].sweep.space
    rows: dict[str, Fact] = {
        "space": lambda one: one.sweep.name,
        "trials over": lambda one: f"{len(one.sweep.state.over())} of {one.sweep.trials}",
    }
    if comparison.is_single:
        rows[f"best {metric_words(space)}"] = _best_value
        rows["of trial (run)"] = _best_trial
        rows[f"test {space.task.result.heading}, fresh seeds"] = lambda one: test_result(one.sweep)
        rows["fresh seeds that completed"] = lambda one: str(len(one.sweep.checked))
    else:
        rows["on its Pareto front"] = lambda one: str(len(one.sweep.front))
        for objective in comparison.objectives:
            spec = space.spec_of(objective.metric)
            rows[f"best {spec_words(spec)}"] = lambda one, metric=objective.metric: _extreme(one, metric)  # type: ignore[misc]
    note = "The best value of a search is the best of many and flatters"
    more = "; the test on fresh seeds does not." if comparison.is_single else "."
    return _table("Results", comparison, rows, note + more)


def numbers_table(comparison: SweepComparison) -> TextTable:
    """What they came to with the same number of trials."""
    name = "With as many trials"
    if not comparison.numbers:
        return TextTable(name, (), (), "", note="No trial is over in one of them.")
    space = comparison.sweeps[0].sweep.space
    rows = []
    for number in comparison.numbers:
        if comparison.is_single:
            cells = [metric_text(space.spec, value) for value in comparison.best_after(number)]
        else:
            cells = [str(many) for many in comparison.on_joint_front(number)]
        rows.append((str(number), *cells))
    what = (
        f"The best {metric_words(space)} among the first trials that were over"
        if comparison.is_single
        else "How many of the first trials that were over are on the Pareto front of the first trials of all sweeps"
    )
    return TextTable(
        name, ("trials", *_labels(comparison)), tuple(rows), "r" * (1 + len(comparison.sweeps)), f"{what}."
    )


def cost_table(comparison: SweepComparison) -> TextTable:
    """Times, workers and memory."""
    rows: dict[str, Fact] = {
        "time on the clock": lambda one: shown(one.sweep.seconds, duration),
        "the trials' epochs in sum": lambda one: duration(_trial_seconds(one)),
        "a trial's epochs, mean": lambda one: duration(_trial_seconds(one) / max(1, len(_trained(one)))),
        "epochs in sum": lambda one: f"{sum(trial.epochs for trial in _trained(one)):,}",
        "workers": lambda one: str(one.sweep.config["parallel"]),
        "peak memory (MB)": lambda one: shown(_peak_memory(one), ",.0f"),
    }
    note = (
        "Trials that took another run's result are in no time. Where a sweep was resumed the pause would count, so its "
        "time on the clock is not known."
    )
    return _table("Time and cost", comparison, rows, note)


def failures_table(comparison: SweepComparison) -> TextTable:
    """How trials ended, and why they failed."""
    reasons = [
        reason for reason in FAILURES if any(one.sweep.state.failures().get(reason) for one in comparison.sweeps)
    ]
    rows: dict[str, Fact] = {
        "completed": lambda one: str(one.sweep.state.counts().get(COMPLETED, 0)),
        "of them violating a constraint": lambda one: str(count_violating(one.sweep.state)),
        "pruned": lambda one: str(one.sweep.state.counts().get(PRUNED, 0)),
        "failed": lambda one: str(sum(one.sweep.state.failures().values())),
    }
    for reason in reasons:
        rows[f"by: {FAILURES[reason]}"] = lambda one, reason=reason: str(one.sweep.state.failures().get(reason, 0))  # type: ignore[misc]
    return _table("How trials ended", comparison, rows)


def spaces_table(comparison: SweepComparison) -> TextTable:
    """What each sweep searched."""
    keys = list(dict.fromkeys(key for one in comparison.sweeps for key in one.sweep.space.parameters()))
    rows: dict[str, Fact] = {key: lambda one, key=key: _range(one, key) for key in keys}  # type: ignore[misc]
    if any(one.sweep.space.goal.constraints for one in comparison.sweeps):
        rows["constraints"] = lambda one: constraints_text(one.sweep.space) or "none"
    return _table("Spaces", comparison, rows)


def best_table(comparison: SweepComparison) -> TextTable:
    """The best configuration of each; of several objectives there is none."""
    name = "Best configurations"
    if not comparison.is_single:
        return TextTable(name, (), (), "", note="Of several objectives no one trial is the best.")
    keys = list(dict.fromkeys(key for one in comparison.sweeps for key in one.sweep.space.parameters()))
    rows: dict[str, Fact] = {key: lambda one, key=key: _best_setting(one, key) for key in keys}  # type: ignore[misc]
    return _table(name, comparison, rows)


def settings_table(comparison: SweepComparison) -> TextTable:
    """What none of them searches and is not the same."""
    rows = [(key, *(tidy(value) for value in values)) for key, values in comparison.fixed_differences.items()]
    note = None if rows else "Nothing differs, as far as the runs of their trials are there."
    name = "What differs and was not searched"
    return TextTable(name, ("key", *_labels(comparison)), tuple(rows), "l" * (1 + len(comparison.sweeps)), note)


def conditions(comparison: SweepComparison) -> list[str]:
    """With what each was done, a line each."""
    return [
        f"{one.label} of {one.sweep.name}: {one.sweep.machine}; {one.sweep.software}; started "
        f"{one.sweep.started:%d %B %Y, %H:%M} UTC"
        for one in comparison.sweeps
    ]


def print_comparison(comparison: SweepComparison, console: Console) -> None:
    """Everything on a terminal."""
    console.print(title(comparison), style="bold", highlight=False)
    if cautions := find_cautions(comparison):
        console.print("Read with care", style="bold yellow")
        for sentence in cautions:
            console.print(f"• {sentence}", highlight=False, markup=False)
    console.print()
    for table in comparison_tables(comparison):
        if table.rows:
            console.print(terminal_table(table))
        else:
            console.print(f"{table.title}: {table.note}", highlight=False, markup=False)
        console.print()
    for line in conditions(comparison):
        console.print(line, highlight=False, markup=False)


def markdown(comparison: SweepComparison) -> str:
    """Everything as a Markdown document."""
    parts = [f"# {escaped(title(comparison))}"]
    if cautions := find_cautions(comparison):
        parts += ["## Read with care", "\n".join(f"- {escaped(sentence)}" for sentence in cautions)]
    for table in comparison_tables(comparison):
        parts.append(f"## {table.title}")
        parts += [markdown_table(table)] if table.rows else []
        parts += [note(table.note)] if table.note else []
    parts += ["## Conditions", "\n".join(f"- {escaped(line)}" for line in conditions(comparison))]
    return "\n\n".join(parts) + "\n"


def to_dict(comparison: SweepComparison) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "objectives": [asdict(objective) for objective in comparison.objectives],
        "sweeps": [_sweep_dict(one) for one in comparison.sweeps],
        "numbers": comparison.numbers,
        "best_after": {str(number): comparison.best_after(number) for number in comparison.numbers}
        if comparison.is_single
        else None,
        "on_joint_front": None
        if comparison.is_single
        else {str(number): comparison.on_joint_front(number) for number in comparison.numbers},
        "fixed_differences": {key: list(values) for key, values in comparison.fixed_differences.items()},
        "cautions": find_cautions(comparison),
    }


def _sweep_dict(one: ComparedSweep) -> dict[str, Any]:
    sweep = one.sweep
    return {
        "letter": one.letter,
        "sweep_id": sweep.sweep_id,
        "space": sweep.name,
        "constraints": [str(constraint) for constraint in sweep.space.goal.constraints],
        "trials": sweep.trials,
        "over": len(sweep.state.over()),
        "counts": sweep.state.counts(),
        "violating": count_violating(sweep.state),
        "best": asdict(sweep.best) if sweep.best else None,
        "front": [asdict(trial) for trial in sweep.front],
        "best_so_far": [list(point) for point in sweep.state.best_so_far(sweep.space.mode)]
        if sweep.space.goal.is_single
        else None,
        "result": sweep.result,
        "seconds": sweep.seconds,
        "trial_seconds": _trial_seconds(one),
        "parallel": sweep.config["parallel"],
        "peak_memory_mb": _peak_memory(one),
        "machine": sweep.machine,
        "seed": sweep.config["seed"],
        "data_sha256": one.data_sha256,
    }


def _table(name: str, comparison: SweepComparison, rows: dict[str, Fact], note: str | None = None) -> TextTable:
    """A column for each sweep."""
    found = tuple((label, *(fact(one) for one in comparison.sweeps)) for label, fact in rows.items())
    return TextTable(name, ("", *_labels(comparison)), found, "l" + "r" * len(comparison.sweeps), note)


def _labels(comparison: SweepComparison) -> list[str]:
    return [one.label for one in comparison.sweeps]


def _objectives(comparison: SweepComparison) -> str:
    space = comparison.sweeps[0].sweep.space
    words = {"min": "the lowest", "max": "the highest"}
    return " and ".join(f"{words[o.mode]} {spec_words(space.spec_of(o.metric))}" for o in comparison.objectives)


def _best_value(one: ComparedSweep) -> str:
    best = one.sweep.best
    if best is None:
        return "none meets the constraints" if one.sweep.nearest else NOTHING
    return measured_value(one.sweep.space, one.sweep.space.metric, best)


def _best_trial(one: ComparedSweep) -> str:
    best = one.sweep.best
    return NOTHING if best is None else f"{best.number} ({best.run_id})"


def _best_setting(one: ComparedSweep, key: str) -> str:
    best = one.sweep.best
    if best is None:
        return NOTHING
    if key in one.sweep.space.parameters():  # where it is not suggested, another branch was chosen
        return tidy(best.suggestion[key]) if key in best.suggestion else NOTHING
    return _range(one, key)


def _extreme(one: ComparedSweep, metric: str) -> str:
    """The best value of one of several objectives, on the front."""
    front, space = one.sweep.front, one.sweep.space
    [objective] = [found for found in space.goal.objectives if found.metric == metric]
    if not front:
        return NOTHING
    best = min(front, key=lambda trial: objective.loss(trial.measured[metric]))
    return measured_value(space, metric, best)


def _range(one: ComparedSweep, key: str) -> str:
    """What the sweep searched of a key; its one value where it did not."""
    found = [_node_text(node) for name, node in one.sweep.space.varied() if name == key]
    if found:
        return " or ".join(dict.fromkeys(found))
    return f"fixed: {tidy(one.fixed[key])}" if key in one.fixed else NOTHING


def _node_text(node: Any) -> str:
    match node:
        case Distribution():
            step = "" if node.step is None else f", step {tidy(node.step)}"
            return f"{node.name} {tidy(node.low)} … {tidy(node.high)}{step}"
        case Choice():
            return " | ".join(tidy(option) for option in node.options)
        case _:
            return tidy(node)


def _trained(one: ComparedSweep) -> list[Any]:
    return [trial for trial in one.sweep.state.trials.values() if not trial.is_reused and trial.epochs]


def _trial_seconds(one: ComparedSweep) -> float:
    return float(sum(trial.seconds for trial in _trained(one)))


def _peak_memory(one: ComparedSweep) -> float | None:
    peaks = [trial.peak_memory_mb for trial in one.sweep.state.trials.values() if trial.peak_memory_mb is not None]
    return max(peaks, default=None)
