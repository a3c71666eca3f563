"""Pictures of a sweep, in the style of `pipeline.reporting.figure_style`."""

from collections.abc import Sequence
from itertools import combinations
from math import ceil
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.reporting.figure_style import FAINT, INK, PALETTE, despine, new_figure
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.words import sentence_case
from pipeline.sweeps.axes import Axis, build_axes, build_metric_axis, spread
from pipeline.sweeps.goal import Goal, Objective
from pipeline.sweeps.space import Space
from pipeline.sweeps.state import COMPLETED, PRUNED, SweepState, Trial
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.text import SPLITS

COMPLETED_COLOUR, PRUNED_COLOUR, FAILED_COLOUR = PALETTE[0], PALETTE[1], PALETTE[3]
COLOUR_MAP = colormaps["viridis"]
ABSENT = -0.13
"""Height on an axis of the figure of lines where those pass that have no value there."""
BELOW = 0.06
"""By how much they are spread there."""
PANELS = 3
"""In a row of the figure of hyperparameters."""
CROWD = 100
"""Trials from which lines and points are small."""
VIOLATING = "violates a constraint"
DASHES = {COMPLETED: "solid", PRUNED: (0, (5, 2)), "failed": (0, (1, 1.5))}


def plot_best_so_far(space: Space, state: SweepState) -> Figure:
    """The best value of the completed trials, and every trial's own, in the order in which they ended."""
    trials = state.over()
    metric = build_metric_axis(space, _with_value(trials))
    figure, (ax,) = new_figure(9, 4.2, "")
    _draw_trials(ax, metric, space, {trial.number: float(order) for order, trial in enumerate(trials, 1)}, trials)
    best = list(state.best_so_far(space.mode))
    if best and metric is not None:
        orders, values = zip(*best, strict=True)
        heights = [metric.place(value) for value in values]
        ax.step(
            [*orders, len(trials)], [*heights, heights[-1]], "-", where="post", color=INK, lw=2, label="best so far"
        )
    ax.set(xlabel="Trials that are over", xlim=(0.5, max(len(trials), 2) + 0.5), ylabel=metric_label(space.spec))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(figure, [ax])
    return figure


def plot_hyperparameters(space: Space, state: SweepState) -> Figure:
    """The metric over each hyperparameter, a panel each."""
    trials = state.over()
    axes, metric = build_axes(space, trials), build_metric_axis(space, _with_value(trials))
    columns, rows = min(PANELS, len(axes)), ceil(len(axes) / PANELS)
    figure, panels = new_figure(max(6.0, 3.9 * columns), 3.3 * rows + 0.5, "", columns=columns, rows=rows)
    best = state.best(space.mode)
    for axis, ax in zip(axes, panels, strict=False):
        places = {t.number: axis.place(t.suggestion[axis.key], t.number) for t in trials if axis.key in t.suggestion}
        _draw_trials(ax, metric, space, places, trials)
        if best is not None and best.value is not None and metric is not None and best.number in places:
            _ring(ax, places[best.number], metric.place(best.value))
        labels = [label for _, label in axis.ticks()]
        ax.set_xticks([place for place, _ in axis.ticks()], labels)
        if sum(map(len, labels)) > 30:
            ax.set_xticks(ax.get_xticks(), labels, rotation=30, ha="right", rotation_mode="anchor")
        share = "" if len(places) == len(trials) else f" ({len(places)} of {len(trials)} trials)"
        ax.set(xlabel=f"{axis.key}{share}", xlim=(-0.04, 1.04))
    for ax in panels[: len(axes) : columns]:
        ax.set_ylabel(metric_label(space.spec))
    for ax in panels[len(axes) :]:
        ax.set_axis_off()
    _add_legend(figure, panels[: len(axes)])
    return figure


def plot_evaluations(space: Space, state: SweepState) -> Figure | None:
    """The validation result over the solver's evaluations; None where no trial has both, as with ResNets."""
    points = {
        trial.number: (_kind(trial), trial.nfe_forward, trial.validation_result)
        for trial in _with_value(state.over())
        if trial.nfe_forward is not None and trial.validation_result is not None
    }
    spec = space.task.validation_result
    if not points or spec is None:
        return None
    figure, (ax,) = new_figure(9, 4.8, "")
    for kind in (COMPLETED, PRUNED, VIOLATING):
        _scatter(ax, kind, [(x, y) for found, x, y in points.values() if found == kind])
    best = state.best(space.mode)
    if best is not None and best.number in points:
        _ring(ax, *points[best.number][1:])
    counts = [x for _, x, _ in points.values()]
    if max(counts) > 8 * min(counts) > 0:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if spec.is_share:
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    epoch = "epoch of the kept weights" if space.goal.is_of_kept_weights else "last epoch"
    ax.set(xlabel=f"Mean forward evaluations per batch, {epoch}", ylabel=metric_label(spec))
    ax.margins(0.06, 0.08)
    finish_axes(ax)
    _add_legend(figure, [ax])
    return figure


