"""The named configurations: those of this folder, a file each, and one for every data set and part of a plug-in."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config import Config, ConfigError
from pipeline.config.presets import Resolved, load_config, merge_presets
from pipeline.config.sections import SHARED_SETTINGS
from pipeline.plugins import registry
from pipeline.tasks.lookup import DEFAULT, config_class
from pipeline.util.nested import merge

ORDER = (
    "odenet_simple",
    "resnet_small",
    "resnet_large",
    "odenet_complex",
    "resnet_complex",
    "gladzik_odenet",
    "gladzik_resnet",
)
"""Of the files here, as they are listed; others follow by their names."""


def presets() -> dict[str, Mapping[str, Any]]:
    """Name -> what it sets; beside the sections it may say its `task`.

    Raises:
        PluginError: two of them have the same name.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for of_kind in (_files(), _of_data_sets(), _of_models(), _of_tasks(), _of_plugins()):
        if taken := sorted(found.keys() & of_kind.keys()):
            raise registry.PluginError(_taken(taken[0]))
        found |= of_kind
    return found


def named_configs(task: str) -> dict[str, Mapping[str, Any]]:
    """The named configurations of a task, as sections alone."""
    return {
        name: {key: value for key, value in values.items() if key != "task"}
        for name, values in presets().items()
        if values.get("task", DEFAULT) == task
    }


def resolve(names: Iterable[str], updates: Mapping[str, Any]) -> Resolved:
    """The task and the parsed configuration that named configurations, files among them, and `updates` make.

    Raises:
        ConfigError: an unknown name, key or value, or names of different tasks.
    """
    task, values = merge_presets(names, updates, presets(), DEFAULT)
    config = config_class(task).from_dict(values)
    _refuse_parts_of_other_tasks(task, config)
    return Resolved(task, config)


def resolve_changed(task: str, stored: Mapping[str, Any], updates: Mapping[str, Any]) -> Resolved:
    """The task of a stored run, and its configuration with `updates` over it.

    Raises:
        ConfigError: it cannot be.
    """
    return resolve([], merge({"task": task, **stored}, updates))


@cache
def _files() -> dict[str, Mapping[str, Any]]:
    found = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
    return {name: load_config(found[name]) for name in dict.fromkeys([*ORDER, *found])}


def _of_data_sets() -> dict[str, Mapping[str, Any]]:
    tasks = {part.name: part.facts["task"] for part in registry.registered("data set")}
    return {name: {**_task(tasks.get(name)), "data": {"name": name}} for name in registry.names("data set")}


def _of_models() -> dict[str, Mapping[str, Any]]:
    tasks = {part.name: part.facts["task"] for part in [*registry.registered("model"), *registry.registered("field")]}
    names = [name for name in registry.names("model") if name not in SHARED_SETTINGS] + registry.names("field")
    return {name: {**_task(tasks.get(name)), "model": {"architecture": name}} for name in names}


def _of_tasks() -> dict[str, Mapping[str, Any]]:
    return {name: {"task": name} for name in registry.names("task") if name != DEFAULT}


def _of_plugins() -> dict[str, Mapping[str, Any]]:
    return {part.name: part.build for part in registry.registered("named configuration")}


def _taken(name: str) -> str:
    kinds: tuple[registry.Kind, ...] = ("data set", "model", "field", "task", "named configuration")
    part = next(part for kind in reversed(kinds) for part in registry.registered(kind) if part.name == name)
    return f"{part.where}: something else that `with` takes is called {name}; choose another name for the {part.kind}"


def _refuse_parts_of_other_tasks(task: str, config: Config) -> None:
    data_sets, models = registry.registered("data set"), [*registry.registered("model"), *registry.registered("field")]
    for key, name, parts in (
        ("data.name", config.data.name, data_sets),
        ("model.architecture", config.model.architecture, models),
    ):
        for part in parts:
            if part.name == name and part.facts["task"] not in (task, None):
                raise ConfigError(f"{key} is {name}, which is of the task {part.facts['task']} and not of {task}")


def _task(name: str | None) -> dict[str, str]:
    return {} if name in (None, DEFAULT) else {"task": str(name)}
