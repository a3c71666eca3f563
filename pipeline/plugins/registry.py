"""The parts that a configuration can name, those that come along and those of plug-ins.

A part that comes along is a file (a task: a folder), found by its name and imported when it is asked for: to list
names imports nothing. Models, data sets and metrics are of a task; those of classification lie in the packages of their
kinds, those of another task in its own folder. Parts of two tasks may have the same name.
"""

import copy
import importlib
import inspect
import linecache
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.util.errors import InvalidInput

Kind = Literal[
    "model",
    "field",
    "encoder",
    "decoder",
    "data set",
    "metric",
    "optimiser",
    "schedule",
    "callback",
    "named configuration",
    "task",
]

PACKAGES: Mapping[Kind, str] = {
    "model": "pipeline.models.architectures",
    "data set": "pipeline.data.sets",
    "metric": "pipeline.tasks.classification.metrics",
    "optimiser": "pipeline.training.optimisers",
    "schedule": "pipeline.training.schedules",
    "encoder": "pipeline.tasks.series.encoders",
    "decoder": "pipeline.tasks.series.decoders",
    "task": "pipeline.tasks",
}
"""Kind -> the package whose files, or folders, are the parts that come along; if they are of a task, of this one."""
DEFAULT_TASK = "classification"
NOT_TASKS = ("sweep", "reevaluation", "measurement")
"""Experiments of runs that train nothing themselves."""
_FOLDERS: Mapping[Kind, str] = {"model": "models", "data set": "data_sets", "metric": "metrics"}
"""Kind -> the folder, within that of another task, with the parts of the task that come along."""

_ONE_NAMESPACE: tuple[Kind, ...] = ("model", "field")
"""Kinds that one key of the configuration chooses from."""
_OPTION_TYPES = (int, float, str, bool, list, Literal)
"""What a configuration can hold."""
_LIBRARY = Path(__file__).resolve().parents[2]


class PluginError(InvalidInput):
    """A plug-in that cannot be used."""


@dataclass(frozen=True)
class Option:
    """A keyword argument of a part, which a configuration can set."""

    name: str
    annotation: Any
    default: Any


@dataclass(frozen=True)
class Part:
    """Something that a configuration names.

    Attributes:
        build: what the decorator was put on.
        facts: what the decorator was told beside the name.
        where: file and line, for messages.
        is_shipped: whether it comes along.
        task: of which it is; None: of any.
    """

    kind: Kind
    name: str
    build: Any
    options: tuple[Option, ...]
    where: str
    is_shipped: bool
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        task: str | None = self.facts.get("task")
        return task

    def built(self, *arguments: Any, **options: Any) -> Any:
        """What it builds, of options of its own: lists that it changes are not those of the configuration."""
        return self.build(*arguments, **copy.deepcopy(options))

    def is_of(self, task: str | None) -> bool:
        """Whether it is for `task`; with None, for whichever."""
        return task is None or self.task in (task, None)


_parts: dict[tuple[Kind, str, str | None], Part] = {}


def register(
    kind: Kind,
    name: str,
    build: Any,
    takes: Sequence[str] = (),
    reserved: tuple[str, ...] = (),
    place: tuple[str, str] | None = None,
    **facts: Any,
) -> None:
    """Enter a part under its name.

    Args:
        takes: the arguments that `build` is given by position.
        reserved: keyword arguments of `build` that are no options, as they are given by the pipeline.
        place: `file:line` and module of `build`, where it does not tell itself.

    Raises:
        PluginError: the name is taken or cannot be one, `build` does not take its arguments, or an option has no
            default, no type, or one that a configuration cannot hold.
    """
    where, module = place or place_of(build)
    is_shipped = module.startswith("pipeline.")
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
        raise PluginError(f"{where}: {name!r} cannot name a {kind}: use letters, digits, - and _, as in my_{kind[:5]}")
    task: str | None = facts.get("task")
    for other in _ONE_NAMESPACE if kind in _ONE_NAMESPACE else (kind,):
        if not is_shipped and name in names(other, task, of_plugins=False):
            raise PluginError(f"{where}: the {other} {name} comes along; choose another name")
        taken = next((part for part in _named(other, name, task) if part.where != where), None)
        if taken is not None and not _is_redefined(taken.build, build):
            raise PluginError(f"{where}: {taken.where} has registered a {other} {name}; choose another name")
    options: tuple[Option, ...] = ()
    if callable(build) and kind != "task":
        _check_arguments(build, where, takes)
        options = _options(build, where, reserved)
    _parts[kind, name, task] = Part(kind, name, build, options, where, is_shipped, facts)


def _is_redefined(former: Any, build: Any) -> bool:
    """Whether a cell of a notebook was run again, which then has another place."""
    first, second = ((getattr(one, "__module__", ""), getattr(one, "__qualname__", "")) for one in (former, build))
    return first == second and first[0] == "__main__"


def names(kind: Kind, task: str | None = None, of_plugins: bool = True) -> list[str]:
    """The names of a kind, of one task or of all: first what comes along, then what plug-ins have registered."""
    shipped = [name for of_task, name in _shipped(kind) if task in (of_task, None) or of_task is None]
    others = [part.name for part in _parts.values() if of_plugins and part.kind == kind and part.is_of(task)]
    return list(dict.fromkeys([*shipped, *others]))