def plot_parallel_coordinates(space: Space, state: SweepState) -> Figure:
    """A line a trial through an axis for each hyperparameter and one for the metric, which also gives its colour."""
    trials = state.over()
    axes, metric = build_axes(space, trials), build_metric_axis(space, _with_value(trials))
    figure, (ax,) = new_figure(max(9.0, 1.7 * (len(axes) + 1)), 5, "")
    width, opacity = (1.4, 0.85) if len(trials) < CROWD else (0.8, 0.5)
    for trial in [trial for trial in trials if trial.has_failed]:
        end = ABSENT + spread(trial.number, BELOW)
        _draw_line(ax, axes, trial, end, color=FAILED_COLOUR, lw=width, ls=DASHES["failed"], alpha=opacity)
    if metric is not None:
        badness = {t.number: _badness(space, metric.place(t.value)) for t in _with_value(trials)}
        for trial in sorted(_with_value(trials), key=lambda trial: -badness[trial.number]):  # the best above all
            colour = (
                FAINT if trial.violates else COLOUR_MAP(0.93 * badness[trial.number])
            )  # the yellow end is too faint
            end = metric.place(trial.value)
            _draw_line(ax, axes, trial, end, color=colour, lw=width, ls=DASHES[trial.outcome], alpha=opacity)
        best = state.best(space.mode)
        if best is not None:
            _draw_line(ax, axes, best, metric.place(best.value), color=INK, lw=3.2)
    absent = [any(axis.key not in trial.suggestion for trial in trials) for axis in axes]
    for x, axis in enumerate(axes):
        _draw_axis(ax, x, axis, "not set" if absent[x] else None)
    has_failed = any(trial.has_failed for trial in trials)
    _draw_axis(ax, len(axes), metric or Axis(space.metric, ()), "failed" if has_failed else None)
    lowest = ABSENT if has_failed or any(absent) else 0
    ax.set(xlim=(-0.25, len(axes) + 0.6), ylim=(lowest - 0.05, 1.1))
    ax.set_axis_off()
    return figure


def metric_label(spec: MetricSpec) -> str:
    """What an axis calls a metric: `Validation loss (nats per image)`."""
    return f"{spec.split.capitalize()} {spec.label}" if spec.split in SPLITS else sentence_case(spec.label)


def plot_front(sweep: Sweep) -> Figure | None:
    """Every two objectives against each other, with the Pareto front; None where there is one, or no trial has values.

    Of two objectives the front is a staircase, beyond which nothing was found. Of more each panel is a projection, and
    the front's trials are ringed alone.
    """
    goal, trials = sweep.space.goal, _with_value(sweep.state.over())
    if goal.is_single or not trials:
        return None
    figure, panels = objective_panels(goal)
    for ax, (first, second) in panels:
        for kind in (COMPLETED, PRUNED, VIOLATING):
            found = [trial for trial in trials if _kind(trial) == kind]
            _scatter(ax, kind, [(trial.measured[first.metric], trial.measured[second.metric]) for trial in found])
        front = [(trial.measured[first.metric], trial.measured[second.metric]) for trial in sweep.front]
        if front:
            x, y = zip(*front, strict=True)
            _ring(ax, x, y, label="Pareto front")
            if len(panels) == 1:
                draw_staircase(ax, front, first, INK)
        label_objectives(ax, sweep.space, first, second)
    _add_legend(figure, [ax for ax, _ in panels])
    return figure


def objective_panels(goal: Goal) -> tuple[Figure, list[tuple[Axes, tuple[Objective, Objective]]]]:
    """A figure with a panel for every two objectives: the second of them is its abscissa, the first its ordinate."""
    pairs = [(second, first) for first, second in combinations(goal.objectives, 2)]
    columns, rows = min(PANELS, len(pairs)), ceil(len(pairs) / PANELS)
    figure, axes = new_figure(max(9.0, 4.2 * columns), 4.6 * rows, "", columns=columns, rows=rows)
    for ax in axes[len(pairs) :]:
        ax.set_axis_off()
    return figure, list(zip(axes, pairs, strict=False))


def draw_staircase(ax: Axes, front: Sequence[tuple[float, float]], first: Objective, colour: Any) -> None:
    """The line through a front of two objectives beyond which nothing was found; `first` is that of the abscissa."""
    where: Any = "post" if first.mode == "min" else "pre"
    ax.step(*zip(*sorted(front), strict=True), "-", where=where, color=colour, lw=1.4, zorder=1)


