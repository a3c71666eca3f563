"""Tasks by name; what lists and checks need of one is had without importing torch."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from pipeline.config import Config, ConfigError, nearest
from pipeline.plugins import registry
from pipeline.reporting.metric_spec import MetricSpec

DEFAULT = registry.DEFAULT_TASK
NOT_TASKS = registry.NOT_TASKS


def get_task(name: str) -> Any:
    """The task, a `pipeline.tasks.base.Task`.

    Raises:
        ConfigError: there is none of this name.
    """
    return _part(name).build()


def config_class(name: str) -> type[Config]:
    """The class of a task's configurations.

    Raises:
        ConfigError: there is no such task.
    """
    if (light := light_module(name, "config")) is not None:
        found: type[Config] = light.CONFIG
        return found
    return _part(name).build.config  # type: ignore[no-any-return]


def metric_specs(name: str) -> Sequence[MetricSpec]:
    """The metrics of a task.

    Raises:
        ConfigError: there is no such task.
    """
    light = light_module(name, "metric_specs")
    specs: Sequence[MetricSpec] = light.metric_specs() if light is not None else _part(name).build.metric_specs()
    return specs


def result_name(name: str) -> str:
    """Which metric the result of a task's runs is, as `test.accuracy`.

    Raises:
        ConfigError: there is no such task.
    """
    light = light_module(name, "metric_specs")
    return str(light.RESULT if light is not None else _part(name).build.result)


def _part(name: str) -> registry.Part:
    try:
        return registry.find("task", name)
    except LookupError:
        known = registry.names("task")
        raise ConfigError(
            f"there is no task {name}{nearest(name, known)}; there are {', '.join(known)}, and those of plug-ins"
        ) from None


def light_module(name: str, module: str) -> Any:
    """A module of a task that comes along; None for a plug-in's, or where the task has no such module."""
    if any(part.name == name for part in registry.registered("task")) or name not in registry.names("task"):
        return None
    path = f"{registry.PACKAGES['task']}.{name}.{module}"
    return importlib.import_module(path) if importlib.util.find_spec(path) else None
