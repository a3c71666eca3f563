"""Paths that people name in variables and words."""

from pathlib import Path

import pytest

from pipeline.util.errors import InvalidInput
from pipeline.util.paths import data_folder, home, named_path


@pytest.mark.parametrize("variable", ["ODENET_HOME", "ODENET_DATA"])
@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("~nobody-here/x", "but there is no home folder of ~nobody-here: write it out"),
        ("a" * 300, "which cannot be (File name too long): name another"),
        ("a/" * 3000, "which cannot be (File name too long): name another"),
    ],
)
def test_a_folder_that_cannot_be_is_refused_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, named: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, named)
    with pytest.raises(InvalidInput) as refused:
        (home if variable == "ODENET_HOME" else data_folder)()
    assert str(refused.value).startswith(f"{variable} is ")
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_working_directory_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InvalidInput, match="the working directory is gone"):
        named_path("x", "FILE")
