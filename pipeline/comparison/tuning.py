"""How much each side of a comparison was tuned: configurations of its training that the store has tried."""

from collections.abc import Hashable, Mapping
from typing import Any

from pipeline.comparison.compare import Comparison
from pipeline.runs.query import Runs
from pipeline.tracking.run_document import task_of
from pipeline.util.plain_values import by_value

TUNED = ("training.lr", "training.optimiser", "training.momentum", "training.weight_decay", "training.schedule")
"""Keys that one searches for a given model; with the batch size."""
OF_MODEL = ("model.", "flow.", "series.")
"""What the keys of a model begin with, of all tasks."""


def count_tried(runs: Runs, comparison: Comparison) -> dict[str, int]:
    """Letter of a group -> how many settings of `TUNED` and the batch size were tried with its model and data.

    Every run counts, of sweeps and others, however it ended: each has told somebody something.
    """
    stored: dict[tuple[str, Any], list[Mapping[str, Any]]] = {}
    counts = {}
    for group in comparison.groups:
        first = group.runs[0]
        place = (task_of(first.document), first.config.get("data.name"))
        if place not in stored:
            found = runs.find({"experiment.name": place[0], "config.data.name": place[1]})
            stored[place] = [run.whole_config for run in found if not run.is_foreign]
        alike = [config for config in stored[place] if _model(config) == _model(first.config)]
        counts[group.letter] = len({_tuned(config) for config in [*alike, first.config]})
    return counts


def _model(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key.startswith(OF_MODEL)}


def _tuned(config: Mapping[str, Any]) -> Hashable:
    return by_value([config.get(key) for key in (*TUNED, "training.batch_size")])
