"""Runs that are trained here, in the process of the tests."""

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from experiments.presets import resolve
from experiments.tracked import Outcome, prepare, run_tracked
from pipeline.reporting import figure_style
from tests.helpers.commands import PIXEL


def train(names: Sequence[str], updates: Mapping[str, Any], renders_figures: bool = False) -> Outcome:
    """A tracked run of named configurations with `updates` over them, to its end.

    Args:
        renders_figures: as in `tests.helpers.commands`.
    """
    resolved = resolve(names, updates)
    prepared = prepare(resolved.task, resolved.config)
    if renders_figures:
        return run_tracked(prepared, names)
    with mock.patch.object(figure_style, "png", return_value=PIXEL):
        return run_tracked(prepared, names)
