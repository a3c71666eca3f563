"""Trajectories, the field that they follow, and what a network says of the plane."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pipeline.reporting.figure_style import FAINT, PALETTE, add_grid, new_figure, write_caption
from pipeline.tasks.trajectories.survey import REACH, Survey

LOW, HIGH = PALETTE[0], PALETTE[3]
DRAWN = 6
"""Trajectories of a colour over time."""


def plot_trajectories(survey: Survey, title: str) -> Figure:
    """How points move: over t where they have one dimension, in the plane where they have two or more.

    With augmented dimensions beside one, a second panel shows the first of them over the coordinate.
    """
    width = survey.states.shape[2]
    if survey.dimension > 1:
        figure, (ax,) = new_figure(6, 6, title)
        _draw_plane(ax, survey, "second coordinate")
    elif width == 1:
        figure, (ax,) = new_figure(7.5, 4.6, title)
        _draw_over_time(ax, survey)
    else:
        figure, (left, right) = new_figure(11, 4.8, title, columns=2)
        _draw_over_time(left, survey)
        _draw_plane(right, survey, "first augmented dimension")
    write_caption(figure, _sentences(survey))
    return figure


def plot_side_by_side(surveys: Mapping[str, Survey], title: str) -> Figure:
    """Several networks on the same points of one dimension, a panel each, under their names.

    Raises:
        ValueError: points of more dimensions.
    """
    if any(survey.dimension > 1 for survey in surveys.values()):
        raise ValueError("points of one dimension are drawn beside each other, over time: not those of the plane")
    figure, axes = new_figure(4.2 * len(surveys), 3.9, title, columns=len(surveys))
    for ax, (name, survey) in zip(axes, surveys.items(), strict=True):
        _draw_over_time(ax, survey)
        ax.set_title(name, loc="left", fontsize=11)
    said = dict.fromkeys(sentence for survey in surveys.values() for sentence in _sentences(survey))
    write_caption(figure, [" ".join(said)])
    return figure


def plot_plane(survey: Survey, title: str) -> Figure:
    """What a network says of each point of the plane, with the test points over it.

    Raises:
        ValueError: it was not asked.
    """
    if survey.plane is None:
        raise ValueError("the survey has no plane")
    line, values = survey.plane
    figure, (ax,) = new_figure(6.6, 5.6, title)
    reach = max(1.0, float(np.abs(survey.targets).max()))
    scale = Normalize(-reach, reach)
    image = ax.pcolormesh(line, line, values, cmap="coolwarm", norm=scale, shading="nearest")
    figure.colorbar(image, ax=ax, label="output", extend="both")
    if values.min() < 0 < values.max():
        ax.contour(line, line, values, levels=[0], colors="k", linewidths=1)
    across, up = survey.points.T
    ax.scatter(
        across, up, s=22, c=survey.targets, cmap="coolwarm", norm=scale, edgecolors="k", linewidths=0.6, zorder=3
    )
    ax.set(xlabel="first coordinate", ylabel="second coordinate", aspect="equal")
    write_caption(figure, ["Points: of the test, in the colour of what they should give. Black line: the output is 0."])
    return figure


def _draw_over_time(ax: Axes, survey: Survey) -> None:
    """The coordinate over t, or over the layers of a discrete network."""
    if survey.field is not None:
        times, positions, slopes = survey.field
        length = np.hypot(1, slopes)
        grid = np.meshgrid(times, positions, indexing="ij")
        # Of one length on the page, along the solutions through their middles, whatever the limits of the axes.
        ax.quiver(
            *grid, 1 / length, slopes / length, angles="xy", color=FAINT, scale=28, width=0.003, pivot="mid", zorder=1
        )
    mark = "" if survey.is_continuous else "o"
    if survey.beside is not None:
        ax.plot(survey.times, survey.beside[:, :, 0], color=FAINT, linewidth=0.8, zorder=2)
    colours = _colours(survey)
    for colour in (LOW, HIGH):
        chosen = np.array([number for number, own in enumerate(colours) if own == colour], dtype=int)
        if len(chosen) == 0:
            continue
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(DRAWN, len(chosen))).astype(int)]
        ax.plot(survey.times, survey.states[:, chosen, 0], color=colour, linewidth=2.2, zorder=3, marker=mark)
        if survey.targets.ndim == 2:
            ends = np.unique(survey.targets[chosen])
            ax.plot(
                np.full(len(ends), survey.times[-1]), ends, "*", color=colour, markersize=15, clip_on=False, zorder=4
            )
    if survey.beside is not None:
        shown = [survey.states[:, :, 0], *([survey.targets] if survey.targets.ndim == 2 else [])]
        reach = REACH * max(float(np.abs(one).max()) for one in shown)
        ax.set_ylim(-reach, reach)
    ax.set(xlabel="t" if survey.is_continuous else "t, a step between two marks", ylabel="coordinate")
    add_grid(ax)


def _draw_plane(ax: Axes, survey: Survey, second: str) -> None:
    """Two dimensions of the state, from the start to the end of each trajectory."""
    colours = _colours(survey)
    for number, colour in enumerate(colours):
        ax.plot(survey.states[:, number, 0], survey.states[:, number, 1], color=colour, linewidth=0.9, alpha=0.7)
    ax.scatter(survey.states[0, :, 0], survey.states[0, :, 1], s=16, facecolors="w", edgecolors=colours, zorder=3)
    ax.scatter(survey.states[-1, :, 0], survey.states[-1, :, 1], s=18, c=colours, zorder=4)
    if survey.dimension > 1 and survey.targets.ndim == 2:
        ax.scatter(survey.targets[:, 0], survey.targets[:, 1], s=40, marker="x", c=colours, linewidths=0.8, zorder=2)
    ax.set(xlabel="first coordinate" if survey.dimension > 1 else "coordinate", ylabel=second)
    ax.set_aspect("equal", adjustable="datalim")
    add_grid(ax)


def _colours(survey: Survey) -> list[tuple[float, float, float]]:
    """Of each point, by what is said of it, or by the side that it starts on."""
    decides = survey.targets if survey.targets.ndim == 1 else survey.points[:, 0]
    return [HIGH if value > 0 else LOW for value in decides]


def _sentences(survey: Survey) -> list[str]:
    if survey.dimension == 1:
        said = ["Stars: where the points of their colour are to go."]
        if survey.targets.ndim == 1:
            said = ["Orange: points of a number above 0."]
        if survey.beside is not None:
            said.append("Grey lines: starts beside the data.")
        if survey.field is not None:
            said.append("Arrows: the direction of the field.")
        return said
    crosses = " Crosses: where they are to go." if survey.targets.ndim == 2 else ""
    more = " Two of their dimensions, in which lines may cross." if survey.states.shape[2] > 2 else ""
    return [f"Circles: starts of test points. Dots: where they come to.{crosses}{more}"]
