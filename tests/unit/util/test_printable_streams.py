"""What is printed to standard streams."""

import sys

import pytest

from pipeline.util.streams import standard_streams, with_controls


def test_what_is_printed_steers_no_terminal_and_a_notebooks_streams_are_put_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout, sys.stderr
    with standard_streams():
        print("\x1b[31mred\x1b[0m \x1b]0;owned\x07 \u202eevil")
        with_controls(sys.stdout).write("\x1b[2K")
        sys.stderr.writelines(["\x1b[2J", "\rbar"])
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("\x1b[31mred\x1b[0m \\x1b]0;owned\\x07 \\u202eevil\n\x1b[2K", "\\x1b[2J\rbar")


def test_a_stream_that_is_not_there_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with standard_streams():
        print("to nobody")
