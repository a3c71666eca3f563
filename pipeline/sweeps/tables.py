"""A sweep as tables of words, for a terminal and for the page."""

from collections import Counter
from functools import partial

from pipeline.reporting.text_table import NOTHING, Cells, TextTable, shown, table_of
from pipeline.reporting.words import counted, listed
from pipeline.sweeps.axes import tidy
from pipeline.sweeps.state import FAILURES, Trial
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.text import (
    EVALUATIONS,
    check_text,
    goal_words,
    measured_value,
    metric_text,
    never_met,
    outcome_text,
    reached,
    spec_words,
    suggestion_text,
    test_result,
)


def best_table(sweep: Sweep) -> TextTable:
    """The best configuration, and how it did; of several objectives the Pareto front."""
    if not sweep.front:
        title = "Best configuration" if sweep.space.goal.is_single else "Pareto front"
        note = never_met(sweep, sweep.nearest) if sweep.nearest is not None else "No trial has completed"
        return TextTable(title, (), (), "", note=f"{note}.")
    return _front_table(sweep) if sweep.best is None else _configuration_table(sweep, sweep.best)


def _configuration_table(sweep: Sweep, best: Trial) -> TextTable:
    facts = [(key, tidy(best.suggestion[key])) for key in sweep.space.parameters() if key in best.suggestion]
    reached_by = f"Trial {best.number}, run {best.run_id}: {'; '.join(reached(sweep.space, best))}."
    return TextTable(
        "Best configuration", ("key", "value"), tuple(facts), "ll", note=f"{reached_by} {_all_else(sweep)}"
    )


def _front_table(sweep: Sweep) -> TextTable:
    """The trials that no other one beats in all objectives."""
    trials = sweep.front
    columns = [
        Cells[Trial]("trial", "r", lambda trial: str(trial.number)),
        Cells[Trial]("run", "r", lambda trial: shown(trial.run_id)),
        *_measured_columns(sweep),
        Cells[Trial]("suggestion", "l", lambda trial: suggestion_text(trial.suggestion)),
    ]
    note = (
        f"No other trial is as good in {goal_words(sweep.space)} and better in one of them. "
        f"`odenet sweeps best {sweep.sweep_id} {trials[0].number}` gives the command that trains trial "
        f"{trials[0].number} again. {_all_else(sweep)}"
    )
    return table_of("Pareto front", trials, columns, note)


def _all_else(sweep: Sweep) -> str:
    return f"All else is as in {' '.join([*sweep.space.overrides, *sweep.overrides]) or 'the defaults'}."


def checks_table(sweep: Sweep) -> TextTable:
    """The best configuration on seeds that the search did not use."""
    title = "On fresh seeds"
    if not sweep.checks:
        return TextTable(title, (), (), "", note=_no_checks(sweep))
    result = sweep.space.task.result
    rows = [
        (str(check.run_id), str(check.seed), check_text(check), metric_text(result, check.result))
        for check in sweep.checks
    ]
    if sweep.checked:
        rows.append(("mean", "", f"{len(sweep.checked)} completed", test_result(sweep)))
    return TextTable(
        title,
        ("run", "seed", "outcome", f"test {result.heading}"),
        tuple(rows),
        "lrlr",
        note="The best configuration trained anew: weights, order and split of the samples differ from the search's. "
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
    evaluations = Cells[Trial]("evaluations", "r", lambda trial: shown(trial.nfe_forward, ".1f"))
    is_solved = any(trial.nfe_forward is not None for trial in trials)
    has_evaluations = is_solved and EVALUATIONS not in sweep.space.goal.metrics
    best, word = sweep.front, "best" if sweep.space.goal.is_single else "front"
    columns = [
        Cells[Trial]("trial", "r", lambda trial: f"{trial.number}{f' ({word})' if trial in best else ''}"),
        Cells[Trial]("run", "r", lambda trial: shown(trial.run_id)),
        *(Cells(key, "r", partial(_suggested, key)) for key in sweep.space.parameters()),
        Cells("outcome", "l", outcome_text),
        *_measured_columns(sweep),
        *([evaluations] if has_evaluations else []),
        Cells[Trial]("epochs", "r", lambda trial: str(trial.epochs)),
        Cells[Trial]("seconds", "r", lambda trial: shown(trial.seconds, ",.1f")),
        Cells[Trial]("peak memory (MB)", "r", lambda trial: shown(trial.peak_memory_mb, ",.0f")),
    ]
    return table_of("Trials", trials, columns, note=None if trials else "None yet.")


def _measured_columns(sweep: Sweep) -> list[Cells[Trial]]:
    """One for each metric of the goal."""
    space = sweep.space
    return [
        Cells[Trial](spec_words(space.spec_of(metric)), "r", partial(measured_value, space, metric))
        for metric in space.goal.metrics
    ]


def _suggested(key: str, trial: Trial) -> str:
    return tidy(trial.suggestion[key]) if key in trial.suggestion else NOTHING


def _no_checks(sweep: Sweep) -> str:
    wanted = sweep.config["fresh_seeds"]
    if not sweep.space.goal.is_single:
        return "None: of several objectives no one trial is the best."
    if not wanted:
        return "None was asked for."
    if sweep.nearest is not None:
        return "No trial meets the constraints, so there was nothing to try."
    if sweep.is_whole:
        return "No trial completed, so there was nothing to try."
    return f"{counted(wanted, 'run')} on fresh seeds follow the search."
