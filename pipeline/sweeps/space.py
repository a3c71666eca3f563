"""Search spaces: short YAML files in Hyperopt's vocabulary.

with: [odenet_simple, fashion_mnist, training.max_epochs=30]
minimise: validation.loss
space:
  training.lr: {loguniform: [1e-5, 1e-2]}
  optimiser:
    choice:
      - {training.optimiser: adam}
      - {training.optimiser: sgd, training.momentum: {uniform: [0, 0.95]}}
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from hyperopt import hp

from pipeline.config import nearest
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.util.errors import InvalidInput

Mode = Literal["min", "max"]
OBJECTIVES: dict[str, Mode] = {"minimise": "min", "maximise": "max"}
METRICS = ("validation.loss", "validation.accuracy")
"""What a search may look at: the test split is not for choosing."""
ARGUMENTS = {
    "uniform": "low, high",
    "loguniform": "low, high",
    "uniformint": "low, high",
    "quniform": "low, high, step",
    "qloguniform": "low, high, step",
}
LOGARITHMIC = ("loguniform", "qloguniform")
OPTION = "#"
"""In what Hyperopt draws, the number of the branch that it chose."""


class SpaceError(InvalidInput):
    """A space that cannot be searched."""


@dataclass(frozen=True)
class Distribution:
    """Where a number is drawn from, by Hyperopt's name for it.

    All bounds are values of the parameter, also those of the logarithmic ones, whose logarithms Hyperopt takes.
    """

    name: str
    low: float
    high: float
    step: float | None
    whole: bool
    """Whether the parameter is a whole number."""

    @property
    def is_logarithmic(self) -> bool:
        return self.name in LOGARITHMIC

    def build(self, label: str) -> Any:
        """Hyperopt's expression for it."""
        bounds = (math.log(self.low), math.log(self.high)) if self.is_logarithmic else (self.low, self.high)
        return getattr(hp, self.name)(label, *bounds, *([] if self.step is None else [self.step]))

    def parse(self, drawn: float) -> float:
        """The drawn number as the configuration takes it."""
        return round(drawn) if self.whole else float(drawn)

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest number that it gives."""
        step = self.step or 0
        low, high = ((round(bound / step) * step if step else bound) for bound in (self.low, self.high))
        return self.parse(low), self.parse(high)


@dataclass(frozen=True)
class Choice:
    """One of several values, or of several branches with parameters of their own."""

    options: tuple[Any, ...]

    @property
    def is_between_branches(self) -> bool:
        return any(isinstance(option, Mapping) for option in self.options)


Branch = Mapping[str, Any]
"""Configuration key -> `Distribution`, `Choice` of values or fixed value; or a name -> `Choice` between branches."""


@dataclass(frozen=True)
class Space:
    """What is searched, from where, and what for."""

    text: str
    """The YAML."""
    words: tuple[str, ...]
    """Named configurations and key=value that every trial starts from."""
    metric: str
    mode: Mode
    branch: Branch

    def build(self) -> dict[str, Any]:
        """Hyperopt's expression of the whole space."""
        return _build(self.branch, "")

    def flatten(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """What Hyperopt drew from `build()`, as configuration key -> value, without the names of branches."""
        return _flatten(self.branch, drawn)

    def parameters(self) -> list[str]:
        """The configuration keys that vary, in the file's order."""
        return list(dict.fromkeys(key for key, _ in _leaves(self.branch)))

    def is_logarithmic(self, key: str) -> bool:
        """Whether `key` is drawn on a logarithmic scale, for the axes of figures."""
        return any(name == key and isinstance(p, Distribution) and p.is_logarithmic for name, p in _leaves(self.branch))

    def corners(self) -> list[dict[str, Any]]:
        """Suggestions that have each parameter's extremes and each choice's options between them."""
        return _corners(self.branch)


def load_space(path: Path) -> Space:
    """The space in a file.

    Raises:
        SpaceError: the file is missing or no space, with the place in it and the remedy.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise SpaceError(f"the space {path} cannot be read ({error.strerror}): name a YAML file") from error
    return parse_space(text, str(path))


def parse_space(text: str, where: str) -> Space:
    """The space that the YAML `text` describes; `where` it stands is for error messages.

    Raises:
        SpaceError: it is no space, with the place in it and the remedy.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpaceError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise SpaceError(f"{where} must have the keys with, minimise or maximise, and space")
    known = ("with", *OBJECTIVES, "space")
    for key in values:
        if key not in known:
            raise SpaceError(f"{where}: unknown key {key}{nearest(str(key), known)}; there are {', '.join(known)}")
    metric, mode = _objective(values, where)
    words = values.get("with", [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise SpaceError(f"{where}: with must be a list of named configurations and key=value, not {words!r}")
    if not isinstance(values.get("space"), Mapping) or not values["space"]:
        raise SpaceError(f"{where}: space must say which keys vary, as in training.lr: {{loguniform: [1e-5, 1e-2]}}")
    branch = _parse_branch(values["space"], where)
    space = Space(text, tuple(words), metric, mode, branch)
    if not space.parameters():
        raise SpaceError(f"{where}: nothing in space varies; give a key a distribution or a choice")
    space.corners()  # raises where a key is set twice
    return space


def _objective(values: Mapping[str, Any], where: str) -> tuple[str, Mode]:
    found = [name for name in OBJECTIVES if name in values]
    if len(found) != 1:
        raise SpaceError(f"{where}: say either minimise or maximise, and what, as in minimise: validation.loss")
    metric = values[found[0]]
    if metric not in METRICS:
        raise SpaceError(f"{where}: {found[0]} must name one of {', '.join(METRICS)}, not {metric!r}")
    return metric, OBJECTIVES[found[0]]


def _parse_branch(values: Mapping[str, Any], where: str) -> Branch:
    return {key: _parse_node(key, node, where) for key, node in values.items()}


def _parse_node(key: Any, node: Any, where: str) -> Any:
    if not isinstance(node, Mapping):
        return _parse_value(key, node, where)
    if len(node) != 1:
        raise SpaceError(f"{where}: {key} must have one distribution, not {', '.join(map(str, node)) or 'none'}")
    [(name, arguments)] = node.items()
    if name == "choice":
        return _parse_choice(key, arguments, where)
    if name not in ARGUMENTS:
        known = [*ARGUMENTS, "choice"]
        raise SpaceError(
            f"{where}: {key} has the unknown distribution {name}{nearest(str(name), known)}; there are "
            f"{', '.join(known)}"
        )
    return _parse_distribution(key, name, arguments, where)


def _parse_distribution(key: str, name: str, arguments: Any, where: str) -> Distribution:
    wanted = ARGUMENTS[name].split(", ")
    numbers = [_number(argument) for argument in arguments] if isinstance(arguments, list) else []
    if len(numbers) != len(wanted) or None in numbers:
        raise SpaceError(f"{where}: {name} of {key} takes [{', '.join(wanted)}], not {arguments!r}")
    low, high, *step = (float(number) for number in numbers if number is not None)
    if not low < high or any(size <= 0 for size in step):
        raise SpaceError(f"{where}: {name} of {key} wants low below high and a step above 0, not {arguments!r}")
    if name in LOGARITHMIC and low <= 0:
        raise SpaceError(f"{where}: {name} of {key} takes the values themselves, above 0, not logarithms: {arguments}")
    kind = _kind(key, where)
    if kind not in (int, float):
        raise SpaceError(f"{where}: {key} is no number; use choice, not {name}")
    if kind is int and name != "uniformint" and (not step or step[0] != int(step[0])):
        raise SpaceError(f"{where}: {key} is a whole number; use uniformint, or quniform with a whole step")
    if name == "uniformint" and (kind is not int or low != int(low) or high != int(high)):
        raise SpaceError(f"{where}: uniformint is for whole numbers between whole bounds, not for {key}: {arguments}")
    return Distribution(name, low, high, step[0] if step else None, kind is int)


def _parse_choice(key: str, options: Any, where: str) -> Choice:
    if not isinstance(options, list) or len(options) < 2:
        raise SpaceError(f"{where}: choice of {key} takes a list of two or more options, not {options!r}")
    branches = [isinstance(option, Mapping) for option in options]
    if all(branches):
        return Choice(tuple(_parse_branch(option, where) for option in options))
    if any(branches):
        raise SpaceError(f"{where}: the options of {key} must all be values, or all be branches")
    return Choice(tuple(_parse_value(key, option, where) for option in options))


def _parse_value(key: Any, value: Any, where: str) -> Any:
    number = _number(value)
    if _kind(key, where) is float and number is not None:
        return number  # YAML takes 1e-5, without a point, for text
    if isinstance(value, list | Mapping):
        raise SpaceError(f"{where}: {key} must be a value, a distribution or a choice, not {value!r}")
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _kind(key: Any, where: str) -> Any:
    """The type of a configuration key's values."""
    kinds = ClassificationConfig.kinds()
    if key == "seed":
        raise SpaceError(f"{where}: seed is not searched; `odenet sweep --seed` sets the sweep's")
    if key not in kinds:
        raise SpaceError(f"{where}: unknown key {key}{nearest(str(key), kinds)}")
    alternatives = [kind for kind in get_args(kinds[key]) if kind is not type(None)] or [kinds[key]]
    return alternatives[0] if alternatives[0] in (int, float, str, bool) else str


def _build(branch: Branch, path: str) -> dict[str, Any]:
    return {key: _build_node(node, f"{path}{key}") for key, node in branch.items()}


def _build_node(node: Any, label: str) -> Any:
    match node:
        case Distribution():
            return node.build(label)
        case Choice() if node.is_between_branches:
            branches = [_build(option, f"{label}/{i}/") | {OPTION: i} for i, option in enumerate(node.options)]
            return hp.choice(label, branches)
        case Choice():
            return hp.choice(label, list(node.options))
        case _:
            return node


def _flatten(branch: Branch, drawn: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, node in branch.items():
        match node:
            case Choice() if node.is_between_branches:
                flat |= _flatten(node.options[drawn[key][OPTION]], drawn[key])
            case Distribution():
                flat[key] = node.parse(drawn[key])
            case _:
                flat[key] = drawn[key]
    return flat


def _leaves(branch: Branch) -> Iterator[tuple[str, Any]]:
    for key, node in branch.items():
        if isinstance(node, Choice) and node.is_between_branches:
            for option in node.options:
                yield from _leaves_and_fixed(option)
        elif isinstance(node, Choice | Distribution):
            yield key, node


def _leaves_and_fixed(branch: Branch) -> Iterator[tuple[str, Any]]:
    """Also what is fixed in the branch: it varies with the choice between branches."""
    fixed = {key: node for key, node in branch.items() if not isinstance(node, Choice | Distribution)}
    yield from fixed.items()
    yield from _leaves(branch)


def _corners(branch: Branch) -> list[dict[str, Any]]:
    alternatives: list[list[dict[str, Any]]] = []
    for key, node in branch.items():
        match node:
            case Distribution():
                alternatives.append([{key: value} for value in node.extremes()])
            case Choice() if node.is_between_branches:
                alternatives.append([corner for option in node.options for corner in _corners(option)])
            case Choice():
                alternatives.append([{key: option} for option in node.options])
            case _:
                alternatives.append([{key: node}])
    return [
        _united([options[min(i, len(options) - 1)] for options in alternatives])
        for i in range(max(len(options) for options in alternatives))
    ]


def _united(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    united: dict[str, Any] = {}
    for part in parts:
        for key in part.keys() & united.keys():
            raise SpaceError(f"{key} is set twice in the space: once for all, and once in a branch")
        united |= part
    return united
