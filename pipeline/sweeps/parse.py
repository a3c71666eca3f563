"""Search spaces: short YAML files in Hyperopt's vocabulary.

with: [odenet_simple, fashion_mnist, training.max_epochs=30]
minimise: validation.loss
space:
  training.lr: {loguniform: [1e-5, 1e-2]}
  optimiser:
    choice:
      - {training.optimiser: adam}
      - {training.optimiser: sgd, training.momentum: {uniform: [0, 0.95]}}

Of several objectives each is named; constraints bound what every epoch records:

maximise: validation.accuracy
minimise: solver.nfe_forward
constraints: [solver.nfe_forward <= 60]
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pipeline.config import nearest
from pipeline.sweeps.goal import Constraint, Goal, Mode, Objective
from pipeline.sweeps.searched_task import SearchedTask
from pipeline.sweeps.space import LOGARITHMIC, Branch, Choice, Distribution, Space, SpaceError
from pipeline.util.yaml_text import YamlError, parse_yaml, read_yaml

OBJECTIVES: dict[str, Mode] = {"minimise": "min", "maximise": "max"}
CONSTRAINTS = "constraints"
ARGUMENTS = {
    "uniform": "low, high",
    "loguniform": "low, high",
    "uniformint": "low, high",
    "quniform": "low, high, step",
    "qloguniform": "low, high, step",
}
LARGEST_WHOLE = 2**63
FindTask = Callable[[Sequence[str]], SearchedTask]
"""The words of a space's `with` -> the task that they name."""


def load_space(path: Path, find_task: FindTask, constraints: Sequence[str] = ()) -> Space:
    """The space in a file; `constraints` of the command line are added to its own.

    Raises:
        SpaceError: the file is missing or no space, with the place in it and the remedy.
    """
    try:
        text, _ = read_yaml(path, "the space")
    except YamlError as error:
        raise SpaceError(str(error)) from error
    space = parse_space(text, str(path), find_task, constraints)
    space.refuse_keys_set_twice()
    space.refuse_worse_values()
    space.refuse_shares_above_one()
    return space


def parse_space(
    text: str,
    where: str,
    find_task: FindTask = lambda _: SearchedTask.of(),
    constraints: Sequence[str] = (),
) -> Space:
    """The space that the YAML `text` describes; `where` it stands is for error messages.

    Args:
        constraints: of the command line, added to the space's own.

    Raises:
        SpaceError: it is no space, with the place in it and the remedy.
        ConfigError: its words name what is not there.
    """
    try:
        values = parse_yaml(text, where)
    except YamlError as error:
        raise SpaceError(str(error)) from error
    if not isinstance(values, Mapping):
        raise SpaceError(f"{where} must have the keys with, minimise or maximise, and space")
    known = ("with", *OBJECTIVES, CONSTRAINTS, "space")
    for key in values:
        if key not in known:
            raise SpaceError(f"{where}: unknown key {key}{nearest(str(key), known)}; there are {', '.join(known)}")
    overrides = values.get("with", [])
    if not isinstance(overrides, list) or not all(isinstance(word, str) for word in overrides):
        raise SpaceError(f"{where}: with must be a list of named configurations and key=value, not {overrides!r}")
    task = find_task(overrides)
    goal = Goal(_objectives(values, where, task), _constraints(values, where, task, constraints))
    if not isinstance(values.get("space"), Mapping) or not values["space"]:
        raise SpaceError(f"{where}: space must say which keys vary, as in training.lr: {{loguniform: [1e-5, 1e-2]}}")
    branch = _BranchParser(where, task).parse(values["space"])
    space = Space(text, tuple(overrides), goal, branch, task)
    if not space.parameters():
        raise SpaceError(f"{where}: nothing in space varies; give a key a distribution or a choice")
    space.corners()  # raises where a key is set twice
    return space


def _objectives(values: Mapping[str, Any], where: str, task: SearchedTask) -> tuple[Objective, ...]:
    """In the order of the file."""
    named = [(key, metric) for key in values if key in OBJECTIVES for metric in _listed(values[key])]
    if not named:
        raise SpaceError(
            f"{where}: say either minimise or maximise, or both, and what, as in minimise: validation.loss"
        )
    for number, (key, metric) in enumerate(named):
        if not isinstance(metric, str) or metric not in task.searchable:
            known = task.searchable
            raise SpaceError(
                f"{where}: {key} must name one of {', '.join(known)}, not {metric!r}{_nearest(str(metric), known)}"
            )
        if metric in [before for _, before in named[:number]]:
            raise SpaceError(f"{where}: {metric} is named twice as an objective; name it once")
    return tuple(Objective(metric, OBJECTIVES[key]) for key, metric in named)


def _constraints(
    values: Mapping[str, Any], where: str, task: SearchedTask, added: Sequence[str]
) -> tuple[Constraint, ...]:
    own = [(text, where) for text in _listed(values.get(CONSTRAINTS, []))]
    parsed = [_constraint(text, place, task) for text, place in [*own, *((text, "--constraint") for text in added)]]
    return tuple(dict.fromkeys(parsed))


def _constraint(text: Any, where: str, task: SearchedTask) -> Constraint:
    try:
        constraint = Constraint.parse(str(text))
    except ValueError:
        raise SpaceError(
            f"{where}: a constraint is a metric, <= or >=, and a number, as in solver.nfe_forward <= 30, not {text!r}"
        ) from None
    known = task.recorded
    if constraint.metric not in known:
        raise SpaceError(
            f"{where}: a constraint bounds what every epoch records, one of {', '.join(known)}, not "
            f"{constraint.metric}{_nearest(constraint.metric, known)}"
        )
    return constraint


