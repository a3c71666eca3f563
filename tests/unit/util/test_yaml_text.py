"""YAML that people write."""

from pathlib import Path

import pytest

from pipeline.util.yaml_text import YamlError, parse_yaml, read_yaml


def test_a_number_without_a_point_is_a_number_and_quoted_it_is_text() -> None:
    said = parse_yaml("{a: 1e-3, b: -2E5, c: '1e-3', d: 1.5, e: 7, f: adam, g: 0x10, h: 1e}", "it")
    assert said == {"a": 1e-3, "b": -2e5, "c": "1e-3", "d": 1.5, "e": 7, "f": "adam", "g": 16, "h": "1e"}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n" for below, name in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &a [*a]", "it refers to itself at a: write out what is meant"),
        ("a: &a {b: *a}", "it refers to itself at a.b"),
        (BOMB, "it unfolds to more than 100000 values"),
        ("[" * 5000, "it is nested too deeply: at most 40 sections in each other"),
        ("{a: " * 60 + "1" + "}" * 60, "it is nested too deeply"),
        ("1: 2", "it has the key 1, which is no text: put it in quotes"),
        ("on: 2", "it has the key True, which is no text"),
        ("a: {null: 1}", "it has the key None, which is no text"),
        ("a: 2026-01-01", "it has datetime.date(2026, 1, 1) at a, a date, where a configuration has text"),
        ("a: !!set {b}", "at a, a set, where"),
        ("a: !!binary aGk=", "at a, a bytes, where"),
        ("a: 2026-99-99", "it has a value that cannot be read (month must be in 1..12): quote it"),
        ("a: !!python/object:os.system x", "it is not YAML: could not determine a constructor"),
        ("a:\n\tb: 1", "it is not YAML"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(YamlError) as refused:
        parse_yaml(text, "it")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"caf\xe9: 1", "is not UTF-8 (byte 4): save it so"),
        (b"\xff\xfea\x00", "is not UTF-8 (byte 1)"),
        (b"a: 1\n" * 2_100_000, "has more than 10 MB"),
    ],
)
def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "it.yaml"
    file.write_bytes(content)
    with pytest.raises(YamlError, match=f"the space {file}") as refused:
        read_yaml(file, "the space")
    assert sentence in str(refused.value)


def test_a_path_that_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "no", "No such file"),
        (tmp_path / ("a" * 300), "too long"),
    ):
        with pytest.raises(YamlError, match=f"the space .* cannot be read .*{reason}"):
            read_yaml(path, "the space")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(tmp_path / "it.yaml", "it") == ("a: 1", {"a": 1})
