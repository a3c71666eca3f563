"""How figures are saved."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns

from pipeline.reporting.figure_style import (
    PALETTE,
    distinct_colours,
    new_figure,
    own_style,
    png,
    save_figure,
    write_caption,
)
from pipeline.tasks.classification.figures import plot_confusion_counts, plot_report_of_counts
from pipeline.util.errors import OdenetError
from pipeline.util.user_warnings import OdenetWarning
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.filterwarnings("error")


def test_colours_are_seaborns_and_as_many_as_are_asked_for_differ() -> None:
    assert list(sns.color_palette("colorblind")) == PALETTE
    assert len(set(distinct_colours(10))) == len(PALETTE) == 10
    assert len(set(distinct_colours(25))) == 25


def test_dollar_signs_in_a_title_are_not_read_as_mathematics(tmp_path: Path) -> None:
    figure, _ = new_figure(4, 3, r"from $\nothing$")
    save_figure(figure, tmp_path / "figure.png")


def test_no_text_of_a_figure_is_read_as_mathematics_wherever_it_stands(tmp_path: Path) -> None:
    figure, (ax,) = new_figure(4, 3, "a title")
    evil = r"$\undefined{$ and $x_$"
    ax.plot([0, 1], [0, 1], label=evil)
    ax.set_xticks([0, 1], [evil, evil])
    ax.set_ylabel(evil)
    ax.set_title(evil)
    ax.annotate(evil, (0.5, 0.5))
    ax.legend(title=evil)
    write_caption(figure, [evil])
    save_figure(figure, tmp_path / "figure.png")


def test_dollar_signs_are_no_mathematics_while_a_figure_is_laid_out_either() -> None:
    with own_style():
        counts = np.array([[3, 1], [0, 4]])
        for draw in (plot_confusion_counts, plot_report_of_counts):
            png(draw(counts, (r"a$_$b", r"$\frac$"), "a title"))


def test_powers_along_a_logarithmic_axis_are_not_written_as_formulas() -> None:
    figure, (ax,) = new_figure(4, 3, "a title")
    ax.plot(["$a$", "$b$"], [0.001, 1000])
    ax.set_yscale("log")
    png(figure)
    assert all(label.get_parse_math() for label in ax.get_yticklabels())
    assert not any(label.get_parse_math() for label in [*ax.get_xticklabels(), *figure.texts])


def test_drawing_in_threads_gives_the_same_pictures_and_leaves_pyplot_empty(tmp_path: Path) -> None:
    def draw(name: str) -> bytes:
        path = tmp_path / name
        figure, panels = new_figure(4, 3, "a title", columns=2)
        for ax in panels:
            ax.plot([1, 2, 3], label="a line")
            ax.legend()
        write_caption(figure, ["A caption."])
        save_figure(figure, path)
        return path.read_bytes()

    alone = draw("alone.png")
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(draw, [f"{k}.png" for k in range(4)]))
    assert together == [alone] * 4
    assert plt.get_fignums() == []


def test_a_figure_that_cannot_be_written_leaves_nothing_and_is_told_in_a_sentence(tmp_path: Path) -> None:
    figure, _ = new_figure(4, 3, "")
    (tmp_path / "taken.png").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "taken.png", tmp_path / "missing" / "a.png", tmp_path / "file" / "a.png"):
        with pytest.raises(OdenetError, match="cannot write the figure") as raised:
            save_figure(figure, path)
        assert str(path) in str(raised.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "taken.png"]


def test_a_persons_settings_of_matplotlib_do_not_reach_our_figures(tmp_path: Path) -> None:
    def draw(path: Path) -> bytes:
        with own_style():
            figure, (ax,) = new_figure(4, 3, "a title")
            ax.plot([1, 2, 3], label="a_line")
            ax.legend()
            save_figure(figure, path)
        return path.read_bytes()

    plain = draw(tmp_path / "plain.png")
    theirs = {"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}
    with mpl.rc_context(theirs):
        assert draw(tmp_path / "theirs.png") == plain
        assert mpl.rcParams["text.usetex"] is True


@pytest.mark.filterwarnings("default::pipeline.util.user_warnings.OdenetWarning")
def test_a_sign_that_no_font_has_is_said_in_one_sentence() -> None:
    with pytest.warns(OdenetWarning, match="no installed font has \U000f0000 \U000f0001, which") as told, own_style():
        png(new_figure(4, 3, "\U000f0000\U000f0001\U000f0000")[0])
    assert len(told) == 1


NOTEBOOKS = find_spec("matplotlib_inline") is not None
"""Whether the backend of notebooks is there, which some of the other libraries of the benchmarks bring."""


@pytest.mark.parametrize(
    ("backend", "is_there"),
    [
        ("nope", False),
        ("inline", NOTEBOOKS),
        ("module://matplotlib_inline.backend_inline", NOTEBOOKS),
        ("module://", False),
        ("agg", True),
    ],
)
def test_a_backend_that_is_not_there_stops_nothing(backend: str, is_there: bool) -> None:
    code = (
        "import pipeline, os; from pipeline.reporting.figure_style import new_figure, png\n"
        "assert png(new_figure(3, 3, 'x')[0])[:4] == b'\\x89PNG'; print(os.environ.get('MPLBACKEND'))"
    )
    environment = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (backend if is_there else "None")
