"""The figures of densities."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from pipeline.flows import Flow
from pipeline.reporting.figure_style import INK, PALETTE, add_grid, new_figure, write_caption
from pipeline.tasks.density.network import DensityNetwork
from pipeline.tasks.density.points import DensityPoints
from pipeline.tasks.density.preprocessing import Preprocessing
from pipeline.tasks.solver_grid import Row
from pipeline.util.array_types import FloatArray

CELLS = 100
"""Of a density's grid along an axis."""
SHOWN, PATHS, ARROWS = 2000, 60, 18
TIMES, FRAMES, FRAME_SECONDS = 8, 16, 0.15


@dataclass(frozen=True)
class Box:
    """What a figure in the plane shows."""

    low: FloatArray
    high: FloatArray

    @classmethod
    def around(cls, points: FloatArray) -> "Box":
        """The middle 99.8 % of the points along each axis, a square with a margin."""
        low, high = np.quantile(points, 0.001, axis=0), np.quantile(points, 0.999, axis=0)
        middle, half = (low + high) / 2, 0.6 * float((high - low).max())
        return cls(middle - half, middle + half)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return float(self.low[0]), float(self.high[0]), float(self.low[1]), float(self.high[1])

    def grid(self, cells: int = CELLS) -> torch.Tensor:
        """Points of a lattice, row by row from the lower left, shape (cells², 2)."""
        axes = [torch.linspace(float(a), float(b), cells) for a, b in zip(self.low, self.high, strict=True)]
        y, x = torch.meshgrid(axes[1], axes[0], indexing="ij")
        return torch.stack([x.flatten(), y.flatten()], 1)


def plot_samples(network: DensityNetwork, data: DensityPoints, title: str) -> Figure:
    """Test points and samples of the density beside each other, and in one and two dimensions the density itself."""
    test = data.test[:SHOWN].cpu().numpy()
    samples = network.density.sample(SHOWN, 0).cpu().numpy()
    if data.preprocessing.image_shape is not None:
        return _plot_images(network, data, title)
    if data.dimension == 1:
        return _plot_line(network, test, samples, title)
    if data.dimension == 2:
        return _plot_plane(network, test, samples, title)
    return _plot_pairs(test, samples, data.preprocessing, title)


def _plot_plane(network: DensityNetwork, test: FloatArray, samples: FloatArray, title: str) -> Figure:
    box = Box.around(test)
    figure, axes = new_figure(10.5, 3.9, title, columns=3)
    for ax, points, name in ((axes[0], test, "Test points"), (axes[2], samples, "Samples")):
        ax.scatter(points[:, 0], points[:, 1], s=2, color=PALETTE[0], linewidths=0)
        _frame(ax, box, name)
    _draw_density(axes[1], _density(network, box), box, "Density")
    return figure


def _plot_line(network: DensityNetwork, test: FloatArray, samples: FloatArray, title: str) -> Figure:
    low, high = np.quantile(test, 0.0005) - 1, np.quantile(test, 0.9995) + 1
    line = torch.linspace(float(low), float(high), 400).unsqueeze(1)
    with torch.no_grad():
        density = network.density.log_prob(line.to(_device(network))).value.exp().cpu()
    figure, (ax,) = new_figure(7, 4.2, title)
    bins = np.linspace(low, high, 60).tolist()
    for points, name, colour in ((test, "test points", PALETTE[0]), (samples, "samples", PALETTE[1])):
        ax.hist(points[:, 0], bins=bins, density=True, histtype="step", color=colour, linewidth=1.5, label=name)
    ax.plot(line[:, 0], density, color=INK, linewidth=2, label="density")
    ax.set(xlabel="x", ylabel="Density")
    add_grid(ax)
    ax.legend(frameon=False)
    return figure


def _plot_pairs(test: FloatArray, samples: FloatArray, preprocessing: Preprocessing, title: str) -> Figure:
    """Each of the first columns over the next one."""
    width = test.shape[1]
    names = preprocessing.columns or tuple(f"x{number}" for number in range(width))
    pairs = [(first, first + 1) for first in range(0, min(width - 1, 6), 2)]
    figure, axes = new_figure(3.6 * len(pairs), 7.2, title, columns=len(pairs), rows=2)
    for column, (first, second) in enumerate(pairs):
        box = Box.around(test[:, [first, second]])
        for row, (points, name) in enumerate(((test, "Test points"), (samples, "Samples"))):
            ax = axes[row * len(pairs) + column]
            ax.scatter(points[:, first], points[:, second], s=2, color=PALETTE[row], linewidths=0)
            _frame(ax, box, name if column == 0 else "")
            ax.set(xlabel=names[first], ylabel=names[second])
    if preprocessing.columns:
        write_caption(figure, ["Standardised columns."])
    return figure


