"""A sweep as one HTML file that needs nothing beside itself."""

from dataclasses import replace
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from pipeline.reporting.html import care, document, section, wide_figure, write_whole
from pipeline.reporting.html import conditions as conditions_section
from pipeline.sweeps.figures import (
    plot_best_so_far,
    plot_evaluations,
    plot_hyperparameters,
    plot_parallel_coordinates,
)
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.tables import best_table, checks_table, failures_table, trials_table
from pipeline.sweeps.text import cautions, conditions, headline, memory, shell_command, subtitle


def page(sweep: Sweep, best_file: Path | None = None, board: str | None = None) -> str:
    """The whole page: images inlined, no scripts, nothing from elsewhere.

    Args:
        best_file: the best configuration, as `odenet run with` takes it; without it the command spells it out.
        board: the address of an Omniboard with the store's runs, for links to them.
    """
    return document(
        headline(sweep),
        subtitle(sweep),
        [
            care(cautions(sweep)),
            section(best_table(sweep)),
            _command(sweep, best_file),
            section(checks_table(sweep)),
            *_figures(sweep),
            section(failures_table(sweep)),
            conditions_section([*conditions(sweep), *memory(sweep)]),
            _space(sweep),
            _trials(sweep, board),
        ],
    )


def write_page(sweep: Sweep, path: Path, best_file: Path | None = None, board: str | None = None) -> None:
    """Write `page`, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_whole(page(sweep, best_file, board), path)


def _command(sweep: Sweep, best_file: Path | None) -> str:
    if sweep.best is None:
        return ""
    words = sweep.command() if best_file is None else ["odenet", "run", "with", str(best_file)]
    return f"<p>Train it again:</p><pre>{escape(shell_command(words))}</pre>"


def _figures(sweep: Sweep) -> list[str]:
    space, state = sweep.space, sweep.state
    if not state.over():
        return []
    worse = "top" if space.mode == "min" else "bottom"
    figures = [
        wide_figure(
            "Every trial, and the best so far",
            plot_best_so_far(space, state),
            "The best value of the metric over the number of trials that are over",
            f"Points: trials, in the order in which they ended. Ticks at the {worse}: failed ones.",
        ),
        wide_figure(
            "Hyperparameters together",
            plot_parallel_coordinates(space, state),
            "Parallel coordinates: a line a trial through its hyperparameters to the metric",
            "A line a trial, the darker the better, the best in black; dashed: pruned; red dots: failed. "
            "Lines of the same choice are spread a little.",
        ),
        wide_figure(
            "Each hyperparameter",
            plot_hyperparameters(space, state),
            "The metric over each hyperparameter",
            f"Ticks at the {worse}: failed trials. A pruned trial shows the best value that it had reached. Points of "
            "the same choice are spread a little.",
        ),
    ]
    evaluations = plot_evaluations(space, state)
    if evaluations is not None:
        text = "Validation accuracy over the mean number of evaluations of the field"
        caption = (
            "What the solver spends on a batch in the last epoch, and the accuracy at the epoch of the best value."
        )
        figures.append(wide_figure("Evaluations and accuracy", evaluations, text, caption))
    return figures


def _space(sweep: Sweep) -> str:
    return f"<section><h2>The space</h2><pre>{escape(sweep.space.text.strip())}</pre></section>"


def _trials(sweep: Sweep, board: str | None) -> str:
    table = trials_table(sweep)
    if board is not None:
        return section(table, lambda run: run_address(board, int(run)))
    hint = "`odenet show RUN` tells more of a run, `odenet board` shows it in Omniboard."
    return section(replace(table, note=hint) if table.rows else table)


def run_address(board: str, run_id: int) -> str:
    """Where an Omniboard at `board` shows a run."""
    return f"{board.rstrip('/')}?{urlencode({'showDrillDownRunModal': 'true', 'runIdToExpand': run_id})}"
