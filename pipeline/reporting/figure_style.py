"""The look that all figures share: palette, size, title, caption, grid, and how a figure is saved."""

import io
from collections.abc import Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.util.files import write_result

PALETTE = sns.color_palette("colorblind")
INK, FAINT = "0.15", "0.6"
DPI = 150

Colour = tuple[float, float, float]
"""Red, green and blue, each from 0 to 1."""


def new_figure(width: float, height: float, title: str, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row, made without pyplot, so that threads can draw at the same time.

    Args:
        width, height: in inches; a screen shows about 100 pixels an inch.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # seaborn measures labels while it draws
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK, parse_math=False)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def add_grid(ax: Axes) -> None:
    """Draw a light grid and remove the frame's upper and right side."""
    ax.grid(color="0.92")
    sns.despine(ax=ax)


def write_caption(figure: Figure, sentences: Sequence[str]) -> None:
    """Write the sentences below the figure, one a line."""
    if sentences:
        figure.supxlabel("\n".join(sentences), x=0.01, ha="left", fontsize=9, color="0.35")


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file; what stands in it is text, in which no dollar sign begins a formula."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_ticklabels()  # which are made by then, not while it is drawn
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_result(path, png(figure), "figure")
