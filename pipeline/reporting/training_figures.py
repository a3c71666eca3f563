"""The figures of a training, whatever the task: learning curves, function evaluations, step sizes."""

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.reporting.figure_style import FAINT, PALETTE, Colour, add_grid, new_figure, write_caption
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.util.errors import InvalidInput

LOG_SCALE_SPAN = 100
"""If the largest value of a metric is this many times its smallest, the metric's axis is logarithmic."""


def axis_label(metric: MetricSpec) -> str:
    """The metric's heading and unit, such as `Loss (nats per image)`."""
    return metric.label[:1].upper() + metric.label[1:]


def plot_learning_curves(
    history: Sequence[Mapping[str, float]], best_epoch: int, metrics: Iterable[MetricSpec], title: str
) -> Figure:
    """Each metric on the training and the validation split over epochs, with the best epoch marked.

    Args:
        history: a row for each epoch with the key `epoch` and, for each `validation.X` of the metrics, that key and,
            where the metric is one of training too, `training.X`. A value that is not finite leaves a gap, and the
            caption names its epoch.
        metrics: all of the task; there is a panel for each of its validation metrics that was recorded.

    Raises:
        InvalidInput: the history has no epochs.
    """
    validated = [metric for metric in metrics if metric.split == "validation" and _is_recorded(metric, history)]
    columns = [f"{split}.{metric.quantity}" for metric in validated for split in ("training", "validation")]
    table = _history_table(history, [column for column in columns if not history or column in history[0]])
    figure, panels = new_figure(4.5 * len(validated), 4.4, title, columns=len(validated))
    for ax, metric in zip(panels, validated, strict=True):
        drawn = []
        for split, colour in zip(("training", "validation"), PALETTE, strict=False):
            if (column := f"{split}.{metric.quantity}") in table:
                drawn.append(column)
                _draw_epochs(ax, table, column, split, colour)
        if best_epoch in table["epoch"].to_numpy():
            ax.axvline(best_epoch, color=FAINT, linestyle="--", zorder=0, label=f"best epoch ({best_epoch})")
        _finish_epochs(ax, table)
        ax.set_ylabel(axis_label(metric))
        values = table[drawn].to_numpy()
        if metric.is_share:
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        elif np.isfinite(values).any() and np.nanmax(values) > LOG_SCALE_SPAN * np.nanmin(values) > 0:
            ax.set_yscale("log")
    write_caption(figure, _gaps(table))
    return figure


def plot_function_evaluations(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """The mean number of function evaluations per batch over epochs, of the forward and, if counted, the backward pass.

    Args:
        history: a row for each epoch with the keys `epoch`, `solver.nfe_forward` and, with adjoint gradients,
            `solver.nfe_backward`.

    Raises:
        InvalidInput: the history has no epochs or no function evaluations.
    """
    passes = {"solver.nfe_forward": "forward pass", "solver.nfe_backward": "backward pass"}
    counted = [column for column in passes if any(row.get(column) is not None for row in history)]
    if "solver.nfe_forward" not in counted:
        raise InvalidInput("the history has no solver.nfe_forward: only ODE-Nets evaluate a function")
    table = _history_table(history, counted)
    figure, (ax,) = new_figure(9, 4.4, title)
    for column, colour in zip(counted, PALETTE, strict=False):
        _draw_epochs(ax, table, column, passes[column], colour)
    _finish_epochs(ax, table)
    ax.set_ylabel("Mean function evaluations per batch")
    ax.set_ylim(bottom=0)
    write_caption(figure, _gaps(table))
    return figure


def plot_step_sizes(
    first_solves: Sequence[Sequence[Mapping[str, Any]]],
    last_solves: Sequence[Sequence[Mapping[str, Any]]],
    title: str,
) -> Figure:
    """The solver's steps over time in the first and the last batch of a training, with a panel for each ODE block.

    Args:
        first_solves, last_solves: for each ODE block its attempted steps, with the keys `t`, `dt` and `accepted`.
    """
    blocks = list(zip(first_solves, last_solves, strict=True))
    figure, axes = new_figure(9, 3.6 * len(blocks), title, rows=len(blocks))
    for number, (ax, solves) in enumerate(zip(axes, blocks, strict=True), start=1):
        for steps, label, colour in zip(solves, ("first batch", "last batch"), PALETTE, strict=False):
            _draw_steps(ax, steps, label, colour)
        if len(blocks) > 1:
            ax.set_title(f"Block {number}", loc="left")
        ax.set(xlabel="t", ylabel="Step size dt", ylim=(0, None))
        ax.legend(frameon=False)
    rejected = any(not step["accepted"] for steps in (*first_solves, *last_solves) for step in steps)
    write_caption(figure, ["A line covers the time of its step.", *["Crosses: rejected steps."] * rejected])
    return figure


def _draw_steps(ax: Axes, steps: Sequence[Mapping[str, Any]], label: str, colour: Colour) -> None:
    accepted = [step for step in steps if step["accepted"]]
    rejected = [step for step in steps if not step["accepted"]]
    if not accepted:  # of a batch that nothing was solved for, as of series with one time
        return
    edges = [step["t"] for step in accepted] + [accepted[-1]["t"] + accepted[-1]["dt"]]
    ax.stairs([step["dt"] for step in accepted], edges, baseline=None, color=colour, linewidth=2, label=label)
    ax.plot([step["t"] for step in rejected], [step["dt"] for step in rejected], "x", color=colour)


def label_epochs(ax: Axes) -> None:
    """Give the panel an axis of epochs, with whole numbers only, and a grid."""
    ax.set_xlabel("Epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    add_grid(ax)


def _is_recorded(metric: MetricSpec, history: Sequence[Mapping[str, float]]) -> bool:
    return not history or metric.name in history[0]


def _history_table(history: Sequence[Mapping[str, float]], columns: Sequence[str]) -> pd.DataFrame:
    """A row for each epoch with those columns; NaN where a value is missing or not finite."""
    if not history:
        raise InvalidInput("the history has no epochs to draw; train for at least one")
    table = pd.DataFrame(list(history), columns=["epoch", *columns], dtype=float)
    return table.replace([np.inf, -np.inf], nan)


def _draw_epochs(ax: Axes, table: pd.DataFrame, column: str, label: str, colour: Colour) -> None:
    ax.plot(table["epoch"], table[column], color=colour, marker="o", markersize=4, label=label)


def _finish_epochs(ax: Axes, table: pd.DataFrame) -> None:
    label_epochs(ax)
    ax.set_xlim(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5)
    ax.legend(framealpha=0.9, edgecolor="none")


def _gaps(table: pd.DataFrame) -> list[str]:
    epochs = table.loc[table.isna().any(axis=1), "epoch"].astype(int)
    if len(epochs) == 0:
        return []
    if len(epochs) == 1:
        return [f"Not finite in epoch {epochs.iloc[0]}."]
    return [f"Not finite in {len(epochs)} epochs, first in epoch {epochs.iloc[0]}."]
