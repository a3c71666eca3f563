"""What the metrics of plug-ins, and the scores of their tasks, give."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pipeline.plugins import registry
from pipeline.util.errors import brief
from pipeline.util.plain_values import plain

if TYPE_CHECKING:
    from pipeline.tasks.base import Task


def number_of(part: registry.Part, outputs: object, targets: object) -> float:
    """What a metric gives for all items of a split together.

    Raises:
        PluginError: no number.
    """
    given = part.build(own(outputs), own(targets))
    try:
        return float(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise registry.PluginError(f"{part.where}: the metric {part.name} gives no number: {error}") from error


def own(values: object) -> object:
    """A metric's own copy, as it may write into it, and others come behind it."""
    return values.clone() if isinstance(values, Tensor) else values


def plain_scores(task: "Task[Any, Any, Any]", scores: Mapping[str, Any]) -> dict[str, Any]:
    """What a task gives for `info.test`, with Python's numbers for those of NumPy and torch.

    Raises:
        PluginError: a metric of the task is neither a number nor None, or its result is missing.
    """
    found: dict[str, Any] = plain(scores)
    for spec in task.metric_specs():
        value = found.get(spec.quantity) if spec.split == "test" else None
        if not isinstance(value, int | float | None):
            raise registry.PluginError(
                f"the task {task.name} gives a {type(value).__name__} as {spec.name}, {brief(value)}, which is no "
                "number: give a float, or None where there is none"
            )
    if task.result.removeprefix("test.") not in found:
        raise registry.PluginError(
            f"the task {task.name} has {task.result} as its result, and its scores are {', '.join(found) or 'none'}: "
            "give that one, too, or None where there is none"
        )
    return found