def label_objectives(ax: Axes, space: Space, first: Objective, second: Objective) -> None:
    """Name the axes by their objectives, and say which way is better."""
    for axis, objective in ((ax.xaxis, first), (ax.yaxis, second)):
        spec, better = space.spec_of(objective.metric), {"min": "lower", "max": "higher"}[objective.mode]
        axis.set_label_text(f"{metric_label(spec)}, {better} is better")
        if spec.is_share:
            axis.set_major_formatter(PercentFormatter(1))
    ax.margins(0.06, 0.08)
    finish_axes(ax)


def _with_value(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.is_known]


def _kind(trial: Trial) -> str:
    """What a trial with a value is in the legend."""
    return VIOLATING if trial.violates else trial.outcome


def _draw_trials(
    ax: Axes, metric: Axis | None, space: Space, places: dict[int, float], trials: Sequence[Trial]
) -> None:
    """The trials that have a place on the abscissa, by the metric; failed ones as ticks at its worse edge."""
    if metric is not None:
        for kind in (COMPLETED, PRUNED, VIOLATING):
            found = [t for t in _with_value(trials) if _kind(t) == kind and t.number in places]
            _scatter(ax, kind, [(places[trial.number], metric.place(trial.value)) for trial in found])
    failed = [places[trial.number] for trial in trials if trial.has_failed and trial.number in places]
    if failed:
        edge = 1.07 if space.mode == "min" else -0.07
        style = {"marker": "|", "markersize": 11, "markeredgewidth": 1.6}
        ax.plot(failed, [edge] * len(failed), linestyle="", color=FAILED_COLOUR, label="failed", **style)  # type: ignore[arg-type]
    ticks = metric.ticks() if metric is not None else []
    ax.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    ax.set_ylim(-0.12, 1.12)
    finish_axes(ax)


def _scatter(ax: Axes, kind: str, points: Sequence[tuple[float, float]]) -> None:
    if not points:
        return
    x, y = zip(*points, strict=True)
    size = 34 if len(points) < CROWD else 16
    if kind == COMPLETED:
        ax.scatter(x, y, size, color=[COMPLETED_COLOUR], alpha=0.75, linewidths=0, label=kind, zorder=3)
    elif kind == PRUNED:
        ax.scatter(x, y, size, marker="v", facecolors="none", edgecolors=[PRUNED_COLOUR], label=kind, zorder=2)
    else:
        ax.scatter(x, y, size, marker="x", color=FAINT, linewidths=1.2, label=kind, zorder=2)


def _ring(ax: Axes, x: Any, y: Any, label: str = "best") -> None:
    ax.scatter(x, y, s=150, facecolors="none", edgecolors=INK, linewidths=1.6, zorder=4, label=label)


def finish_axes(ax: Axes) -> None:
    """A light grid behind what is drawn, and no frame."""
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    despine(ax)


def _add_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One for all panels, below them."""
    named = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if named:
        figure.legend(list(named.values()), list(named), loc="outside lower left", ncols=len(named), frameon=False)


def _badness(space: Space, height: float) -> float:
    """0 for the best height on the axis of the metric, 1 for the worst."""
    return height if space.mode == "min" else 1 - height


def _draw_line(ax: Axes, axes: Sequence[Axis], trial: Trial, end: float, **style: Any) -> None:
    suggestion, number = trial.suggestion, trial.number
    below = ABSENT + spread(number, BELOW)
    heights = [axis.place(suggestion[axis.key], number) if axis.key in suggestion else below for axis in axes]
    ax.plot(range(len(axes) + 1), [*heights, end], **style)


def _draw_axis(ax: Axes, x: int, axis: Axis, below: str | None) -> None:
    """An upright axis; `below` says what it means to pass under it."""
    ax.plot([x, x], [0, 1], color=INK, linewidth=1)
    if below:
        ax.plot([x, x], [ABSENT, 0], color=FAINT, linewidth=1, linestyle=":")
    heading = axis.key.replace(".", ".\n")
    ax.text(x, 1.05, heading, ha="center", va="bottom", fontsize=9.5, fontweight="bold", color=INK, parse_math=False)
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    for place, label in [*axis.ticks(), *([(ABSENT, below)] if below else [])]:
        ax.plot([x - 0.02, x], [place, place], color=INK, linewidth=1)
        ax.text(x + 0.03, place, label, va="center", fontsize=8.5, color=INK, zorder=4, parse_math=False, bbox=box)
