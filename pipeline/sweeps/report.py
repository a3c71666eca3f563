"""A sweep as an HTML page that is a single file."""

import shlex
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.reporting.figure_style import own_style
from pipeline.reporting.html import render
from pipeline.reporting.importance import METHOD, Importance, measure_importance
from pipeline.reporting.importance_figure import plot_importance
from pipeline.reporting.run_address import run_address
from pipeline.sweeps.figures import (
    plot_best_so_far,
    plot_evaluations,
    plot_hyperparameters,
    plot_parallel_coordinates,
)
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.tables import best_table, checks_table, failures_table, trials_table
from pipeline.sweeps.text import cautions, conditions, headline, memory, subtitle
from pipeline.util.files import write_result


@own_style()
def page(sweep: Sweep, best_file: Path | None = None, board: str | None = None) -> str:
    """The page with all tables and figures of the sweep.

    Args:
        best_file: the best configuration, which the command on the page names; without it the command has every key.
        board: the address of an Omniboard with the store's runs, to which the numbers of the runs then link.
    """
    trials, importance = trials_table(sweep), importance_of(sweep)
    if trials.rows and board is None:
        hint = "`odenet show RUN` tells more of a run, `odenet board` shows it in Omniboard."
        trials = replace(trials, note=hint)
    return render(
        "sweep.html.j2",
        title=headline(sweep),
        subtitle=subtitle(sweep),
        cautions=cautions(sweep),
        best=best_table(sweep),
        command=_command(sweep, best_file),
        checks=checks_table(sweep),
        figures=_figures(sweep),
        importance=importance.says,
        importance_figure=plot_importance(importance),
        importance_method=METHOD,
        worse_edge="top" if sweep.space.mode == "min" else "bottom",
        failures=failures_table(sweep),
        conditions=[*conditions(sweep), *memory(sweep)],
        result=sweep.space.task.result.heading,
        space=sweep.space.text.strip(),
        trials=trials,
        run_link=(lambda run: run_address(board, int(run))) if board else None,
    )


def write_page(sweep: Sweep, path: Path, best_file: Path | None = None, board: str | None = None) -> None:
    """Write the page, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_result(path, page(sweep, best_file, board), "page")


def importance_of(sweep: Sweep) -> Importance:
    """How much each hyperparameter matters for the metric; pruned trials count with what they had reached."""
    trials = [trial for trial in sweep.state.over() if trial.value is not None and not trial.has_failed]
    return measure_importance([trial.suggestion for trial in trials], [float(trial.value or 0) for trial in trials])


def _command(sweep: Sweep, best_file: Path | None) -> str | None:
    """The shell command that trains the best configuration again."""
    if sweep.best is None:
        return None
    return shlex.join(sweep.command() if best_file is None else ["odenet", "run", "with", str(best_file)])


def _figures(sweep: Sweep) -> dict[str, Figure | None]:
    space, state = sweep.space, sweep.state
    if not state.over():
        return {}
    return {
        "best_so_far": plot_best_so_far(space, state),
        "parallel_coordinates": plot_parallel_coordinates(space, state),
        "hyperparameters": plot_hyperparameters(space, state),
        "evaluations": plot_evaluations(space, state),
    }
