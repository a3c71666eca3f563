"""A section of a configuration: typed fields with bounds that refuse what cannot be, in one sentence."""

import copy
import difflib
import operator
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.plugins import registry
from pipeline.util.errors import LONGEST_VALUE, InvalidInput, brief
from pipeline.util.plain_values import plain


class ConfigError(InvalidInput):
    """A configuration that names an unknown key, has a value of the wrong type, or an impossible value."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean …?)' with the known name closest to `name`, or nothing when none is close."""
    matches = difflib.get_close_matches(name[:LONGEST_VALUE], list(known), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""


def option(default: Any, *, one_of: Iterable[Any] = (), **bounds: float) -> Any:
    """A field with bounds, `at_least`, `above`, `at_most`, `below`, or with choices that its type does not name."""
    choices = {"one_of": tuple(one_of)} if one_of else {}
    return field(default=default, metadata={**bounds, **choices})


@dataclass(frozen=True)
class Section:
    """One stage's part of the configuration; checks its own values when it is made."""

    section: ClassVar[str]
    task: ClassVar[str | None] = None
    """The task whose parts it chooses from; without it any."""

    _hints: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls) -> None:
        # Once, and not where an instance is made, perhaps within what torch compiles, which cannot look into this.
        cls._hints = get_type_hints(cls)

    def __post_init__(self) -> None:
        hints = self._hints
        for f in fields(self):
            key, value = f"{self.section}.{f.name}", getattr(self, f.name)
            if "one_of" in f.metadata:
                _check_choice(key, value, f.metadata["one_of"])
                continue
            check_type(key, value, hints[f.name])
            _check_bounds(key, value, f)

    def _choose_part(self, name: str, options: str, kinds: Iterable[registry.Kind], light: Iterable[str] = ()) -> None:
        """Check the field `name`, which names a part of one of `kinds`, and complete the part's options.

        Args:
            options: the field that holds the part's options; those that are left out get their defaults.
            light: parts without options, which need not be imported to know that.

        Raises:
            ConfigError: an unknown part, an unknown option or one of the wrong type, with the nearest right name.
        """
        chosen, known = getattr(self, name), [part for kind in kinds for part in registry.names(kind, self.task)]
        if chosen not in known:
            if of := [task for kind in kinds for task in registry.tasks_of(kind, chosen)]:
                raise ConfigError(
                    f"{self.section}.{name} is {chosen}, which is of the task {' and '.join(of)} and not of {self.task}"
                )
            raise ConfigError(
                f"{self.section}.{name} must be one of {', '.join(known)}, not {brief(chosen)}"
                f"{nearest(str(chosen), known)}"
            )
        kind = next(kind for kind in kinds if chosen in registry.names(kind, self.task))
        is_light = chosen in light and chosen in registry.names(kind, self.task, of_plugins=False)
        complete_options(self, options, () if is_light else registry.find(kind, chosen, self.task).options)


def complete_options(section: Section, name: str, options: Iterable[registry.Option]) -> None:
    """Check the field `name` of a section, which holds the options of a part, and fill in the defaults.

    Raises:
        ConfigError: an unknown option, or one of the wrong type, with the nearest right name.
    """
    object.__setattr__(section, name, completed(f"{section.section}.{name}", getattr(section, name), options))


def completed(prefix: str, given: Mapping[str, Any], options: Iterable[registry.Option]) -> dict[str, Any]:
    """The options of a part, those that are not given with their defaults.

    Args:
        prefix: of their keys.

    Raises:
        ConfigError: an unknown option, or one of the wrong type, with the nearest right name.
    """
    known = {option.name: option for option in options}
    for key in given:
        if key not in known:
            none = "there are none, but what a plug-in (--plugin FILE) takes behind a *, with a type and a default"
            there = f"there are {', '.join(known)}" if known else none
            raise ConfigError(f"unknown option {prefix}.{key}{nearest(str(key), known)}; {there}")
    complete = {option.name: plain(given.get(option.name, copy.deepcopy(option.default))) for option in known.values()}
    for key, value in complete.items():
        words = "" if key in given else "the default of "
        check_type(f"{words}{prefix}.{key}", value, known[key].annotation)
        _refuse_what_is_not_recorded(f"{words}{prefix}.{key}", value)
    return complete


def _refuse_what_is_not_recorded(key: str, value: Any) -> None:
    """What no store and no file of a configuration takes as it is."""
    match value:
        case None | str() | int() | float():
            return
        case Mapping():
            below = list(value.values())
        case list():
            below = value
        case _:
            raise ConfigError(
                f"{key} has {brief(value)} in it, a {type(value).__name__}, which no configuration can record: use "
                "numbers, text, truth values, None, and lists and dictionaries of them"
            )
    for one in below:
        _refuse_what_is_not_recorded(key, one)


_TYPE_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "True or False",
    Mapping: "a section with keys of its own",
    list: "a list",
    dict: "a section with keys of its own",
}


def check_type(key: str, value: Any, expected: Any) -> None:
    alternatives = get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    if value is None and type(None) in alternatives:
        return
    wanted = next(t for t in alternatives if t is not type(None))
    if wanted is Any:
        return
    if get_origin(wanted) is Literal:
        _check_choice(key, value, get_args(wanted))
        return
    wanted = get_origin(wanted) or wanted
    if wanted is float:
        fits = isinstance(value, int | float) and abs(value) <= sys.float_info.max  # neither inf nor nan
    else:
        fits = isinstance(value, wanted)
    if not fits or (isinstance(value, bool) and wanted is not bool):
        or_none = " or None" if type(None) in alternatives else ""
        raise ConfigError(f"{key} must be {_TYPE_WORDS.get(wanted, wanted)}{or_none}, not {brief(value)}")
    if wanted is int and abs(value) >= 2**63:  # what a MongoDB document can hold
        raise ConfigError(f"{key} must be below 2**63, not {brief(value)}")


def _check_choice(key: str, value: Any, choices: Iterable[Any]) -> None:
    if not any(type(value) is type(choice) and value == choice for choice in choices):  # 1 is not True
        words = [str(choice) for choice in choices]
        raise ConfigError(f"{key} must be one of {', '.join(words)}, not {brief(value)}{nearest(str(value), words)}")


_BOUNDS: dict[str, Callable[[Any, float], bool]] = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


def _check_bounds(key: str, value: Any, f: "Field[Any]") -> None:
    if value is None:
        return
    for name, bound in f.metadata.items():
        if not _BOUNDS[name](value, bound):
            raise ConfigError(f"{key} must be {name.replace('_', ' ')} {bound}, not {brief(value)}")
