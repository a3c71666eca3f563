"""The metrics of image classification: the loss, and whatever is registered as a metric."""

from pipeline.plugins import registry
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.penalty_specs import penalty_specs

RESULT = "test.accuracy"
"""What the result of a run is."""

_LOSS = "mean negative log likelihood"


def metric_specs() -> tuple[MetricSpec, ...]:
    """The specs of all metrics, those of loaded plug-ins included; accuracy before loss where both are shown."""
    losses = {
        split: MetricSpec(
            f"{split}.loss",
            "loss",
            f"{_LOSS}, {split}",
            "nats per image",
            better="lower",
            is_searchable=split == "validation",
        )
        for split in ("training", "validation", "test")
    }
    return (
        losses["training"],
        losses["validation"],
        *(spec for part in metric_parts() for spec in specs_of_part(part)),
        losses["test"],
        *penalty_specs(),
    )


def metric_parts() -> list[registry.Part]:
    """The registered metrics of image classification."""
    return [registry.find("metric", name, "classification") for name in registry.names("metric", "classification")]


def specs_of_part(part: registry.Part) -> tuple[MetricSpec, ...]:
    """The specs of a registered metric: on the splits where it is recorded."""
    facts = part.facts
    splits = ("training", "validation", "test") if facts["per"] == "item" else ("validation", "test")
    return tuple(
        MetricSpec(
            f"{split}.{part.name}",
            facts["heading"],
            f"{facts['says']}, {split}",
            facts["unit"],
            facts["format"],
            facts["better"],
            is_searchable=split == "validation" and facts["better"] is not None,
        )
        for split in splits
    )
