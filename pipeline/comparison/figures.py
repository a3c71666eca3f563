"""The learning curves of several runs in one figure."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.comparison.compared_run import ComparedRun
from pipeline.comparison.groups import Group
from pipeline.reporting.figure_style import INK, Colour, distinct_colours, new_figure
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.training_figures import axis_label, label_epochs
from pipeline.util.errors import shortened

EVALUATIONS = "solver.nfe_forward"
LONGEST_LABEL = 56
"""Letters of a group in the legend, which else would be wider than the panels and make them small."""
INCHES_OF_A_LETTER, INCHES_OF_A_HANDLE = 0.085, 0.8


def plot_run_curves(groups: Sequence[Group], metrics: Iterable[MetricSpec]) -> Figure | None:
    """Each validation metric and the function evaluations of several runs over epochs, of these what a run has.

    Solid lines show the validation split, dotted lines the training split. A cross marks the last epoch of a run that
    did not complete.

    Returns:
        None where no run has an epoch to draw.
    """
    labels = [group.label for group in groups]
    colours = dict(zip(labels, distinct_colours(len(groups)), strict=False))
    drawn = [(run, colours[group.label]) for group in groups for run in group.runs if len(run.history)]
    if not drawn:
        return None
    there = {name for run, _ in drawn for name in run.history}
    validated = [
        metric
        for metric in metrics
        if metric.split == "validation" and {metric.name, f"training.{metric.quantity}"} & there
    ]
    have_evaluations = EVALUATIONS in there
    columns = len(validated) + have_evaluations
    if not columns:
        return None
    figure, axes = new_figure(4.4 * columns, 4.8, "", columns=columns)
    for ax, metric in zip(axes, validated, strict=False):
        for run, colour in drawn:
            _draw_run(ax, run, metric.name, f"training.{metric.quantity}", colour)
        ax.set_ylabel(axis_label(metric))
        label_epochs(ax)
        reached = [run.history[metric.name].min() for run, _ in drawn if metric.name in run.history]
        if not metric.is_share:
            if _are_positive([line.get_ydata() for line in ax.lines]):
                ax.set_yscale("log")
            continue
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        if reached:  # the first epochs of the training split, far below, would flatten the rest
            ax.set_ylim(min(reached) - 0.02, 1.005)
    if have_evaluations:
        for run, colour in drawn:
            _draw_run(axes[-1], run, EVALUATIONS, "", colour)
        axes[-1].set(ylabel="Evaluations per batch, forward", ylim=(0, None))
        label_epochs(axes[-1])
        axes[-1].yaxis.set_major_locator(MaxNLocator(integer=True))
    handles = _run_legend(colours, all(run.completed for run, _ in drawn))
    longest = max(len(str(handle.get_label())) for handle in handles)
    room = int(figure.get_figwidth() / (INCHES_OF_A_LETTER * longest + INCHES_OF_A_HANDLE))
    figure.legend(handles=handles, loc="outside lower left", ncols=min(3, max(1, room)), frameon=False)
    return figure


def _are_positive(lines: Iterable[Any]) -> bool:
    """Whether a logarithmic axis shows all of them, as it does not with a negative log likelihood below 0."""
    return all(value > 0 for line in lines for value in line if isfinite(value))


def _draw_run(ax: Axes, run: ComparedRun, solid: str, dotted: str, colour: Colour) -> None:
    history = run.history.replace([np.inf, -np.inf], nan)
    if dotted in history:
        ax.plot(history.index, history[dotted], color=colour, linewidth=1.2, linestyle=":")
    if solid not in history:
        return
    ax.plot(history.index, history[solid], color=colour, linewidth=1.5)
    best = history.loc[history.index == run.info.best_epoch, solid]
    ax.plot(best.index, best, color=colour, marker="o", markersize=6)
    if not run.completed:
        ax.plot(history.index[-1:], history[solid].iloc[-1:], color=colour, marker="X", markersize=9)


def _run_legend(colours: Mapping[str, Colour], all_completed: bool) -> list[Line2D]:
    labels = {group: shortened(group, LONGEST_LABEL) for group in colours}  # the tables above have the whole names
    entries = [Line2D([], [], color=colour, label=labels[group], linewidth=3) for group, colour in colours.items()]
    entries.append(Line2D([], [], color=INK, label="validation"))
    entries.append(Line2D([], [], color=INK, label="training", linestyle=":"))
    entries.append(Line2D([], [], color=INK, label="best epoch", marker="o", linestyle=""))
    if not all_completed:
        entries.append(Line2D([], [], color=INK, label="did not complete", marker="X", linestyle="", markersize=8))
    return entries
