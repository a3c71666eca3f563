"""Named configurations, merged: each overrides only what makes it what it is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.config import Config
from pipeline.config.section import ConfigError, nearest
from pipeline.util.nested import merge, nest
from pipeline.util.yaml_text import YamlError, read_yaml


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
        known: name -> what it sets.

    Raises:
        ConfigError: no configuration has such a name, or two are of different tasks.
    """
    merged: dict[str, Any] = {}
    tasks: dict[str, str] = {}
    for name in names:
        if name.endswith(".yaml"):
            values: Mapping[str, Any] = load_config(Path(name))
        elif name in known:
            values = known[name]
        else:
            raise ConfigError(
                f"{name} is not a named configuration{nearest(name, known)}; there are "
                f"{', '.join(known)}, the YAML files that sweeps write, and single values are set as in "
                "training.lr=0.01"
            )
        if values.keys() - {"seed", "task"} or "task" in values:
            tasks[name] = values.get("task", default_task)
        merged = merge(merged, values)
    merged = merge(merged, updates)
    if "task" not in updates and len(set(tasks.values())) > 1:
        of = ", ".join(f"{name} of {task}" for name, task in tasks.items())
        raise ConfigError(f"named configurations must be of one task, not {of}")
    task = merged.pop("task", default_task)
    if not isinstance(task, str):
        raise ConfigError(f"task must be the name of a task, not {task!r}")
    return task, merged


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
    sections: dict[str, Any] = {}
    for key, value in values.items():  # sections, and dotted keys as a command line has them
        if not all(key.split(".")):
            raise ConfigError(f"the configuration {path} has the key {key!r}; write it as in training.lr: 0.01")
        sections = merge(sections, nest({key: value}))
    return sections
