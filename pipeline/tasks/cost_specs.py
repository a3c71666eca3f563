"""The metrics of what an epoch costs, which every task's training records."""

from typing import Literal

from pipeline.reporting.metric_spec import MetricSpec

_COSTS: tuple[tuple[str, str, str, str, str, Literal["lower", "higher"]], ...] = (
    ("solver.nfe_forward", "evaluations", "of the field per training batch, forward", "", ".1f", "lower"),
    ("solver.nfe_backward", "backward evaluations", "of the field per training batch, adjoint", "", ".1f", "lower"),
    ("solver.nfe_per_image", "evaluations per sample", "the same of each sample's own", "", ".1f", "lower"),
    ("solver.rejected_steps", "rejected steps", "of the solver per training batch", "", ".1f", "lower"),
    ("time.epoch_seconds", "epoch time", "of training and validation, on the clock", "s", ".2f", "lower"),
    ("time.training_seconds", "training time", "of an epoch without its validation", "s", ".2f", "lower"),
    ("time.images_per_second", "samples per second", "trained on", "", ",.0f", "higher"),
    ("memory.peak_mb", "peak memory", "of the epoch on a GPU, of the process so far on a CPU", "MB", ",.0f", "lower"),
)


def cost_specs() -> tuple[MetricSpec, ...]:
    """The specs; a network without an ODE records nothing of the solver."""
    return tuple(
        MetricSpec(name, heading, says, unit, form, better, is_searchable=True)
        for name, heading, says, unit, form, better in _COSTS
    )