def tasks_of(kind: Kind, name: str) -> list[str]:
    """The tasks that have a part of this name; none for one that is for any task."""
    shipped = [task for task, of_task in _shipped(kind) if of_task == name]
    found = [*shipped, *(part.task for part in _named(kind, name, None))]
    return list(dict.fromkeys(task for task in found if task is not None))


def registered(kind: Kind) -> list[Part]:
    """The parts of plug-ins, in the order in which they were registered."""
    return [part for part in _parts.values() if part.kind == kind and not part.is_shipped]


def find(kind: Kind, name: str, task: str | None = None) -> Part:
    """The part of that name, imported if need be.

    Args:
        task: which it is for; without it the first that has one.

    Raises:
        LookupError: there is none.
    """
    for (of_task, shipped), module in _shipped(kind).items():
        if shipped == name and (task in (of_task, None) or of_task is None):
            importlib.import_module(module)
            return _parts[kind, name, of_task]
    found = _named(kind, name, task)
    if not found:
        raise LookupError(f"there is no {kind} {name}")
    return found[0]


def _named(kind: Kind, name: str, task: str | None) -> list[Part]:
    return [part for part in _parts.values() if (part.kind, part.name) == (kind, name) and part.is_of(task)]


def plugin_files() -> set[str]:
    """The files that have registered parts, beside those that come along."""
    return {part.where.rpartition(":")[0] for part in _parts.values() if not part.is_shipped}


def forget(where_prefix: str) -> None:
    """Remove the parts of a plug-in's file, which is loaded anew or was found wrong."""
    for key in [key for key, part in _parts.items() if part.where.startswith(where_prefix)]:
        del _parts[key]


@cache
def _shipped(kind: Kind) -> Mapping[tuple[str | None, str], str]:
    """Of what comes along the task and the name -> the module that registers it."""
    if kind not in PACKAGES:
        return {}
    package = PACKAGES[kind]
    if kind == "task":
        return {(None, name): f"{package}.{name}.task" for name in _files(package, "*/task.py")}
    if kind not in _FOLDERS:
        return {(None, name): f"{package}.{name}" for name in _files(package, "*.py")}
    packages = {DEFAULT_TASK: package}
    packages |= {task: f"{PACKAGES['task']}.{task}.{_FOLDERS[kind]}" for _, task in _shipped("task")} | packages
    return {(task, name): f"{of}.{name}" for task, of in packages.items() for name in _files(of, "*.py")}


def _files(package: str, pattern: str) -> list[str]:
    """The names of a package's modules, or of those of its folders that have a file."""
    found = sorted((_LIBRARY / package.replace(".", "/")).glob(pattern))
    names = [path.stem if pattern == "*.py" else path.parent.name for path in found]
    return [name for name in names if not name.startswith("_")]


def place_of(build: Any) -> tuple[str, str]:
    """`file:line` and the module of what is registered."""
    if not (inspect.isclass(build) or hasattr(build, "__code__")):  # as what functools makes of a function
        build = inspect.unwrap(build.func if isinstance(build, partial) else build)
    target = build if callable(build) and hasattr(build, "__code__") else type(build)
    target = build if inspect.isclass(build) else target
    try:
        file = inspect.getsourcefile(target) or "?"
        linecache.checkcache(file)  # it may have changed since it was looked at last
        line = inspect.getsourcelines(target)[1]
    except (OSError, TypeError):
        file, line = "?", 0
    return f"{file}:{line}", str(target.__module__)


def _check_arguments(build: Callable[..., Any], where: str, takes: Sequence[str]) -> None:
    signature = inspect.signature(build)
    options = [p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    try:
        signature.bind(*takes, **dict.fromkeys(options))
    except TypeError as error:
        wanted = f"the arguments {', '.join(takes)}" if takes else "no arguments by position"
        raise PluginError(f"{where}: {_called(build)} must take {wanted}, and options behind a *") from error


def _options(build: Callable[..., Any], where: str, reserved: tuple[str, ...]) -> tuple[Option, ...]:
    """The keyword-only arguments that are not reserved."""
    arguments = [
        argument
        for argument in inspect.signature(build).parameters.values()
        if argument.kind is inspect.Parameter.KEYWORD_ONLY and argument.name not in reserved
    ]
    try:
        hints = get_type_hints(build.__init__ if inspect.isclass(build) else build) if arguments else {}
    except (NameError, TypeError) as error:
        raise PluginError(f"{where}: the types of {_called(build)} cannot be read ({error})") from error
    for argument in arguments:
        if argument.name not in hints or argument.default is inspect.Parameter.empty:
            raise PluginError(
                f"{where}: the option {argument.name} of {_called(build)} needs a type and a default, as in "
                f"{argument.name}: int = 32"
            )
        if not _can_be_configured(hints[argument.name]):
            raise PluginError(
                f"{where}: the option {argument.name} of {_called(build)} has a type that a configuration cannot hold: "
                "use int, float, str, bool, list or Literal, or one of them | None"
            )
    return tuple(Option(argument.name, hints[argument.name], argument.default) for argument in arguments)


def _can_be_configured(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        alternatives = [alternative for alternative in get_args(annotation) if alternative is not types.NoneType]
        return len(alternatives) == 1 and _can_be_configured(alternatives[0])
    return annotation in _OPTION_TYPES or get_origin(annotation) in _OPTION_TYPES


def _called(build: Any) -> str:
    return str(getattr(build, "__name__", type(build).__name__))
