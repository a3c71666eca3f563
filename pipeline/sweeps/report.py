"""A sweep as an HTML page that is a single file."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.reporting.figure_style import own_style
from pipeline.reporting.html import render
from pipeline.reporting.importance import METHOD, Importance, measure_importance
from pipeline.reporting.importance_figure import plot_importance
from pipeline.reporting.run_address import run_address
from pipeline.sweeps.figures import (
    plot_best_so_far,
    plot_evaluations,
    plot_front,
    plot_hyperparameters,
    plot_parallel_coordinates,
)
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.tables import best_table, checks_table, failures_table, trials_table
from pipeline.sweeps.text import (
    cautions,
    conditions,
    goal_words,
    headline,
    memory,
    metric_words,
    subtitle,
)
from pipeline.util.files import write_result

NO_FILES: Mapping[int, Path] = {}


@own_style()
def page(sweep: Sweep, files: Mapping[int, Path] = NO_FILES, board: str | None = None) -> str:
    """The page with all tables and figures of the sweep.

    Args:
        files: number of a trial -> its configuration, which the command on the page names; without it the command has
            every key.
        board: the address of an Omniboard with the store's runs, to which the numbers of the runs then link.
    """
    trials = trials_table(sweep)
    if trials.rows and board is None:
        hint = "`odenet show RUN` tells more of a run, `odenet board` shows it in Omniboard."
        trials = replace(trials, note=hint)
    return render(
        "sweep.html.j2",
        title=headline(sweep),
        subtitle=subtitle(sweep),
        cautions=cautions(sweep),
        best=best_table(sweep),
        commands=_commands(sweep, files),
        checks=checks_table(sweep),
        front=plot_front(sweep),
        objectives=goal_words(sweep.space),
        views=_views(sweep),
        importance_method=METHOD,
        evaluations=plot_evaluations(sweep.space, sweep.state),
        failures=failures_table(sweep),
        conditions=[*conditions(sweep), *memory(sweep)],
        result=sweep.space.task.result.heading,
        space=sweep.space.text.strip(),
        trials=trials,
        run_link=(lambda run: run_address(board, int(run))) if board else None,
    )


def write_page(sweep: Sweep, path: Path, board: str | None = None) -> None:
    """Write the page, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_result(path, page(sweep, board=board), "page")


def importance_of(sweep: Sweep) -> Importance:
    """How much each hyperparameter matters for the metric; pruned trials count with what they had reached."""
    trials = [trial for trial in sweep.state.over() if trial.value is not None and not trial.has_failed]
    return measure_importance([trial.suggestion for trial in trials], [float(trial.value or 0) for trial in trials])


def _commands(sweep: Sweep, files: Mapping[int, Path]) -> list[str]:
    """Shell commands that train again: the best configuration, or those on the front whose files are there."""
    if sweep.best is not None and sweep.best.number not in files:
        return [shlex.join(sweep.command())]
    trials = [trial for trial in sweep.front if trial.number in files]
    return [shlex.join(sweep.command_with([str(files[trial.number])])) for trial in trials]


def _views(sweep: Sweep) -> list[dict[str, Any]]:
    """What is told of each objective, with the words that tell it from the others; none before a trial is over."""
    return [_view(sweep, one) for one in sweep.by_objective()] if sweep.state.over() else []


def _view(sweep: Sweep, one: Sweep) -> dict[str, Any]:
    importance = importance_of(one)
    return {
        "of": "" if sweep.space.goal.is_single else f": {metric_words(one.space)}",
        "worse_edge": "top" if one.space.mode == "min" else "bottom",
        "best_so_far": plot_best_so_far(one.space, one.state),
        "parallel_coordinates": plot_parallel_coordinates(one.space, one.state),
        "hyperparameters": plot_hyperparameters(one.space, one.state),
        "importance": importance.says,
        "importance_figure": plot_importance(importance),
    }
