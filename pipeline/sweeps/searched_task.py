"""What a search needs to know of the task that its trials train."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import ConfigError
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.cost_specs import cost_specs
from pipeline.tasks.lookup import DEFAULT, config_class, metric_specs, result_name
from pipeline.tracking import run_document


@dataclass(frozen=True)
class SearchedTask:
    """A task by its metrics and by the keys of its configuration."""

    metrics: tuple[MetricSpec, ...]
    result: MetricSpec
    """What the result of its runs is."""
    kinds: Mapping[str, Any]
    """Configuration key -> type of its values."""
    is_stored: bool = False
    """Whether it is of a sweep that was stored, of which plug-ins, and with them keys, may not be here."""

    @classmethod
    def of(cls, name: str = DEFAULT) -> "SearchedTask":
        """The task of that name.

        Raises:
            ConfigError: there is none.
        """
        metrics, result = tuple(metric_specs(name)), result_name(name)
        return cls(metrics, next(spec for spec in metrics if spec.name == result), config_class(name).kinds())

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "SearchedTask":
        """The task of a sweep, as its run's document has it."""
        try:
            kinds = config_class(run_document.task_of(document)).kinds()
        except ConfigError:
            kinds = {}
        return cls(run_document.metric_specs(document), run_document.result_spec(document), kinds, is_stored=True)

    @property
    def searchable(self) -> dict[str, MetricSpec]:
        """What a search may choose by: the test split is not for choosing."""
        return {name: spec for name, spec in self.recorded.items() if spec.is_searchable}

    @property
    def recorded(self) -> dict[str, MetricSpec]:
        """What is known of every epoch, its costs included, and may be bounded by a constraint."""
        own = {spec.name: spec for spec in self.metrics if spec.split != "test"}
        return own | {spec.name: spec for spec in cost_specs() if spec.name not in own}

    @property
    def validation_result(self) -> MetricSpec | None:
        """The result's quantity on the validation split; None where it is not recorded there."""
        return next((spec for spec in self.metrics if spec.name == f"validation.{self.result.quantity}"), None)
