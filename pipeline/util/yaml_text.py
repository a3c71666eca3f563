"""YAML that people write: plain values alone, `1e-3` as the number that it is, every trouble in one sentence.

YAML 1.1 takes `1e-3` for text, `on` for true and an unquoted 2026-01-01 for a date; a file may refer to itself and be
deeper, or unfold to more, than anything can be read.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.util.errors import InvalidInput, brief, shortened

DEEPEST = 40
"""Sections in sections."""
MOST = 100_000
"""Values in a file, those counted that are repeated by reference."""
LARGEST_BYTES = 10_000_000


class YamlError(InvalidInput):
    """A text that is no such YAML."""


class _Loader(yaml.SafeLoader):
    """With the numbers of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {  # a copy, as the table is that of all loaders
    sign: list(resolvers) for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read_yaml(path: Path, what: str) -> tuple[str, Any]:
    """The text of a file and what it says.

    Args:
        what: names the file in the error message, as `the space`.

    Raises:
        YamlError: it cannot be read, or is no such YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise YamlError(f"{what} {path} cannot be read ({error.strerror}): name a YAML file") from error
    except ValueError as error:  # a zero byte in the name
        raise YamlError(f"{what} {brief(str(path))} cannot be read ({error}): name a YAML file") from error
    if len(content) > LARGEST_BYTES:
        raise YamlError(
            f"{what} {path} has more than {LARGEST_BYTES // 10**6} MB: name a YAML file that a person wrote"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError(f"{what} {path} is not UTF-8 (byte {error.start + 1}): save it so") from error
    values = parse_yaml(text, f"{what} {path}")
    _refuse_repeated_keys(yaml.compose(text, _Loader), f"{what} {path}", set())
    return text, values


def parse_yaml(text: str, where: str) -> Any:
    """What a text says.

    Args:
        where: names it in the error message.

    Raises:
        YamlError: it is no YAML of sections, lists, text, numbers and truth values.
    """
    try:
        values = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise YamlError(f"{where} is not YAML: {shortened(' '.join(str(error).split()), 300)}") from error
    except RecursionError as error:
        raise YamlError(f"{where} is nested too deeply: at most {DEEPEST} sections in each other") from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # a date, a number or a tag that cannot be
        raise YamlError(f"{where} has a value that cannot be read ({shortened(str(error), 200)}): quote it") from error
    _Check(where).look(values, (), [])
    return values


def _refuse_repeated_keys(node: yaml.Node | None, where: str, seen: set[int]) -> None:
    """PyYAML takes the last of them, so that what was copied and not renamed would be lost without a word."""
    if node is None or id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise YamlError(
                    f"{where} has {brief(key.value)} twice in one section, again in line "
                    f"{key.start_mark.line + 1}: rename or remove one"
                )
            keys.add(key.value)
    below = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
    for each in below:
        _refuse_repeated_keys(each, where, seen)


class _Check:
    """Whether all below is plain, and comes to an end."""

    def __init__(self, where: str) -> None:
        self._where, self._seen = where, 0

    def look(self, value: Any, within: tuple[int, ...], path: list[str]) -> None:
        self._seen += 1
        if self._seen > MOST:
            raise YamlError(f"{self._where} unfolds to more than {MOST} values: write less by reference")
        if id(value) in within:
            raise YamlError(f"{self._where} refers to itself at {'.'.join(path)}: write out what is meant")
        if len(within) > DEEPEST:
            raise YamlError(f"{self._where} is nested too deeply: at most {DEEPEST} sections in each other")
        if isinstance(value, dict):
            for key, below in value.items():
                if not isinstance(key, str):
                    raise YamlError(
                        f"{self._where} has the key {brief(key)}, which is no text: put it in quotes, or correct it"
                    )
                self.look(below, (*within, id(value)), [*path, key])
        elif isinstance(value, list):
            for below in value:
                self.look(below, (*within, id(value)), path)
        elif not (value is None or isinstance(value, bool | int | float | str)):
            at = f" at {'.'.join(path)}" if path else ""
            raise YamlError(
                f"{self._where} has {brief(value)}{at}, a {type(value).__name__}, where a configuration has text, "
                "numbers, True or False: put it in quotes, or correct it"
            )
