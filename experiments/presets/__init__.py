"""The named configurations: those of this folder, a file each, and one for every data set and part of a plug-in."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config import Config, ConfigError
from pipeline.config.config import with_names_of_now
from pipeline.config.presets import Resolved, load_config, merge_presets, tasks_of
from pipeline.config.sections import SHARED_SETTINGS
from pipeline.plugins import registry
from pipeline.plugins.loading import unload
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
    "fast",
)
"""Of the files here, as they are listed; others follow by their names."""


SELECTED_BY: Mapping[registry.Kind, tuple[str, str]] = {
    "data set": ("data", "name"),
    "model": ("model", "architecture"),
    "field": ("model", "architecture"),
}
"""Kind of part -> the section and the key that name one."""


def presets() -> dict[str, Mapping[str, Any]]:
    """Name -> what it sets; beside the sections it may say its `task`, or a tuple of the tasks that it fits.

    Raises:
        PluginError: two of them have the same name.
    """
    found: dict[str, Mapping[str, Any]] = {}
    tasks: Mapping[str, Any] = {name: {"task": name} for name in registry.names("task") if name != DEFAULT}
    named: Mapping[str, Any] = {part.name: part.build for part in registry.registered("named configuration")}
    for of_kind in (_files(), *map(_of_parts, SELECTED_BY), tasks, named):
        if taken := sorted(found.keys() & of_kind.keys()):
            sentence, part = _taken(taken[0])
            unload(part.where.rpartition(":")[0])  # or all later runs of this process would be refused for it
            raise registry.PluginError(sentence)
        found |= of_kind
    return found


def named_configs(task: str) -> dict[str, Mapping[str, Any]]:
    """The named configurations of a task, as sections alone."""
    return {
        name: {key: value for key, value in values.items() if key != "task"}
        for name, values in presets().items()
        if task in tasks_of(values, DEFAULT)
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


def merged(names: Iterable[str], updates: Mapping[str, Any]) -> dict[str, Any]:
    """What `resolve` parses: the task and the values that are set; `resolve([], …)` of it reads no file again.

    Raises:
        ConfigError: an unknown name, or names of different tasks.
    """
    task, values = merge_presets(names, updates, presets(), DEFAULT)
    return {"task": task, **values}


def resolve_changed(task: str, stored: Mapping[str, Any], updates: Mapping[str, Any]) -> Resolved:
    """The task of a stored run, and its configuration with `updates` over it.

    Raises:
        ConfigError: it cannot be.
    """
    # By one name each: Sacred's own command line has stored another spelling beside the key.
    return resolve([], merge({"task": task, **with_names_of_now(stored)}, with_names_of_now(updates)))


@cache
def _files() -> dict[str, Mapping[str, Any]]:
    found = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
    return {name: load_config(found[name]) for name in dict.fromkeys([*ORDER, *found])}


def _of_parts(kind: registry.Kind) -> dict[str, Mapping[str, Any]]:
    section, key = SELECTED_BY[kind]
    names = [name for name in registry.names(kind) if kind != "model" or name not in SHARED_SETTINGS]
    return {name: {"task": tuple(registry.tasks_of(kind, name)) or (DEFAULT,), section: {key: name}} for name in names}


def _taken(name: str) -> tuple[str, registry.Part]:
    kinds: tuple[registry.Kind, ...] = ("named configuration", "task", "field", "model", "data set")
    part = next(part for kind in kinds for part in registry.registered(kind) if part.name == name)
    sentence = f"something else that `with` takes is called {name}; choose another name for the {part.kind}"
    return f"{part.where}: {sentence}", part


def _refuse_parts_of_other_tasks(task: str, config: Config) -> None:
    for kind, (section, key) in SELECTED_BY.items():
        name = getattr(getattr(config, section), key)
        if (of := registry.tasks_of(kind, name)) and name not in registry.names(kind, task):
            raise ConfigError(f"{section}.{key} is {name}, which is of the task {' and '.join(of)} and not of {task}")
