"""Runs that are trained here, in the process of the tests."""

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from experiments.prepare import prepare
from experiments.presets import resolve
from experiments.tracked import Outcome, run_tracked
from pipeline.tracking.run_log import RunLog
from tests.helpers.commands import draw_figure, store_pixel


def train(names: Sequence[str], updates: Mapping[str, Any], draws_figures: bool = False) -> Outcome:
    """A tracked run of named configurations with `updates` over them, to its end.

    Args:
        draws_figures: as in `tests.helpers.commands`.
    """
    resolved = resolve(names, updates)
    prepared = prepare(resolved.task, resolved.config)
    with mock.patch.object(RunLog, "add_figure", draw_figure if draws_figures else store_pixel):
        return run_tracked(prepared, names)
