"""How figures are saved."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from pipeline.reporting.figure_style import new_figure, save_figure, write_caption
from pipeline.util.errors import OdenetError

pytestmark = pytest.mark.filterwarnings("error")


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
