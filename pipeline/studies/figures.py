"""The figures of a study: evaluations over epochs, accuracy over evaluations, numbers over what varies."""

from collections.abc import Mapping, Sequence
from math import ceil
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.figure_style import (
    FAINT,
    PALETTE,
    Colour,
    add_grid,
    distinct_colours,
    new_figure,
    write_caption,
)
from pipeline.reporting.training_figures import label_epochs
from pipeline.reporting.words import sentence_case
from pipeline.studies.columns import Column
from pipeline.studies.result import RowResult, StudyResult
from pipeline.sweeps.state import COMPLETED

PASSES = {
    "solver.nfe_forward": "Evaluations per batch, forward",
    "solver.nfe_backward": "Evaluations per batch, backward",
}
MARKERS = "osD^vP*X"
DODGE = 0.07
"""Epochs by which the markers of two rows are apart, as many rows take the same evaluations."""


def plot_evaluations_over_epochs(rows: Sequence[RowResult], title: str) -> Figure | None:
    """Evaluations of the forward and the backward pass, a line a row: mean over seeds, the range of seeds shaded.

    A cross ends the line of a row that did not complete.

    Returns:
        None where no row has any.
    """
    passes = [metric for metric in PASSES if any(row.series(metric) for row in rows)]
    if not passes:
        return None
    figure, axes = new_figure(5.2 * len(passes), 4.6, title, columns=len(passes))
    colours = colours_of(rows)
    for ax, metric in zip(axes, passes, strict=True):
        drawn = [(row, series) for row in rows if any(series := list(row.series(metric).values()))]
        for number, (row, series) in enumerate(drawn):
            epochs, mean, low, high = _over_seeds(series)
            epochs = epochs + DODGE * (number - (len(drawn) - 1) / 2)
            marker = MARKERS[number % len(MARKERS)]
            ax.plot(epochs, mean, color=colours[row.row.name], label=row.row.label, marker=marker, markersize=5)
            ax.fill_between(epochs, low, high, color=colours[row.row.name], alpha=0.18, linewidth=0)
            if COMPLETED not in row.outcomes():
                ax.plot(epochs[-1:], mean[-1:], "X", color=colours[row.row.name], markersize=9)
        ax.set_ylabel(PASSES[metric])
        label_epochs(ax)
        ax.set_xlim(0.5, max((len(one) for _, series in drawn for one in series), default=1) + 0.5)
        ax.set_ylim(0, 1.04 * ax.get_ylim()[1])
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=min(4, len(labels)), frameon=False)
    return figure


def plot_result_over_cost(result: StudyResult, rows: Sequence[RowResult], what: Column, cost: Column) -> Figure | None:
    """A number over what it costs, a point a seed and a large one a row.

    Returns:
        None where fewer than two rows have both.
    """
    drawn = [row for row in rows if row.values(what) and row.values(cost)]
    if len(drawn) < 2:
        return None
    figure, (ax,) = new_figure(8.2, 4.8, "")
    colours = colours_of(rows)
    for number, row in enumerate(drawn):
        of_what, of_cost = row.values(what), row.values(cost)
        seeds = [seed for seed in of_what if seed in of_cost]
        x, y = [of_cost[seed] for seed in seeds], [of_what[seed] for seed in seeds]
        middle_x, middle_y = fmean(x), fmean(y)
        colour, marker = colours[row.row.name], MARKERS[number % len(MARKERS)]
        ax.scatter(x, y, s=22, color=colour, alpha=0.45, linewidths=0, marker=marker)
        ax.scatter([middle_x], [middle_y], s=75, color=colour, marker=marker, label=row.row.label, zorder=3)
        paper, paper_cost = (result.study.paper.get((row.row.name, column.name)) for column in (what, cost))
        if paper and paper_cost and not (paper.is_range or paper_cost.is_range):
            ax.scatter([paper_cost.low], [paper.low], s=75, facecolors="none", edgecolors=colour, marker=marker)
            ax.plot([middle_x, paper_cost.low], [middle_y, paper.low], color=FAINT, lw=0.8, ls=":", zorder=0)
    ax.set(xlabel=sentence_case(cost.heading), ylabel=sentence_case(what.heading))
    add_grid(ax)
    figure.legend(loc="outside right upper", frameon=False, ncols=1 if len(drawn) < 14 else 2, fontsize=9)
    if any(result.study.paper.get((row.row.name, what.name)) for row in drawn):
        write_caption(figure, ["Small points: seeds; large: their mean; hollow, where both are known: the paper."])
    return figure


