"""The learning curves of several runs in one figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.reporting.figure_style import INK, PALETTE, Colour, new_figure
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.training_figures import axis_label, by_quantity, label_epochs
from pipeline.util.errors import InvalidInput

EVALUATIONS = "solver.nfe_forward"


@dataclass(frozen=True, eq=False)
class RunCurve:
    """The history of one of the runs."""

    group: str
    """The name in the legend; the runs of a group have one colour."""
    history: pd.DataFrame
    """Metrics in columns, epochs as index."""
    best_epoch: int | None
    completed: bool


def plot_run_curves(curves: Sequence[RunCurve], metrics: Iterable[MetricSpec], title: str) -> Figure:
    """Each validation metric and, if a run has them, the function evaluations of several runs over epochs.

    Solid lines show the validation split, dotted lines the training split. A cross marks the last epoch of a run that
    did not complete.

    Raises:
        InvalidInput: no run has an epoch to draw.
    """
    drawn = [curve for curve in curves if len(curve.history)]
    if not drawn:
        raise InvalidInput("the runs have no epochs to draw; compare runs that trained for at least one")
    quantities = by_quantity(metrics)
    have_evaluations = any(EVALUATIONS in curve.history for curve in drawn)
    groups = list(dict.fromkeys(curve.group for curve in curves))
    colours = dict(zip(groups, sns.color_palette(PALETTE, len(groups)), strict=True))
    columns = len(quantities) + have_evaluations
    figure, axes = new_figure(4.4 * columns, 4.8, title, columns=columns)
    for ax, (quantity, metric) in zip(axes, quantities.items(), strict=False):
        for curve in drawn:
            _draw_run(ax, curve, metric.name, f"training.{quantity}", colours[curve.group])
        ax.set_ylabel(axis_label(metric))
        label_epochs(ax)
        validated = [curve.history[metric.name].min() for curve in drawn if metric.name in curve.history]
        if not metric.is_share:
            ax.set_yscale("log")
            continue
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        if validated:  # the first epochs of the training split, far below, would flatten the rest
            ax.set_ylim(min(validated) - 0.02, 1.005)
    if have_evaluations:
        for curve in drawn:
            _draw_run(axes[-1], curve, EVALUATIONS, "", colours[curve.group])
        axes[-1].set(ylabel="Evaluations per batch, forward", ylim=(0, None))
        label_epochs(axes[-1])
        axes[-1].yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=_run_legend(colours, drawn), loc="outside lower left", ncols=3, frameon=False)
    return figure


def _draw_run(ax: Axes, curve: RunCurve, solid: str, dotted: str, colour: Colour) -> None:
    history = curve.history.replace([np.inf, -np.inf], nan)
    if dotted in history:
        ax.plot(history.index, history[dotted], color=colour, linewidth=1.2, linestyle=":")
    if solid not in history:
        return
    ax.plot(history.index, history[solid], color=colour, linewidth=1.5)
    best = history.loc[history.index == curve.best_epoch, solid]
    ax.plot(best.index, best, color=colour, marker="o", markersize=6)
    if not curve.completed:
        ax.plot(history.index[-1:], history[solid].iloc[-1:], color=colour, marker="X", markersize=9)


def _run_legend(colours: Mapping[str, Colour], curves: Sequence[RunCurve]) -> list[Line2D]:
    entries = [Line2D([], [], color=colour, label=group, linewidth=3) for group, colour in colours.items()]
    entries.append(Line2D([], [], color=INK, label="validation"))
    entries.append(Line2D([], [], color=INK, label="training", linestyle=":"))
    entries.append(Line2D([], [], color=INK, label="best epoch", marker="o", linestyle=""))
    if not all(curve.completed for curve in curves):
        entries.append(Line2D([], [], color=INK, label="did not complete", marker="X", linestyle="", markersize=8))
    return entries
