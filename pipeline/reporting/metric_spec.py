"""What a metric is, for all that show, compare or search it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class MetricSpec:
    """One number of a run: what it says and how it is shown.

    Lists of runs, `fit`'s line an epoch, the objectives of sweeps, comparisons and Omniboard's columns read these and
    know no task.
    """

    name: str
    """As it is recorded: `training.X` and `validation.X` after every epoch; `test.X` once, in `info.test`."""
    heading: str
    """Over a column, a row or an axis: one or two words."""
    says: str
    """What it measures, in a phrase."""
    unit: str = ""
    """Of the stored value: `nats per image`, `s`; nothing for a share or a count."""
    format: str = ".4f"
    """Python's format specification of the value; with `%` it is a share that is shown in per cent."""
    better: Literal["lower", "higher"] | None = None
    """Which values are better; None where neither are."""
    is_searchable: bool = False
    """Whether a search may choose by it. Nothing of the test split is."""

    @property
    def split(self) -> str:
        """`training`, `validation` or `test`."""
        return self.name.partition(".")[0]

    @property
    def quantity(self) -> str:
        """The name without the split, as `loss`."""
        return self.name.partition(".")[2]

    @property
    def label(self) -> str:
        """The heading with the unit, as `loss (nats per image)`."""
        return self.heading + (f" ({self.unit})" if self.unit else "")

    @property
    def is_share(self) -> bool:
        """Whether it is shown in per cent."""
        return self.format.endswith("%")

    @property
    def mode(self) -> Literal["min", "max"]:
        """What an optimiser does with it.

        Raises:
            ValueError: neither lower nor higher values are better.
        """
        if self.better is None:
            raise ValueError(f"neither lower nor higher values of {self.name} are better")
        return "min" if self.better == "lower" else "max"


def specs_by_name(found: Iterable[MetricSpec]) -> tuple[dict[str, MetricSpec], set[str]]:
    """Name -> what it means, without a unit where tasks have units of their own; and the names of which they do."""
    specs: dict[str, MetricSpec] = {}
    units: dict[str, set[str]] = {}
    for spec in found:
        specs[spec.name] = spec
        units.setdefault(spec.name, set()).add(spec.unit)
    mixed = {name for name, of_name in units.items() if len(of_name) > 1}
    return {name: replace(spec, unit="") if name in mixed else spec for name, spec in specs.items()}, mixed
