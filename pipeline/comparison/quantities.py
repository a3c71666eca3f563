"""What a comparison has a row for: the results of the runs' tasks, and what the runs cost."""

from collections.abc import Callable
from typing import NamedTuple

from pipeline.reporting.metric_spec import MetricSpec


class Quantity(NamedTuple):
    """A number of a run, and how it is shown."""

    name: str
    """In `ComparedRun.values`."""
    label: str
    """Of its row, with the unit in which it is shown."""
    form: str | Callable[[float], str]
    """As `pipeline.reporting.text_table.shown` takes it."""


def quantity_of(spec: MetricSpec) -> Quantity:
    """The row of a metric; a share in per cent."""
    if spec.is_share:
        return Quantity(spec.quantity, f"{spec.heading} (%)", lambda share: f"{100 * share:{spec.format[:-1]}f}")
    return Quantity(spec.quantity, spec.label, spec.format)


def _millions(number: float) -> str:
    return f"{number / 1e6:.2g}" if 0 < number < 1e4 else f"{number / 1e6:,.2f}"


EPOCHS = Quantity("epochs", "epochs", ",.1f")
OF_MACHINE = {
    "process_cpu_percent": Quantity("process_cpu_percent", "processor use of the process, 100 a core (%)", ",.0f"),
    "gpu_percent": Quantity("gpu_percent", "GPU use (%)", ",.0f"),
    "gpu_memory_mb": Quantity("gpu_memory_mb", "GPU memory in use (MB)", ",.0f"),
    "gpu_watts": Quantity("gpu_watts", "GPU power (W)", ",.0f"),
}
"""Means of what was seen of the machine while a run trained."""
COST = (
    Quantity("parameters", "parameters", ",.0f"),
    Quantity("multiply_adds", "multiply-adds, one evaluation (M)", _millions),
    Quantity("multiply_adds_test", "multiply-adds, test, as solved (M)", _millions),
    Quantity("nfe_test", "evaluations, test", ",.1f"),
    Quantity("nfe_forward", "evaluations, training, forward", ",.1f"),
    Quantity("nfe_backward", "evaluations, training, backward", ",.1f"),
    Quantity("epoch_seconds", "seconds per epoch", ",.2f"),
    Quantity("training_seconds", "seconds of all epochs", ",.2f"),
    Quantity("images_per_second", "training samples per second", ",.0f"),
    Quantity("peak_memory_mb", "peak memory (MB)", ",.0f"),
    *OF_MACHINE.values(),
)
