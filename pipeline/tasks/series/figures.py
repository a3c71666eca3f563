"""The figures of a model of series: what it says, its latent states, and how it fares with fewer observations."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.figure_style import FAINT, INK, PALETTE, add_grid, new_figure, write_caption
from pipeline.tasks.series.shown import VARIED, Example, Shown, Thinned
from pipeline.util.array_types import FloatArray

MOST_CHANNELS = 3
"""Of a series, that are drawn over time."""


def plot_trajectories(examples: Sequence[Example], channels: Sequence[str], time: str, title: str) -> Figure:
    """The first test series over time: means, bands of 50 and 90 %, observations, the truth where it is known."""
    drawn = min(len(channels), MOST_CHANNELS)
    figure, panels = new_figure(3.6 * len(examples), 2.3 * drawn + 1.2, title, columns=len(examples), rows=drawn)
    for k, ax in enumerate(panels):
        channel, number = divmod(k, len(examples))
        _draw_series(ax, examples[number], channel)
        if channel == 0:
            ax.set_title(f"series {examples[number].name}", fontsize=10)
        if number == 0:
            ax.set_ylabel(channels[channel])
        if channel == drawn - 1:
            ax.set_xlabel(f"Time ({time})" if time else "Time")
    panels[0].legend(fontsize=8, framealpha=0.9, edgecolor="none")
    write_caption(
        figure, ["Bands: 50 and 90 % of the observations to come; dotted: the end of the window; scaled unit."]
    )
    return figure


def _draw_series(ax: Axes, one: Example, channel: int) -> None:
    colour = PALETTE[0]
    for level, (low, high) in sorted(one.bands.items(), reverse=True):
        ax.fill_between(
            one.times, low[:, channel], high[:, channel], color=colour, alpha=0.35 - 0.25 * level, linewidth=0
        )
    ax.plot(one.times, one.mean[:, channel], color=colour, label="mean")
    if one.truth is not None:
        ax.plot(one.known_times, one.truth[:, channel], color=INK, linestyle="--", linewidth=1, label="truth")
    observed, known = one.is_observed[:, channel], one.is_known[:, channel]
    ax.plot(one.known_times[known & ~observed], one.values[known & ~observed, channel], ".", color=FAINT, markersize=3)
    ax.plot(
        one.known_times[observed], one.values[observed, channel], "o", color=PALETTE[1], markersize=4, label="observed"
    )
    ax.axvline(one.window_end, color=FAINT, linestyle=":")
    # Samples beyond the window may run away; what happened says how far to look.
    if known.any():
        low, high = one.values[known, channel].min(), one.values[known, channel].max()
        margin = 0.5 * (high - low) or 1.0
        ax.set_ylim(low - margin, high + margin)
    add_grid(ax)


def plot_plane(examples: Sequence[Example], channels: Sequence[str], title: str) -> Figure:
    """The first test series in the plane of their first two channels."""
    figure, panels = new_figure(3.2 * len(examples), 4.0, title, columns=len(examples))
    for ax, one in zip(panels, examples, strict=True):
        if one.truth is not None:
            ax.plot(*one.truth[:, :2].T, color=INK, linestyle="--", linewidth=1, label="truth")
        observed = one.is_observed[:, :2].all(axis=1)
        within = one.times <= one.window_end
        ax.plot(*one.mean[within, :2].T, color=PALETTE[0], label="within the window")
        ax.plot(*one.mean[~within, :2].T, color=PALETTE[3], label="beyond it")
        ax.plot(*one.values[observed, :2].T, "o", color=PALETTE[1], markersize=3, label="observed")
        ax.set(title=f"series {one.name}", xlabel=channels[0])
        ax.set_aspect("equal", adjustable="datalim")
        add_grid(ax)
    panels[0].set_ylabel(channels[1])
    panels[0].legend(fontsize=8, framealpha=0.9, edgecolor="none")
    return figure


def plot_latent(means: FloatArray, labels: FloatArray, classes: Sequence[str], title: str) -> Figure:
    """The means of the posteriors in the plane where they vary most, coloured by class."""
    figure, (ax,) = new_figure(6.5, 5.5, title)
    centred = means - means.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ directions[:2].T
    for k, name in enumerate(classes):
        chosen = labels == k
        ax.scatter(plane[chosen, 0], plane[chosen, 1], s=14, color=PALETTE[k % len(PALETTE)], label=name)
    if (rest := labels < 0).any():
        ax.scatter(plane[rest, 0], plane[rest, 1], s=14, color=FAINT)
    ax.set(xlabel="First principal axis of z0", ylabel="Second principal axis")
    add_grid(ax)
    if classes:
        ax.legend(framealpha=0.9, edgecolor="none")
    write_caption(figure, [f"Means of the posterior of z0 of {len(means):,} test series."])
    return figure


def plot_varied(shown: Shown, channels: Sequence[str], time: str, title: str) -> Figure:
    """What a decoder makes where one dimension of z0 is varied and the others stay."""
    assert shown.varied is not None
    assert shown.varied_times is not None
    rows = len(shown.varied)
    is_plane = len(channels) == 2
    figure, panels = new_figure(4.2 * rows, 4.2, title, columns=rows)
    for k, ax in enumerate(panels):
        for number, value in enumerate(VARIED):
            shade = (0.15 + 0.7 * number / (len(VARIED) - 1),) * 3
            trajectory = shown.varied[k, number]
            x, y = trajectory.T if is_plane else (shown.varied_times, trajectory[:, 0])
            ax.plot(x, y, color=shade, label=f"{value:+g}")
            ax.plot(x[0], y[0], "o", color=shade, markersize=4)
        ax.set_title(f"z0, dimension {k + 1}", fontsize=10)
        ax.set(xlabel=channels[0] if is_plane else f"Time ({time})" if time else "Time")
        add_grid(ax)
    panels[0].set_ylabel(channels[1] if is_plane else channels[0])
    panels[0].legend(fontsize=8, framealpha=0.9, edgecolor="none", title="value")
    write_caption(figure, ["The other dimensions are those of the first test series; dots mark the start."])
    return figure


def plot_thinned(rows: Sequence[Thinned], title: str) -> Figure:
    """The error within the window, and the posterior's entropy, over the share of the observations that is given."""
    has_entropy = rows[0].entropy is not None
    figure, panels = new_figure(11 if has_entropy else 6, 4.4, title, columns=2 if has_entropy else 1)
    panels[0].plot([row.share for row in rows], [row.rmse for row in rows], "o-", color=PALETTE[0])
    panels[0].set(xlabel="Share of the observations that is given", ylabel="RMSE within the window", ylim=(0, None))
    if has_entropy:
        panels[1].plot([row.observed for row in rows], [row.entropy or 0.0 for row in rows], "o-", color=PALETTE[2])
        panels[1].set(xlabel="Observed times of a series, mean", ylabel="Entropy of the posterior (nats)")
    for ax in panels:
        add_grid(ax)
    # An encoder that was trained on as many observations as the last of these answers surely, and wrongly, to few.
    write_caption(figure, ["The model was trained on the largest number; what it says of fewer was not trained."])
    return figure