def _plot_images(network: DensityNetwork, data: DensityPoints, title: str) -> Figure:
    """Samples beside test images."""
    preprocessing, along = data.preprocessing, 8
    assert preprocessing.image_shape is not None
    assert preprocessing.dequantisation is not None
    figure, axes = new_figure(9, 4.9, title, columns=2)
    samples = network.density.sample(along**2, 0)
    for ax, points, name in zip(axes, (data.test[: along**2], samples), ("Test images", "Samples"), strict=True):
        images = preprocessing.rows(points).reshape(-1, *preprocessing.image_shape) / (
            preprocessing.dequantisation.levels - 1
        )
        ax.imshow(_tiled(images, along), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(name, loc="left")
        ax.set_axis_off()
    return figure


def _tiled(images: FloatArray, along: int) -> FloatArray:
    """Images, shape (n, channels, height, width), in rows, a line between them."""
    padded = np.pad(images, ((0, along**2 - len(images)), (0, 0), (1, 1), (1, 1)), constant_values=0.5)
    _, channels, height, width = padded.shape
    tiles = padded.reshape(along, along, channels, height, width).transpose(0, 3, 1, 4, 2)
    whole: FloatArray = tiles.reshape(along * height, along * width, channels)
    return whole[..., 0] if channels == 1 else whole


def plot_density_over_time(flow: Flow, data: DensityPoints, title: str) -> Figure:
    """What the base becomes between 0 and T, in the plane or on a line."""
    times = np.linspace(0, flow.final_time, TIMES)
    figure, axes = new_figure(11, 5.9, title, columns=4, rows=2)
    if flow.dimension == 1:
        _draw_lines_over_time(flow, data, times, axes)
        return figure
    box = Box.around(np.concatenate([data.test.cpu().numpy(), _of_base(flow)]))
    for ax, time in zip(axes, times, strict=True):
        _draw_density(ax, density_at(flow, box, float(time)), box, f"t = {time:.2g}")
    return figure


def _draw_lines_over_time(flow: Flow, data: DensityPoints, times: FloatArray, axes: Sequence[Axes]) -> None:
    found = np.concatenate([data.test.cpu().numpy(), _of_base(flow)])
    line = torch.linspace(float(found.min()), float(found.max()), 400).unsqueeze(1)
    for ax, time in zip(axes, times, strict=True):
        with torch.no_grad():
            density = flow.log_prob(line.to(_device(flow)), time=float(time)).value.exp().cpu()
        ax.plot(line[:, 0], density, color=PALETTE[0])
        ax.set_title(f"t = {time:.2g}", loc="left")
        add_grid(ax)


def animate(flow: Flow, data: DensityPoints) -> bytes:
    """The density from 0 to T in the plane, as a GIF that begins again."""
    box = Box.around(np.concatenate([data.test.cpu().numpy(), _of_base(flow)]))
    frames = []
    for time in np.linspace(0, flow.final_time, FRAMES):
        density = density_at(flow, box, float(time))
        shades = _colours()(density / max(float(density.max()), 1e-30))[::-1, :, :3]
        frame = Image.fromarray((255 * shades).astype(np.uint8))
        frames.append(frame.resize((3 * CELLS, 3 * CELLS), Image.Resampling.BILINEAR))
    buffer = io.BytesIO()
    durations = [int(1000 * FRAME_SECONDS)] * (FRAMES - 1) + [1500]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
    return buffer.getvalue()


def plot_vector_field(flow: Flow, data: DensityPoints, title: str) -> Figure:
    """The velocity at three times, and the ways of points of the base to the data, in the plane."""
    box = Box.around(np.concatenate([data.test.cpu().numpy(), _of_base(flow)]))
    times = np.linspace(0, flow.final_time, 33)
    ends = data.test[:PATHS]
    with torch.no_grad():
        paths = flow.trajectory(ends, [float(time) for time in times]).cpu().numpy()
    figure, axes = new_figure(14, 4.1, title, columns=4)
    grid = box.grid(ARROWS)
    for ax, time in zip(axes, (0.0, flow.final_time / 2, flow.final_time), strict=False):
        with torch.no_grad():
            velocity = flow.field(torch.tensor(time).to(_device(flow)), grid.to(_device(flow))).cpu().numpy()
        ax.quiver(*grid.numpy().T, *velocity.T, color=PALETTE[0], width=0.004)
        _frame(ax, box, f"Velocity at t = {time:.2g}")
    axes[3].plot(paths[:, :, 0], paths[:, :, 1], color="0.6", linewidth=0.8)
    for number, name, colour in ((0, "base", PALETTE[1]), (-1, "data", PALETTE[0])):
        axes[3].scatter(paths[number, :, 0], paths[number, :, 1], s=10, color=colour, zorder=3, label=name)
    _frame(axes[3], box, "Ways of test points")
    axes[3].legend(frameon=True, framealpha=0.9, edgecolor="none", loc="upper right")
    return figure


def plot_nll_over_tolerance(rows: Sequence[Row], title: str) -> Figure:
    """NLL and the integral over the evaluations that they took; only rows with some."""
    drawn = [row for row in rows if row.nfe_forward is not None and row.scores.get("nll") is not None]
    panels = ["nll"] + (["integral"] if any(row.scores.get("integral") is not None for row in drawn) else [])
    figure, axes = new_figure(5.4 * len(panels), 4.6, title, columns=len(panels))
    labels = {"nll": "NLL (nats)", "integral": "Integral over a grid"}
    for ax, name in zip(axes, panels, strict=True):
        for k, method in enumerate(dict.fromkeys(row.method for row in drawn)):
            of_method = sorted((row for row in drawn if row.method == method), key=lambda row: row.nfe_forward or 0)
            places: Any = [row.nfe_forward for row in of_method]
            values: Any = [row.scores[name] for row in of_method]
            ax.plot(places, values, marker="o", color=PALETTE[k], label=method)
            for place, value, row in zip(places, values, of_method, strict=True):
                ax.annotate(
                    str(row.steps or f"{row.rtol:g}"), (place, value), xytext=(4, 6), textcoords="offset points", size=8
                )
        if name == "integral":
            ax.axhline(1, color="0.6", linestyle="--", zorder=0)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set(xlabel="Evaluations for a batch", ylabel=labels[name])
        ax.margins(x=0.12, y=0.12)
        add_grid(ax)
    axes[0].legend(frameon=False)
    write_caption(figure, ["At the points: the tolerance of an adaptive method, the steps of one with equal steps."])
    return figure


def plot_beside(densities: Sequence[tuple[str, DensityNetwork]], data: DensityPoints, title: str) -> Figure:
    """Several densities of one data set in the plane: above the densities, below their samples; the data first.

    Args:
        densities: headings and networks.
    """
    box = Box.around(data.test.cpu().numpy())
    figure, axes = new_figure(3 * (1 + len(densities)), 6.4, title, columns=1 + len(densities), rows=2)
    test, columns = data.test[:SHOWN].cpu().numpy(), 1 + len(densities)
    if data.log_density is not None:
        with torch.no_grad():
            truth = data.log_density(box.grid()).exp().reshape(CELLS, CELLS).numpy()
    else:
        x, y = data.test.cpu().numpy().T
        truth = np.histogram2d(y, x, bins=60, range=(box.extent[2:], box.extent[:2]))[0]
    _draw_density(axes[0], truth, box, "Data")
    _scatter(axes[columns], test, box)
    for column, (name, network) in enumerate(densities, start=1):
        _draw_density(axes[column], _density(network, box), box, name)
        _scatter(axes[columns + column], network.density.sample(SHOWN, 0).cpu().numpy(), box)
    return figure


def density_at(flow: Flow, box: Box, time: float) -> FloatArray:
    """The density at a time in the cells of a box, shape (CELLS, CELLS)."""
    with torch.no_grad():
        value = flow.log_prob(box.grid().to(_device(flow)), time=time).value
    density: FloatArray = value.exp().reshape(CELLS, CELLS).cpu().numpy()
    return density


def _density(network: DensityNetwork, box: Box) -> FloatArray:
    with torch.no_grad():
        value = network.density.log_prob(box.grid().to(_device(network))).value
    density: FloatArray = value.exp().reshape(CELLS, CELLS).cpu().numpy()
    return density


def _of_base(flow: Flow) -> FloatArray:
    drawn: FloatArray = flow.base.sample(SHOWN, torch.Generator().manual_seed(0)).cpu().numpy()
    return drawn


@cache
def _colours() -> Colormap:
    import seaborn as sns  # which has them, and which the figures of tables do not wait for

    colours: Colormap = sns.color_palette("mako", as_cmap=True)
    return colours


def _draw_density(ax: Axes, density: FloatArray, box: Box, name: str) -> None:
    ax.imshow(density, origin="lower", extent=box.extent, cmap=_colours(), interpolation="bilinear", vmin=0)
    _frame(ax, box, name)


def _scatter(ax: Axes, points: FloatArray, box: Box) -> None:
    ax.scatter(points[:, 0], points[:, 1], s=2, color=PALETTE[0], linewidths=0)
    _frame(ax, box, "")


def _frame(ax: Axes, box: Box, name: str) -> None:
    left, right, bottom, top = box.extent
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_title(name, loc="left", fontsize=10)
    ax.tick_params(labelsize=8)


def _device(network: torch.nn.Module) -> torch.device:
    return next(network.parameters()).device
