"""A figure of which settings matter."""

from matplotlib.figure import Figure

from pipeline.reporting.figure_style import FAINT, INK, PALETTE, add_grid, new_figure
from pipeline.reporting.importance import Importance


def plot_importance(importance: Importance) -> Figure | None:
    """A bar a setting with the middle 90 % of its samples; None where nothing can be told."""
    settings = importance.settings[::-1]  # the most important on top
    if not settings:
        return None
    figure, (ax,) = new_figure(9, 0.42 * len(settings) + 1.1, "")
    places, means = range(len(settings)), [one.mean for one in settings]
    errors = [
        [max(one.mean - one.low, 0) for one in settings],
        [max(one.high - one.mean, 0) for one in settings],
    ]
    ax.barh(places, means, 0.6, color=[PALETTE[0] if one.is_certain else FAINT for one in settings])
    ax.errorbar(means, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_yticks(places, [one.name for one in settings])
    ax.set_xlabel("Share of the variance")
    add_grid(ax)
    ax.set_axisbelow(True)
    ax.grid(visible=False, axis="y")
    return figure
