"""A sweep as tables of words, for a terminal and for the page."""

from collections import Counter

from pipeline.reporting.text_table import NOTHING, TextTable, shown
from pipeline.sweeps.axes import tidy
from pipeline.sweeps.state import FAILURES
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.text import (
    counted,
    listed,
    metric_text,
    metric_words,
    outcome_text,
    reached,
    test_result,
    value_text,
)


def best_table(sweep: Sweep) -> TextTable:
    """The best configuration, and how it did."""
    best = sweep.best
    if best is None:
        return TextTable("Best configuration", (), (), "", note="No trial has completed.")
    facts = [(key, tidy(best.suggestion[key])) for key in sweep.space.parameters() if key in best.suggestion]
    return TextTable(
        "Best configuration",
        ("key", "value"),
        tuple(facts),
        "ll",
        note=f"Trial {best.number}, run {best.run_id}: {'; '.join(reached(sweep.space, best))}. "
        f"All else is as in {' '.join([*sweep.space.overrides, *sweep.overrides]) or 'the defaults'}.",
    )


def checks_table(sweep: Sweep) -> TextTable:
    """The best configuration on seeds that the search did not use."""
    title = "On fresh seeds"
    if not sweep.state.checks:
        return TextTable(title, (), (), "", note=_no_checks(sweep))
    result = sweep.space.task.result
    rows = [
        (str(check.run_id), str(check.seed), check.outcome, metric_text(result, check.result))
        for check in sweep.state.checks
    ]
    if sweep.checked:
        rows.append(("mean", "", f"{len(sweep.checked)} completed", test_result(sweep)))
    return TextTable(
        title,
        ("run", "seed", "outcome", f"test {result.heading}"),
        tuple(rows),
        "lrlr",
        note="The best configuration trained anew: weights, order and split of the images differ from the search's. "
        "Mean ± standard deviation (n − 1). The value that won the search is the best of many and flatters its "
        "configuration; these do not.",
    )


def failures_table(sweep: Sweep) -> TextTable:
    """What went wrong, by reason."""
    failed = [trial for trial in sweep.state.trials.values() if trial.has_failed]
    rows = []
    for reason, many in Counter(trial.outcome for trial in failed).most_common():
        of_reason = [trial for trial in failed if trial.outcome == reason]
        example = next((trial for trial in of_reason if trial.error), of_reason[0])
        rows.append(
            (
                FAILURES[reason],
                str(many),
                listed([str(trial.number) for trial in of_reason]),
                f"Trial {example.number}: {example.error}" if example.error else NOTHING,
            )
        )
    note = None if rows else "None."
    return TextTable("Failures", ("reason", "n", "trials", "in its words"), tuple(rows), "lrll", note)


def trials_table(sweep: Sweep) -> TextTable:
    """Every trial, in the order in which they were suggested."""
    trials = list(sweep.state.trials.values())
    keys = sweep.space.parameters()
    has_evaluations = any(trial.nfe_forward is not None for trial in trials)
    rows = []
    for trial in trials:
        evaluations = [shown(trial.nfe_forward, ".1f")] if has_evaluations else []
        rows.append(
            (
                f"{trial.number} (best)" if trial == sweep.best else str(trial.number),
                shown(trial.run_id),
                *(tidy(trial.suggestion[key]) if key in trial.suggestion else NOTHING for key in keys),
                outcome_text(trial),
                value_text(sweep.space, trial.value),
                *evaluations,
                str(trial.epochs),
                shown(trial.seconds, ",.1f"),
                shown(trial.peak_memory_mb, ",.0f"),
            )
        )
    evaluations = ["evaluations"] if has_evaluations else []
    headings = ["trial", "run", *keys, "outcome", metric_words(sweep.space), *evaluations]
    return TextTable(
        "Trials",
        (*headings, "epochs", "seconds", "peak memory (MB)"),
        tuple(rows),
        "rr" + "r" * len(keys) + "l" + "r" * (len(evaluations) + 4),
        note=None if rows else "None yet.",
    )


def _no_checks(sweep: Sweep) -> str:
    wanted = sweep.config["fresh_seeds"]
    if not wanted:
        return "None was asked for."
    if sweep.is_whole:
        return "No trial completed, so there was nothing to try."
    return f"{counted(wanted, 'run')} on fresh seeds follow the search."
