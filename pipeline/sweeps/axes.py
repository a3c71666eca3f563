"""Where the values of a searched parameter lie on the axis of a figure."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from matplotlib.ticker import MaxNLocator

from pipeline.sweeps.space import Space
from pipeline.sweeps.state import Trial

GOLDEN = 0.618034
"""Multiples of it, less their whole part, spread evenly however many there are."""
EDGE = 0.03
"""A number this near to an end of its range, as a share of it, lies at the edge."""
LONGEST_OPTION = 14
"""Characters of an option that an axis shows."""


@dataclass(frozen=True)
class Axis:
    """The range of one parameter, from 0 to 1."""

    key: str
    options: tuple[Any, ...] | None
    """Its values, if it is a choice; of numbers None."""
    low: float = 0.0
    high: float = 1.0
    is_logarithmic: bool = False
    is_whole: bool = False
    is_share: bool = False
    """Whether its labels are per cent."""

    def place(self, value: Any, number: int = 0) -> float:
        """Where `value` lies; those of an option are spread about its place, by the trial's `number`."""
        if self.options is None:
            return (self._scaled(value) - self._scaled(self.low)) / (self._scaled(self.high) - self._scaled(self.low))
        return (self.options.index(value) + 0.5 + spread(number, 0.4)) / len(self.options)

    def ticks(self) -> list[tuple[float, str]]:
        """(place, label) of what the axis names."""
        if self.options is not None:
            return [(self.place(option), _short(option)) for option in self.options]
        values = self._round_values()
        if self.is_share:
            decimals = 0 if self.high - self.low > 0.05 else 1
            return [(self.place(value), f"{value:.{decimals}%}") for value in values]
        return [(self.place(value), tidy(value)) for value in values]

    def is_at_edge(self, value: Any) -> bool:
        """Whether a number lies at an end of its range."""
        return self.options is None and not EDGE <= self.place(value) <= 1 - EDGE

    def _scaled(self, value: float) -> float:
        return log10(value) if self.is_logarithmic else value

    def _even_values(self) -> list[float]:
        locator = MaxNLocator(5, steps=[1, 2, 5, 10], integer=self.is_whole)
        return [float(value) for value in locator.tick_values(self.low, self.high)]

    def _round_values(self) -> list[float]:
        if not self.is_logarithmic or self.high < 4 * self.low:
            candidates = self._even_values()
        else:
            decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            factors = (1,) if log10(self.high / self.low) > 2 else (1, 2, 5)
            candidates = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
        margin = 1e-9 * (self.high - self.low)
        return [value for value in candidates if self.low - margin <= value <= self.high + margin]


def build_axes(space: Space, trials: Iterable[Trial]) -> list[Axis]:
    """One axis for each parameter, over what the space allows and what the trials had.

    A parameter is a choice where no trial had anything but its options; the ends of a range pass for options.
    """
    trials = list(trials)
    return [
        _build_axis(space, key, [t.suggestion[key] for t in trials if key in t.suggestion])
        for key in space.parameters()
    ]


def build_metric_axis(space: Space, trials: Iterable[Trial]) -> Axis | None:
    """The axis of what the search looks at; None where no trial has a value.

    What is the better the lower it is, and above 0, is there by its logarithm.
    """
    values = [trial.value for trial in trials if trial.value is not None]
    if not values:
        return None
    low, high, spec = min(values), max(values), space.spec
    if spec.better == "lower" and not spec.is_share and low > 0:
        return Axis(space.metric, None, low / 1.02, high * 1.02, is_logarithmic=True)
    margin = max(0.005, 0.02 * (high - low))
    return Axis(space.metric, None, low - margin, high + margin, is_share=spec.is_share)


def spread(number: int, width: float) -> float:
    """An offset within `width` about 0, of its own for each trial; 0 for number 0."""
    return ((number * GOLDEN + 0.5) % 1 - 0.5) * width


def tidy(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, float):
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
    return str(value)


def _build_axis(space: Space, key: str, seen: list[Any]) -> Axis:
    allowed = _different(corner[key] for corner in space.corners() if key in corner)
    if all(value in allowed for value in seen):
        return Axis(key, allowed)
    numbers = (*allowed, *seen)
    if not all(isinstance(value, int | float) for value in numbers):
        return Axis(key, _different(numbers))
    is_whole = all(isinstance(value, int) for value in numbers)
    is_logarithmic = space.is_logarithmic(key) and min(numbers) > 0  # what was rounded to 0 has no logarithm
    return Axis(key, None, min(numbers), max(numbers), is_logarithmic, is_whole)


def _different(values: Iterable[Any]) -> tuple[Any, ...]:
    """Each value once; lists may be among them."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return tuple(found)


def _short(option: Any) -> str:
    text = tidy(option)
    return text if len(text) <= LONGEST_OPTION else f"{text[: LONGEST_OPTION - 1]}…"
