"""Named configurations, merged: each overrides only what makes it what it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.config import Config, with_names_of_now
from pipeline.config.section import ConfigError, nearest
from pipeline.util.errors import brief
from pipeline.util.nested import merge, nest_keys
from pipeline.util.yaml_text import YamlError, read_yaml

DATA_FILES = (".npz", ".csv", ".parquet", "/")
"""Endings of files and folders that are data, of whichever task."""


@dataclass(frozen=True)
class Resolved:
    """What a command line asks for: a task and its configuration."""

    task: str
    config: Config


def merge_presets(
    names: Iterable[str], updates: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], default_task: str
) -> tuple[str, dict[str, Any]]:
    """The task, and the named configurations, files among them, merged deeply in their order, then the updates.

    Args:
        known: name -> what it sets; its `task` is one, or a tuple of those that it fits.

    Raises:
        ConfigError: no configuration has such a name, or two are of different tasks.
    """
    merged: dict[str, Any] = {}
    tasks: dict[str, Sequence[str]] = {}
    for name in names:
        values = _named(name, known)
        if values.keys() - {"seed"} and not name.endswith(DATA_FILES):
            tasks[name] = tasks_of(values, default_task)
        values = with_names_of_now({key: value for key, value in values.items() if key != "task"})
        _refuse_no_section(merged, values)
        merged = merge(merged, values)
    merged = merge(merged, with_names_of_now(updates))
    task = merged.pop("task", None)
    if task is None:
        task = _common_task(tasks, default_task)
    if not isinstance(task, str):
        raise ConfigError(f"task must be the name of a task, not {task!r}")
    return task, merged


def _refuse_no_section(under: Mapping[str, Any], over: Mapping[str, Any]) -> None:
    """Refuse what would take a section away, or be taken away by one, as the one without keys of a file does."""
    for key in under.keys() & over.keys():
        if isinstance(under[key], Mapping) != isinstance(over[key], Mapping):
            other = over[key] if isinstance(under[key], Mapping) else under[key]
            raise ConfigError(f"{key} is a section with keys of its own, not {brief(other)}")


def _named(name: str, known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if name.endswith((".yaml", ".yml")):
        return load_config(Path(name))
    if name.endswith(DATA_FILES):
        return {"data": {"name": name}}
    if name in known:
        return known[name]
    if name and Path(name).is_dir():
        raise ConfigError(f"{name} is a folder: write {name}/ where it has the data")
    if name.partition(".")[0] in Config.sections() and "." in name:
        key, sign, value = name.partition("=")
        if sign:
            raise ConfigError(f"{name} is a value, not a named configuration: give it as config={{{key!r}: {value}}}")
        raise ConfigError(f"{name} has no value: write one, as in training.lr=0.01")
    raise ConfigError(
        f"{name or brief(name)} is not a named configuration{nearest(name, known)}; there are {', '.join(known)}, the "
        "YAML files that sweeps write, files and folders/ of data, and single values are set as in training.lr=0.01"
    )


def tasks_of(values: Mapping[str, Any], default_task: str) -> Sequence[str]:
    """The tasks that a named configuration fits."""
    task = values.get("task", default_task)
    return task if isinstance(task, tuple) else (task,)


def _common_task(tasks: Mapping[str, Sequence[str]], default_task: str) -> str:
    """The task that all have, the default one where they have several."""
    candidates = [task for task in next(iter(tasks.values()), ()) if all(task in others for others in tasks.values())]
    if tasks and not candidates:
        of = ", ".join(f"{name} of {' and '.join(map(str, those))}" for name, those in tasks.items())
        raise ConfigError(f"named configurations must be of one task, not {of}")
    return default_task if default_task in candidates or not candidates else candidates[0]


def load_config(path: Path) -> dict[str, Any]:
    """A named configuration that is a file, as a sweep writes its best one.

    Raises:
        ConfigError: the file is missing or no configuration.
    """
    try:
        _, values = read_yaml(path, "the configuration")
    except YamlError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(values, dict):
        raise ConfigError(f"the configuration {path} must have sections, as in training: {{lr: 0.01}}")
    for key in values:
        if not all(key.split(".")):
            raise ConfigError(f"the configuration {path} has the key {key!r}; write it as in training.lr: 0.01")
    return nest_keys(values)  # sections, and dotted keys as a command line has them
