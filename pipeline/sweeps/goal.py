"""What a sweep searches for: its objectives, and the constraints that a trial has to meet."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from pipeline.sweeps.crowded_order import dominance_levels

Mode = Literal["min", "max"]
Relation = Literal["<=", ">="]
Item = TypeVar("Item")
_CONSTRAINT = re.compile(r"\s*(?P<metric>[^\s<>=]+)\s*(?P<relation><=|>=)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True)
class Objective:
    """A metric that is minimised or maximised."""

    metric: str
    mode: Mode

    def loss(self, value: float) -> float:
        """The lower the better."""
        return value if self.mode == "min" else -value


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric."""

    metric: str
    relation: Relation
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """What `solver.nfe_forward <= 30` says.

        Raises:
            ValueError: it is no metric, `<=` or `>=`, and finite number.
        """
        found = _CONSTRAINT.fullmatch(text)
        if found is None or not math.isfinite(bound := float(found["bound"])):
            raise ValueError(text)
        return cls(found["metric"], "<=" if found["relation"] == "<=" else ">=", bound)

    def excess(self, value: float) -> float:
        """By how much `value` misses the bound, as a share of it; of a bound of 0 as it is; 0 where it is met."""
        beyond = value - self.bound if self.relation == "<=" else self.bound - value
        return max(0.0, beyond / (abs(self.bound) or 1.0))

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.bound:.12g}"


@dataclass(frozen=True)
class Goal:
    """The objectives, one or several, and the constraints, none or several."""

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()

    @property
    def is_single(self) -> bool:
        """Whether there is one objective, and with it one best trial."""
        return len(self.objectives) == 1

    @property
    def is_of_kept_weights(self) -> bool:
        """Whether trials count by the epoch whose weights their runs keep, that of the lowest validation loss.

        Values of several metrics are then of one network, the one that is tested. One metric of the validation split
        without constraints counts by its own best epoch.
        """
        return not self.is_single or bool(self.constraints) or not self.objectives[0].metric.startswith("validation.")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of the objectives and the constraints, each once."""
        of_objectives = [objective.metric for objective in self.objectives]
        return tuple(dict.fromkeys([*of_objectives, *(constraint.metric for constraint in self.constraints)]))

    def violated(self, measured: Mapping[str, float]) -> list[Constraint]:
        """The constraints that these values of the metrics do not meet; all values are there."""
        return [constraint for constraint in self.constraints if constraint.excess(measured[constraint.metric]) > 0]

    def excess(self, measured: Mapping[str, float]) -> float:
        """By how much they miss the constraints in sum; 0 where they meet them."""
        return sum(constraint.excess(measured[constraint.metric]) for constraint in self.constraints)

    def losses(self, measured: Mapping[str, float]) -> tuple[float, ...]:
        """Of each objective, the lower the better."""
        return tuple(objective.loss(measured[objective.metric]) for objective in self.objectives)


def undominated(losses: Mapping[Item, Sequence[float]]) -> list[Item]:
    """Those of which no other is at least as good in everything and better in something; equal ones stay together."""
    return [item for item, level in zip(losses, dominance_levels(list(losses.values())), strict=True) if level == 0]
