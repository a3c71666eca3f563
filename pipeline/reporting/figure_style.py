"""The look that all figures share: palette, size, title, caption, grid, and how a figure is saved."""

import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib import rcParams, style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from pipeline.util.files import write_result
from pipeline.util.user_warnings import OdenetWarning

INK, FAINT = "0.15", "0.6"
DPI = 150

Colour = tuple[float, float, float]
"""Red, green and blue, each from 0 to 1."""
_CODES = "0173b2 de8f05 029e73 d55e00 cc78bc ca9161 fbafe4 949494 ece133 56b4e9"
PALETTE: list[Colour] = [to_rgb(f"#{code}") for code in _CODES.split()]
"""Seaborn's "colorblind"; the library itself takes most of a second to import, and is where a figure is drawn by it."""
FONTS = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei"),
    *("IPAGothic", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Emoji", "Symbola", "Arial Unicode MS"),
)
"""Those of them that are installed are asked for a sign, one after the other."""
_drawing = threading.RLock()
"""Matplotlib's settings are a process's, and threads may draw."""


@contextmanager
def own_style() -> Iterator[None]:
    """Within it figures look as ours do, whatever a person's `matplotlibrc` or notebook has set.

    A sign that no installed font has is a box, and said in one sentence.
    """
    with _drawing, style.context("default", after_reset=True), warnings.catch_warnings(record=True) as caught:
        installed = {font.name for font in fontManager.ttflist}
        rcParams["text.parse_math"] = False  # names have dollar signs of their own; powers are set in `png`
        rcParams["font.family"] = [name for name in FONTS if name in installed] or ["sans-serif"]
        yield
    lacking = []
    for warning in caught:
        if found := re.search(r"Glyph (\d+) ", str(warning.message)):
            lacking.append(chr(int(found[1])))
        else:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        signs = " ".join(dict.fromkeys(lacking))
        said = f"no installed font has {signs}, which a figure shows as boxes: install fonts-noto-cjk, or the like"
        warnings.warn(OdenetWarning(said), stacklevel=3)


def new_figure(width: float, height: float, title: str, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row, made without pyplot, so that threads can draw at the same time.

    Args:
        width, height: in inches; a screen shows about 100 pixels an inch.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # seaborn measures labels while it draws
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK, parse_math=False)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def distinct_colours(number: int) -> list[Colour]:
    """At least so many, no two of them alike: the palette's, or where it has too few others all around the circle."""
    if number <= len(PALETTE):
        return PALETTE
    import seaborn as sns

    return list(sns.husl_palette(number))


def add_grid(ax: Axes) -> None:
    """Draw a light grid and remove the frame's upper and right side."""
    ax.grid(color="0.92")
    despine(ax)


def despine(ax: Axes) -> None:
    """Remove the frame's upper and right side."""
    ax.spines[["top", "right"]].set_visible(False)


def write_caption(figure: Figure, sentences: Sequence[str]) -> None:
    """Write the sentences below the figure, one a line."""
    if sentences:
        figure.supxlabel("\n".join(sentences), x=0.01, ha="left", fontsize=9, color="0.35")


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file; what stands in it is text, in which no dollar sign begins a formula."""
    powers = [label for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for label in _powers(axis)]
    for text in figure.findobj(Text):
        text.set_parse_math(text in powers)
        text.set_usetex(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    return buffer.getvalue()


def _powers(axis: Axis) -> list[Text]:
    """The tick labels that matplotlib writes as formulas, as 10³; all there are are made by then, not while drawing."""
    labels = [axis.get_majorticklabels(), axis.get_minorticklabels()]
    formatters = [axis.get_major_formatter(), axis.get_minor_formatter()]
    return [
        label
        for made, formatter in zip(labels, formatters, strict=True)
        if isinstance(formatter, LogFormatter)
        for label in made
    ]


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_result(path, png(figure), "figure")
