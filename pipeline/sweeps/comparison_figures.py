"""Pictures of sweeps beside each other."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.figure_style import PALETTE, Colour, new_figure
from pipeline.sweeps.axes import build_metric_axis
from pipeline.sweeps.comparison import SweepComparison
from pipeline.sweeps.figures import draw_staircase, finish_axes, label_objectives, metric_label, objective_panels


def plot_best_curves(comparison: SweepComparison) -> Figure | None:
    """The best value so far of each sweep over the number of its trials; None where none has a value."""
    space = comparison.sweeps[0].sweep.space
    trials = [t for one in comparison.sweeps for t in one.sweep.state.over() if t.is_eligible]
    metric = build_metric_axis(space, trials)
    if metric is None:
        return None
    figure, (ax,) = new_figure(9, 4.6, "")
    for one, colour in zip(comparison.sweeps, _colours(comparison), strict=True):
        curve = list(one.sweep.state.best_so_far(one.sweep.space.mode))
        if curve:
            orders, values = zip(*curve, strict=True)
            heights = [metric.place(value) for value in values]
            ax.step([*orders, orders[-1] + 0.5], [*heights, heights[-1]], where="post", color=colour, label=one.label)
            ax.plot(orders[-1:], heights[-1:], "o", color=colour)
    if comparison.shared_number:
        ax.axvline(comparison.shared_number, color="0.6", linestyle=":", linewidth=1)
    ax.set_yticks([place for place, _ in metric.ticks()], [label for _, label in metric.ticks()])
    ax.set(xlabel="Trials that are over", ylabel=f"Best {metric_label(space.spec).lower()} so far")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish_axes(ax)
    figure.legend(loc="outside lower left", ncols=4, frameon=False)
    return figure


def plot_fronts(comparison: SweepComparison) -> Figure | None:
    """The Pareto front of each sweep, every two objectives against each other; None where none has one."""
    if not any(one.sweep.front for one in comparison.sweeps):
        return None
    space = comparison.sweeps[0].sweep.space
    figure, panels = objective_panels(space.goal)
    colours = _colours(comparison)
    for ax, (first, second) in panels:
        for place, (one, colour) in enumerate(zip(comparison.sweeps, colours, strict=True)):
            front = [(trial.measured[first.metric], trial.measured[second.metric]) for trial in one.sweep.front]
            if front:
                size = 6 + 3 * (len(colours) - place - 1)  # where fronts meet, all of them are seen
                ax.plot(*zip(*front, strict=True), "o", color=colour, markersize=size)
                if len(panels) == 1:
                    draw_staircase(ax, front, first, colour)
        label_objectives(ax, space, first, second)
    handles = [
        Line2D([], [], color=colour, marker="o", label=one.label)
        for one, colour in zip(comparison.sweeps, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False)
    return figure


def _colours(comparison: SweepComparison) -> list[Colour]:
    return [PALETTE[k % len(PALETTE)] for k in range(len(comparison.sweeps))]
