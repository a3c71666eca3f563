"""A search space: what is searched, from where, and what for; `pipeline.sweeps.parse` reads it from YAML."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.sweeps.goal import Goal, Mode
from pipeline.sweeps.searched_task import SearchedTask
from pipeline.util.errors import InvalidInput

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
        from hyperopt import hp  # half a second, which what only reads sweeps does not wait for

        bounds = (math.log(self.low), math.log(self.high)) if self.is_logarithmic else (self.low, self.high)
        return getattr(hp, self.name)(label, *bounds, *([] if self.step is None else [self.step]))

    def parse(self, drawn: float) -> float:
        """The drawn number as the configuration takes it: within the bounds, which Hyperopt's rounding leaves."""
        low, high = self.extremes()
        return min(max(self.parse_unbounded(drawn), low), high)

    def parse_unbounded(self, drawn: float) -> float:
        """The same as it was before bounds were kept, for sweeps that began then."""
        return round(drawn) if self.whole else float(drawn)

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest number that it gives: of those with a step, multiples of it."""
        low, high = self.low, self.high
        if self.step is not None:
            slack = 1e-9  # 0.3 / 0.1 is a little less than 3
            low = math.ceil(low / self.step - slack) * self.step
            high = math.floor(high / self.step + slack) * self.step
        return self.parse_unbounded(low), self.parse_unbounded(high)


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
    overrides: tuple[str, ...]
    """Named configurations and key=value that every trial starts from."""
    goal: Goal
    branch: Branch
    task: SearchedTask

    @property
    def metric(self) -> str:
        """That of the objective; of several the first one's."""
        return self.goal.objectives[0].metric

    @property
    def mode(self) -> Mode:
        """Its direction."""
        return self.goal.objectives[0].mode

    @property
    def spec(self) -> MetricSpec:
        """What the metric is."""
        return self.spec_of(self.metric)

    def spec_of(self, metric: str) -> MetricSpec:
        """What a metric of an objective or a constraint is."""
        return self.task.recorded[metric]

    def build(self) -> dict[str, Any]:
        """Hyperopt's expression of the whole space."""
        return _build(self.branch, "")

    def flatten(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """What Hyperopt drew from `build()`, as configuration key -> value, without the names of branches."""
        return _flatten(self.branch, drawn)

    def flatten_unbounded(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The same as it was before quantised numbers were kept within their bounds."""
        return _flatten(self.branch, drawn, keeps_bounds=False)

    def parameters(self) -> list[str]:
        """The configuration keys that vary, in the file's order."""
        return list(dict.fromkeys(key for key, _ in self.varied()))

    def varied(self) -> list[tuple[str, Any]]:
        """Each of these keys with its distribution, choice or value, once for every branch that has it."""
        return list(_leaves(self.branch))

    def is_logarithmic(self, key: str) -> bool:
        """Whether `key` is drawn on a logarithmic scale, for the axes of figures."""
        return any(name == key and isinstance(p, Distribution) and p.is_logarithmic for name, p in self.varied())

    def refuse_keys_set_twice(self) -> None:
        """
        Raises:
            SpaceError: some draw would set a key twice.
        """
        _keys(self.branch)

    def refuse_worse_values(self) -> None:
        """
        Raises:
            SpaceError: an objective asks for the worse values of its metric.
        """
        for objective in self.goal.objectives:
            spec = self.spec_of(objective.metric)
            if spec.better is not None and spec.mode != objective.mode:
                word = "minimise" if spec.mode == "min" else "maximise"
                raise SpaceError(f"{spec.name} is better when {spec.better}: write {word}: {spec.name}")

    def refuse_shares_above_one(self) -> None:
        """
        Raises:
            SpaceError: a constraint bounds a share, which is shown in per cent, by what no share comes to.
        """
        for constraint in self.goal.constraints:
            spec, bound = self.spec_of(constraint.metric), constraint.bound
            if spec.is_share and spec.better == "higher" and bound > 1:
                meant = f"{constraint.metric} {constraint.relation} {bound / 100:g}"
                raise SpaceError(f"{spec.name} is a share from 0 to 1: write {meant} for {bound:g} %")

    def corners(self) -> list[dict[str, Any]]:
        """Suggestions that have each parameter's extremes and each choice's options between them."""
        return _corners(self.branch)


def _build(branch: Branch, path: str) -> dict[str, Any]:
    return {key: _build_node(node, f"{path}{key}") for key, node in branch.items()}


def _build_node(node: Any, label: str) -> Any:
    from hyperopt import hp

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


def _flatten(branch: Branch, drawn: Mapping[str, Any], keeps_bounds: bool = True) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, node in branch.items():
        match node:
            case Choice() if node.is_between_branches:
                flat |= _flatten(node.options[drawn[key][OPTION]], drawn[key], keeps_bounds)
            case Distribution():
                flat[key] = node.parse(drawn[key]) if keeps_bounds else node.parse_unbounded(drawn[key])
            case _:
                flat[key] = _as_lists(drawn[key])
    return flat


def _as_lists(value: Any) -> Any:
    """A value with lists where Hyperopt gives tuples."""
    return [_as_lists(one) for one in value] if isinstance(value, tuple) else value


def _leaves(branch: Branch, has_alternatives: bool = False) -> Iterator[tuple[str, Any]]:
    """What varies; also what is fixed in a branch that has alternatives: it varies with the choice between them."""
    for key, node in branch.items():
        if isinstance(node, Choice) and node.is_between_branches:
            for option in node.options:
                yield from _leaves(option, has_alternatives=True)
        elif has_alternatives or isinstance(node, Choice | Distribution):
            yield key, node


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
        for i in range(max((len(options) for options in alternatives), default=1))
    ]


def _keys(branch: Branch) -> set[str]:
    """All that its draws may set."""
    found: set[str] = set()
    for key, node in branch.items():
        is_choice = isinstance(node, Choice) and node.is_between_branches
        keys = set().union(*map(_keys, node.options)) if is_choice else {key}
        if twice := sorted(found & keys):
            raise SpaceError(f"{twice[0]} is set twice in the space: by {key}, and by what stands before it")
        found |= keys
    return found


def _united(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    united: dict[str, Any] = {}
    for part in parts:
        for key in part.keys() & united.keys():
            raise SpaceError(f"{key} is set twice in the space: once for all, and once in a branch")
        united |= part
    return united
