"""Curves of one line, and output that is followed."""

import math

import pytest

from pipeline.runs.follow import _since
from pipeline.runs.live_view import sparkline


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([1.0], "▁"),
        ([0.0, 1.0], "▁█"),
        ([1.0, 1.0], "▁▁"),
        ([0.0, math.nan, 7.0], "▁ █"),
        ([math.inf], ""),
        ([1e308, -1e308], "█▁"),
        ([5e-324, 0.0], "▁▁"),
    ],
)
def test_a_curve_rises_from_its_lowest_to_its_highest_value(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_a_long_curve_keeps_its_width_and_its_last_value() -> None:
    line = sparkline([float(k) for k in range(1000)], width=20)
    assert len(line) == 20
    assert line[-1] == "█"


def test_only_what_is_new_is_told_also_of_a_text_whose_beginning_was_cut() -> None:
    assert _since("", "a\nb\n") == "a\nb\n"
    assert _since("a\nb\n", "a\nb\nc\n") == "c\n"
    long = "".join(f"line {k}\n" for k in range(100))
    assert _since(long, f"[beginning cut]\n{long[50:]}new\n") == "new\n"


def test_of_output_that_repeats_itself_nothing_new_is_lost_where_the_beginning_was_cut() -> None:
    told = "epoch\n" * 10_000
    assert _since(told, "[beginning cut]\n" + told[60:] + "epoch\n" * 50).count("epoch") >= 50
