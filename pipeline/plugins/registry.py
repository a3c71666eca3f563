"""The parts that a configuration can name, those that come along and those of plug-ins.

A part that comes along is a file (a task: a folder) in the package of its kind, found by its name and imported when it
is asked for: to list names imports nothing.
"""

import importlib
import inspect
import linecache
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.util.errors import InvalidInput

Kind = Literal["model", "field", "data set", "metric", "optimiser", "schedule", "named configuration", "task"]

PACKAGES: Mapping[Kind, str] = {
    "model": "pipeline.models.architectures",
    "data set": "pipeline.data.sets",
    "metric": "pipeline.tasks.classification.metrics",
    "optimiser": "pipeline.training.optimisers",
    "schedule": "pipeline.training.schedules",
    "task": "pipeline.tasks",
}
"""Kind -> the package whose files, or folders, are the parts that come along."""

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
    """

    kind: Kind
    name: str
    build: Any
    options: tuple[Option, ...]
    where: str
    is_shipped: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


_parts: dict[tuple[Kind, str], Part] = {}


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
    for other in _ONE_NAMESPACE if kind in _ONE_NAMESPACE else (kind,):
        if not is_shipped and name in _shipped(other):
            raise PluginError(f"{where}: the {other} {name} comes along; choose another name")
        taken = _parts.get((other, name))
        if taken is not None and taken.where != where:
            raise PluginError(f"{where}: {taken.where} has registered a {other} {name}; choose another name")
    options: tuple[Option, ...] = ()
    if callable(build) and kind != "task":
        _check_arguments(build, where, takes)
        options = _options(build, where, reserved)
    _parts[kind, name] = Part(kind, name, build, options, where, is_shipped, facts)


def names(kind: Kind) -> list[str]:
    """The names of a kind: first what comes along, then what plug-ins have registered."""
    return list(dict.fromkeys([*_shipped(kind), *(name for of_kind, name in _parts if of_kind == kind)]))


def registered(kind: Kind) -> list[Part]:
    """The parts of plug-ins, in the order in which they were registered."""
    return [part for (of_kind, _), part in _parts.items() if of_kind == kind and not part.is_shipped]


def find(kind: Kind, name: str) -> Part:
    """The part of that name, imported if need be.

    Raises:
        LookupError: there is none.
    """
    if (kind, name) not in _parts and name in _shipped(kind):
        importlib.import_module(f"{PACKAGES[kind]}.{name}{'.task' if kind == 'task' else ''}")
    return _parts[kind, name]


def plugin_files() -> set[str]:
    """The files that have registered parts, beside those that come along."""
    return {part.where.rpartition(":")[0] for part in _parts.values() if not part.is_shipped}


def forget(where_prefix: str) -> None:
    """Remove the parts of a plug-in's file, which is loaded anew or was found wrong."""
    for key in [key for key, part in _parts.items() if part.where.startswith(where_prefix)]:
        del _parts[key]


def _shipped(kind: Kind) -> list[str]:
    if kind not in PACKAGES:
        return []
    folder = _LIBRARY / PACKAGES[kind].replace(".", "/")
    found = folder.glob("*/__init__.py") if kind == "task" else folder.glob("*.py")
    stems = [path.parent.name if kind == "task" else path.stem for path in sorted(found)]
    return [stem for stem in stems if not stem.startswith("_")]


def place_of(build: Any) -> tuple[str, str]:
    """`file:line` and the module of what is registered."""
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
