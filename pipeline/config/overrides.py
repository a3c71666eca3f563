"""The overrides of a command line that choose a configuration: `with`, named configurations, and `key=value`."""

import ast
from collections.abc import Sequence
from typing import Any

from pipeline.config.section import ConfigError
from pipeline.util.errors import LONGEST_VALUE, brief, shortened
from pipeline.util.nested import merge, nest

DEEPEST = 20
"""Sections in a key; none has so many."""


def parse_with(overrides: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The overrides of a command line from `with` on, as `parse_arguments` parses what follows it.

    Raises:
        ConfigError: `with` is not the first of them.
    """
    if overrides and overrides[0] != "with":
        words = shortened(" ".join(overrides), LONGEST_VALUE)
        raise ConfigError(f"expected `with` before {brief(overrides[0])}, as in: with {words}")
    return parse_arguments(overrides[1:])


def parse_changes(overrides: Sequence[str]) -> dict[str, Any]:
    """The overrides of a command line from `with` on, where a run's own configuration is changed.

    Raises:
        ConfigError: `with` is not the first of them, or one is no `key=value`.
    """
    names, updates = parse_with(overrides)
    if names:
        raise ConfigError(
            f"{brief(names[0])} is no key=value, and this run has a configuration of its own; change single values, "
            "as in training.max_epochs=20"
        )
    return updates


def parse_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Sacred's `with` syntax: names of configurations and `dotted.key=value`, values as Python literals or text.

    Raises:
        ConfigError: a key without a name.
    """
    names: list[str] = []
    updates: dict[str, Any] = {}
    for argument in arguments:
        path, is_update, text = argument.partition("=")
        if not is_update:
            names.append(argument)
            continue
        if not all(path.strip().split(".")) or path.count(".") > DEEPEST:
            raise ConfigError(f"{brief(argument)} names no key; write it as in training.lr=0.01")
        updates = merge(updates, nest({path.strip(): literal(text.strip())}))
    return names, updates


def literal(text: str) -> Any:
    """The value that `text` is as a Python literal, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # all that it is documented to raise
        return text
