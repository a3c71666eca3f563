"""The parts that a configuration can name, those that come along and those of plug-ins.

A part that comes along is a file (a task: a folder) in the package of its kind, found by its name and imported when it
is asked for: to list names imports nothing.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

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
    reserved: tuple[str, ...] = (),
    place: tuple[str, str] | None = None,
    **facts: Any,
) -> None:
    """Enter a part under its name.

    Args:
        reserved: keyword arguments of `build` that are no options, as they are given by the pipeline.
        place: `file:line` and module of `build`, where it does not tell itself.

    Raises:
        PluginError: the name is taken or cannot be one, or an option has no type, no default, or a wrong one.
    """
    where, module = place or _place(build)
    is_shipped = module.startswith("pipeline.")
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
        raise PluginError(f"{where}: {name!r} cannot name a {kind}: use letters, digits, - and _, as in my_{kind[:5]}")
    taken = _parts.get((kind, name))
    if not is_shipped and name in _shipped(kind):
        raise PluginError(f"{where}: the {kind} {name} comes along; choose another name")
    if taken is not None and taken.where != where:
        raise PluginError(f"{where}: the {kind} {name} is registered by {taken.where} already; choose another name")
    options = _options(build, where, reserved) if callable(build) else ()
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


def _place(build: Any) -> tuple[str, str]:
    """`file:line` and the module of what is registered."""
    target = build if callable(build) and hasattr(build, "__code__") else type(build)
    target = build if inspect.isclass(build) else target
    try:
        file, line = inspect.getsourcefile(target) or "?", inspect.getsourcelines(target)[1]
    except (OSError, TypeError):
        file, line = "?", 0
    return f"{file}:{line}", str(target.__module__)


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
    return tuple(Option(argument.name, hints[argument.name], argument.default) for argument in arguments)


def _called(build: Any) -> str:
    return str(getattr(build, "__name__", type(build).__name__))
