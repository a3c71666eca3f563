"""Weights that depend on time, over time."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from pipeline.reporting.figure_style import PALETTE, add_grid, new_figure, write_caption

FLAT = 0.01
"""Share of the norm that its axis spans at least."""


def plot_time_weights(curves: Sequence[tuple[Tensor, Tensor, Tensor]], title: str) -> Figure:
    """The norm of the weights over t, and how far they are from their mean over time.

    Args:
        curves: as `pipeline.models.time_weights.curves` gives them, one a block.
    """
    figure, (left, right) = new_figure(10, 4, title, columns=2)
    for number, (times, norms, away) in enumerate(curves, start=1):
        colour = PALETTE[(number - 1) % len(PALETTE)]
        left.plot(times, norms, color=colour, linewidth=2, label=f"block {number}")
        right.plot(times, away, color=colour, linewidth=2)
    left.set(xlabel="t", ylabel="|θ(t)|")
    right.set(xlabel="t", ylabel="|θ(t) - mean| / |mean|", ylim=(0, None))
    lowest, highest = left.get_ylim()
    if highest - lowest < (least := FLAT * highest):  # what hardly changes looks so
        left.set_ylim((lowest + highest - least) / 2, (lowest + highest + least) / 2)
    left.ticklabel_format(useOffset=False)
    for ax in (left, right):
        add_grid(ax)
    if len(curves) > 1:
        left.legend(frameon=False)
    write_caption(figure, ["Of all weights of the field; the mean is that over t."])
    return figure
