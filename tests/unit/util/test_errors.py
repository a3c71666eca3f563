"""How errors are worded, whatever the values in them."""

import errno
from pathlib import Path

import pytest

from pipeline.util.crash_report import describe_unforeseen
from pipeline.util.errors import brief, describe_os_error, in_a_line


def test_long_values_are_shortened_in_the_middle() -> None:
    assert brief("a" * 1000) == "'" + "a" * 79 + "…" + "a" * 29 + "'"
    assert brief([1, 2]) == "[1, 2]"
    assert len(brief({n: n for n in range(5000)})) < 130


def test_a_value_that_cannot_be_written_down_is_named_by_its_type() -> None:
    assert brief(10**5000) == "a int that cannot be written down"


def test_a_message_is_one_line_without_control_signs_and_without_endless_words() -> None:
    said = in_a_line("a\nb\x1b[31m " + "x" * 5000 + " end")
    assert said.startswith("a b [31m xxx")
    assert said.endswith(" end")
    assert len(said) < 450


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "correct its name"),
        (errno.ENAMETOOLONG, "name a shorter path"),
        (errno.EROFS, "its disk is mounted read-only: name another"),
        (errno.ENOTDIR, "a part of it is a file where a folder is meant"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_file_and_the_remedy(number: int, remedy: str) -> None:
    said = describe_os_error(OSError(number, "no", "/some/file"))
    assert said is not None
    assert said.startswith("/some/file cannot be used (no): ")
    assert remedy in said


def test_an_unforeseen_error_keeps_its_traceback_where_the_home_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_HOME", "/proc/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = describe_unforeseen(ZeroDivisionError("by\nzero"))
    [file] = tmp_path.iterdir()
    assert said == (
        "something went wrong that should not have (ZeroDivisionError: by zero): the traceback is in "
        f"{file}, please report it with that"
    )


def test_it_is_a_sentence_where_no_file_can_be_written_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", "~nobody-here")
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    assert describe_unforeseen(KeyError("x")).endswith("; no file can be written for the traceback")