def _nearest(metric: str, known: Iterable[str]) -> str:
    """As `nearest`, with the validation split in the place of the test split, which is not for choosing."""
    return nearest(metric.replace("test.", "validation.", 1), known)


def _listed(value: Any) -> list[Any]:
    """A list as it is, anything else as the one entry of a list."""
    return value if isinstance(value, list) else [value]


class _BranchParser:
    """What stands below `space`, checked against the keys of the task's configuration."""

    def __init__(self, where: str, task: SearchedTask) -> None:
        self._where, self._task = where, task

    def parse(self, values: Mapping[str, Any]) -> Branch:
        return {key: self._parse_node(key, node) for key, node in values.items()}

    def _parse_node(self, key: Any, node: Any) -> Any:
        if not isinstance(node, Mapping):
            return self._parse_value(key, node)
        if len(node) != 1:
            raise self._error(f"{key} must have one distribution, not {', '.join(map(str, node)) or 'none'}")
        [(name, arguments)] = node.items()
        if name == "choice":
            return self._parse_choice(key, arguments)
        if name not in ARGUMENTS:
            known = [*ARGUMENTS, "choice"]
            raise self._error(
                f"{key} has the unknown distribution {name}{nearest(str(name), known)}; there are {', '.join(known)}"
            )
        return self._parse_distribution(key, name, arguments)

    def _parse_distribution(self, key: str, name: str, arguments: Any) -> Distribution:
        wanted = ARGUMENTS[name].split(", ")
        numbers = [_number(argument) for argument in arguments] if isinstance(arguments, list) else []
        if len(numbers) != len(wanted) or None in numbers:
            raise self._error(f"{name} of {key} takes [{', '.join(wanted)}], not {arguments!r}")
        low, high, *step = (float(number) for number in numbers if number is not None)
        if not low < high or any(size <= 0 for size in step):
            raise self._error(f"{name} of {key} wants low below high and a step above 0, not {arguments!r}")
        if not math.isfinite(high - low) or any(not math.isfinite(max(abs(low), abs(high)) / size) for size in step):
            raise self._error(f"{name} of {key} spans more than a number can hold: {arguments!r}")
        if name in LOGARITHMIC and low <= 0:
            raise self._error(f"{name} of {key} takes the values themselves, above 0, not logarithms: {arguments}")
        kind = self._kind(key) or (int if name == "uniformint" or (step and step[0] == int(step[0])) else float)
        if kind not in (int, float):
            raise self._error(f"{key} is no number; use choice, not {name}")
        if kind is int and name != "uniformint" and (not step or step[0] != int(step[0])):
            raise self._error(f"{key} is a whole number; use uniformint, or quniform with a whole step")
        if name == "uniformint" and (kind is not int or low != int(low) or high != int(high)):
            raise self._error(f"uniformint is for whole numbers between whole bounds, not for {key}: {arguments}")
        if kind is int and max(abs(low), abs(high)) >= LARGEST_WHOLE:
            raise self._error(f"{name} of {key} wants whole numbers below 2**63, not {arguments!r}")
        found = Distribution(name, low, high, step[0] if step else None, kind is int)
        smallest, largest = found.extremes()
        if smallest > largest:
            raise self._error(f"{name} of {key} has no multiple of the step {step[0]:g} between {low:g} and {high:g}")
        return found

    def _parse_choice(self, key: str, options: Any) -> Choice:
        if not isinstance(options, list) or len(options) < 2:
            raise self._error(f"choice of {key} takes a list of two or more options, not {options!r}")
        branches = [isinstance(option, Mapping) for option in options]
        if all(branches):
            return Choice(tuple(self.parse(option) for option in options))
        if any(branches):
            raise self._error(f"the options of {key} must all be values, or all be branches")
        return Choice(tuple(self._parse_value(key, option) for option in options))

    def _parse_value(self, key: Any, value: Any) -> Any:
        number, kind = _number(value), self._kind(key)
        if value == "None" and self._may_be_none(key):
            return None  # as a command line has it
        if kind is float and number is not None:
            return number  # YAML takes 1e-5, without a point, for text
        if isinstance(value, Mapping) or (isinstance(value, list) and not self._may_be_list(key)):
            raise self._error(f"{key} must be a value, a distribution or a choice, not {value!r}")
        return value

    def _kind(self, key: Any) -> Any:
        """The type of a configuration key's values; None where it is not known and need not be."""
        kinds = self._task.kinds
        if key == "seed":
            raise self._error("seed is not searched; `odenet sweep --seed` sets the sweep's")
        if key not in kinds:
            if self._task.is_stored:
                return None
            raise self._error(f"unknown key {key}{nearest(str(key), kinds)}")
        if kinds[key] is Any:
            return None
        alternatives = [kind for kind in get_args(kinds[key]) if kind is not type(None)] or [kinds[key]]
        return alternatives[0] if alternatives[0] in (int, float, str, bool) else str

    def _may_be_none(self, key: str) -> bool:
        return type(None) in get_args(self._task.kinds.get(key))

    def _may_be_list(self, key: str) -> bool:
        kind = self._task.kinds.get(key, Any)
        return kind is Any or any((get_origin(one) or one) is list for one in (kind, *get_args(kind)))

    def _error(self, message: str) -> SpaceError:
        return SpaceError(f"{self._where}: {message}")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