def plot_over_levels(result: StudyResult, rows: Sequence[RowResult], columns: Sequence[Column]) -> Figure | None:
    """Each number over what varies from row to row, with the paper's.

    Returns:
        None where fewer than two rows have a level.
    """
    leveled = [(row.row.level, row) for row in rows if row.row.level is not None]
    leveled.sort(key=lambda one: one[0])
    shown = [column for column in columns if sum(bool(row.values(column)) for _, row in leveled) > 1]
    if len(leveled) < 2 or not shown:
        return None
    across = min(3, len(shown))
    down = ceil(len(shown) / across)
    figure, axes = new_figure(4.2 * across, 3.5 * down + 0.4, "", columns=across, rows=down)
    for ax, column in zip(axes, shown, strict=False):
        points = [(level, list(row.values(column).values())) for level, row in leveled if row.values(column)]
        for level, values in points:
            ax.scatter([level] * len(values), values, s=20, color=PALETTE[0], alpha=0.45, linewidths=0)
        ax.plot(
            [level for level, _ in points],
            [np.mean(values) for _, values in points],
            "o-",
            color=PALETTE[0],
            label="ours",
        )
        numbers = [(level, result.study.paper.get((row.row.name, column.name))) for level, row in leveled]
        known = [
            (level, (number.low + number.high) / 2) for level, number in numbers if number and np.isfinite(number.high)
        ]
        if known:
            ax.plot(
                [level for level, _ in known],
                [middle for _, middle in known],
                "s--",
                color=PALETTE[1],
                markerfacecolor="none",
                label="paper",
            )
        ax.set(xlabel=result.study.axis, ylabel=sentence_case(column.heading))
        ax.legend(frameon=False)
        add_grid(ax)
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    return figure


def plot_beside(result: StudyResult, rows: Sequence[RowResult], column: Column) -> Figure | None:
    """One number of every row with its interval, and the paper's beside it.

    Returns:
        None where no row has one of ours.
    """
    drawn = [row for row in rows if row.values(column)]
    if not drawn:
        return None
    figure, (ax,) = new_figure(8.2, 0.9 + 0.42 * len(drawn), "")
    for place, row in enumerate(reversed(drawn)):
        cell = result.cell(row, column)
        values = cell.values
        ax.scatter(values, [place] * len(values), s=20, color=PALETTE[0], alpha=0.45, linewidths=0)
        ax.plot([np.mean(values)], [place], "o", color=PALETTE[0], label="ours" if place == 0 else None)
        interval = None if cell.verdict is None or column.is_exact else cell.verdict.interval
        if interval is not None:
            ax.plot([interval.low, interval.high], [place, place], "-", color=PALETTE[0], lw=1.6)
        if cell.paper is not None and np.isfinite(cell.paper.high):
            ax.plot([cell.paper.low, cell.paper.high], [place, place], "-", color=PALETTE[1], lw=4, alpha=0.5)
            ax.plot([(cell.paper.low + cell.paper.high) / 2], [place], "s", color=PALETTE[1], markerfacecolor="none")
    ax.set_yticks(range(len(drawn)), [row.row.label for row in reversed(drawn)])
    ax.set_ylim(-0.6, len(drawn) - 0.4)
    ax.set_xlabel(sentence_case(column.heading))
    add_grid(ax)
    return figure


def colours_of(rows: Sequence[RowResult]) -> Mapping[str, Colour]:
    """A colour of its own for each row."""
    return {row.row.name: colour for row, colour in zip(rows, distinct_colours(len(rows)), strict=False)}


def _over_seeds(series: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs, mean, lowest and highest, over those of the seeds that came so far."""
    longest = max(map(len, series))
    padded = np.full((len(series), longest), np.nan)
    for number, values in enumerate(series):
        padded[number, : len(values)] = values
    epochs = np.arange(1, longest + 1)
    return epochs, np.nanmean(padded, axis=0), np.nanmin(padded, axis=0), np.nanmax(padded, axis=0)
