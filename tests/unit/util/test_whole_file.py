"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from pipeline.util.errors import OdenetError
from pipeline.util.whole_file import whole_file


def test_a_file_that_breaks_off_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("whole")

    def write_half() -> None:
        with whole_file(path, "page") as part:
            part.write_text("ha")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_half()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"page.html": "whole"}


def test_what_cannot_be_written_is_called_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "best.yaml"
    with (
        pytest.raises(OdenetError, match=f"cannot write the configuration {path} \\(No such file or directory\\)"),
        whole_file(path, "configuration") as part,
    ):
        part.write_text("seed: 1")
