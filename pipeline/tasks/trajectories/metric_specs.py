"""The metrics of trajectories."""

from typing import Literal

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.penalty_specs import penalty_specs

RESULT = "test.rmse"
"""What the result of a run is."""

_OTHERS: tuple[tuple[str, str, str, str, Literal["lower", "higher"]], ...] = (
    ("rmse", "RMSE", "root mean squared error", ".4f", "lower"),
    ("accuracy", "accuracy", "share of the points whose number has the right sign", ".2%", "higher"),
)


def metric_specs() -> tuple[MetricSpec, ...]:
    """The specs of all metrics; accuracy where the data say a number for each point."""
    losses = {
        split: MetricSpec(
            f"{split}.loss", "loss", f"smooth L1, {split}", better="lower", is_searchable=split == "validation"
        )
        for split in ("training", "validation", "test")
    }
    others = {
        split: [
            MetricSpec(f"{split}.{name}", heading, f"{says}, {split}", "", form, better, split == "validation")
            for name, heading, says, form, better in _OTHERS
        ]
        for split in ("validation", "test")
    }
    return (
        losses["training"],
        losses["validation"],
        *others["validation"],
        *others["test"],
        losses["test"],
        *penalty_specs(),
    )
