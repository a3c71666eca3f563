"""Runs that are trained here, in the process of the tests."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.presets import resolve
from experiments.tracked import Outcome, prepare, run_tracked


def train(names: Sequence[str], updates: Mapping[str, Any]) -> Outcome:
    """A tracked run of named configurations with `updates` over them, to its end."""
    resolved = resolve(names, updates)
    return run_tracked(prepare(resolved.task, resolved.config), names)
