"""The page of configuration keys says what the configuration has."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from docs import generate_configuration
from pipeline.tasks.classification.config import ClassificationConfig


def test_the_page_of_configuration_keys_is_current() -> None:
    assert generate_configuration.PAGE.read_text() == generate_configuration.render()
    assert generate_configuration.main(["--check"]) == 0


def test_every_key_has_a_row() -> None:
    page = generate_configuration.render()
    for section in ClassificationConfig.sections().values():
        for key in fields(section):
            assert f"\n| `{section.section}.{key.name}` | " in page


def test_a_page_that_is_not_current_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "configuration.md"
    page.write_text("of last year\n")
    monkeypatch.setattr(generate_configuration, "PAGE", page)
    assert generate_configuration.main(["--check"]) == 1
    assert "python -m docs.generate_configuration" in capsys.readouterr().err
    assert page.read_text() == "of last year\n"
    assert generate_configuration.main([]) == 0
    assert generate_configuration.main(["--check"]) == 0


@dataclass(frozen=True)
class Parent:
    inherited: int = 1
    """Of the parent."""
    silent: bool = False


@dataclass(frozen=True)
class Child(Parent):
    own: str = ""
    """Over two
    lines."""


def test_docstrings_below_attributes_are_found_in_the_class_and_its_parents() -> None:
    assert generate_configuration.attribute_docstrings(Child) == {
        "inherited": "Of the parent.",
        "own": "Over two lines.",
    }
