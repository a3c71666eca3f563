"""The figure of one trained network under several ODE solvers."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from pipeline.reporting.figure_style import INK, PALETTE, add_grid, new_figure, write_caption
from pipeline.tasks.classification.solver_dependence import error_of
from pipeline.tasks.solver_grid import Row
from pipeline.util.errors import InvalidInput

MARKERS = "osD^vP"
LABEL_SIDES: tuple[tuple[tuple[int, int], Literal["left", "center", "right"], Literal["bottom", "top"]], ...] = (
    ((0, 9), "center", "bottom"),
    ((0, -9), "center", "top"),
    ((-6, 6), "right", "bottom"),
    ((6, -6), "left", "top"),
)
"""Offset in points from a point to its label, and the label's alignment."""


def plot_solvers(rows: Sequence[Row], images: int, title: str) -> Figure:
    """Accuracy over forward evaluations with a line for each solver method.

    A ring marks the solver of the training, a grey band twice the standard error of its accuracy.

    Args:
        rows: as `reevaluate` returns them, the solver of the training first; the caption names those that failed.
        images: the number of test images.

    Raises:
        InvalidInput: no row has evaluations.
    """
    drawn = [row for row in rows if row.nfe_forward is not None]
    if not drawn:
        raise InvalidInput("no setting has evaluations to draw: only ODE-Nets evaluate a function")
    table = pd.DataFrame([row.to_dict() | {"label": f"{row.steps or row.rtol:g}"} for row in drawn])
    several_times = table["final_time"].nunique() > 1

    figure, (ax,) = new_figure(9, 5.5, title)
    lines = table.groupby(["method", "control", "final_time"], sort=False)
    for k, ((method, control, final_time), settings) in enumerate(lines):
        name = f"{method}, by sample" if control == "sample" else str(method)
        name += f", T = {final_time:g}" if several_times else ""
        _draw_solver(ax, settings.sort_values("nfe_forward"), name, k)
    _mark_trained(ax, rows[0], images)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="Mean forward evaluations per batch", ylabel="Accuracy on the test images")
    ax.margins(x=0.08, y=0.12)
    add_grid(ax)
    ax.legend(framealpha=0.9, edgecolor="none")
    write_caption(
        figure,
        [
            "At the points: steps of a fixed-step method, rtol of an adaptive one.",
            f"Grey: within twice the standard error of the accuracy as trained, test images: {images:,}.",
            *(f"Failed ({row.status}): {row.label}." for row in rows if row.nfe_forward is None),
        ],
    )
    return figure


def _draw_solver(ax: Axes, settings: pd.DataFrame, name: str, k: int) -> None:
    """Draw one method, its labels on another side than its neighbours', so that they do not overlap."""
    colour, marker = PALETTE[k % len(PALETTE)], MARKERS[k % len(MARKERS)]
    ax.plot(settings["nfe_forward"], settings["accuracy"], color=colour, marker=marker, markersize=7, label=name)
    offset, across, up = LABEL_SIDES[k % len(LABEL_SIDES)]
    for x, y, label in zip(settings["nfe_forward"], settings["accuracy"], settings["label"], strict=True):
        ax.annotate(
            label,
            (x, y),
            xytext=offset,
            textcoords="offset points",
            ha=across,
            va=up,
            fontsize=8,
            color=colour,
        )


def _mark_trained(ax: Axes, trained: Row, images: int) -> None:
    accuracy = trained.scores["accuracy"]
    if trained.nfe_forward is None or accuracy is None:
        return
    error = error_of(accuracy, images)
    ax.axhspan(accuracy - 2 * error, accuracy + 2 * error, color="0.93", zorder=0)
    ax.scatter(
        [trained.nfe_forward],
        [accuracy],
        s=220,
        facecolors="none",
        edgecolors=INK,
        linewidths=1.5,
        zorder=3,
        label=f"as trained: {trained.label}",
    )
