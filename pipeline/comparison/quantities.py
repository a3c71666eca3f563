"""What a comparison has a row for: the results of the runs' tasks, and what the runs cost."""

from dataclasses import dataclass

from pipeline.reporting.metric_spec import MetricSpec


@dataclass(frozen=True)
class Quantity:
    """A number of a run, and how it is shown."""

    name: str
    """In `ComparedRun.values`."""
    label: str
    """Of its row, with the unit in which it is shown."""
    format: str
    """Python's format specification."""
    factor: float = 1
    """To that unit."""

    @classmethod
    def of(cls, spec: MetricSpec) -> "Quantity":
        """The row of a metric; a share in per cent."""
        if spec.is_share:
            return cls(spec.quantity, f"{spec.heading} (%)", f"{spec.format[:-1]}f", 100)
        return cls(spec.quantity, spec.heading + (f" ({spec.unit})" if spec.unit else ""), spec.format)

    def text(self, value: float) -> str:
        return format(self.factor * value, self.format)


EPOCHS = Quantity("epochs", "epochs", ",.1f")
COST = (
    Quantity("parameters", "parameters", ",.0f"),
    Quantity("multiply_adds", "multiply-adds, one evaluation (M)", ",.2f", 1e-6),
    Quantity("multiply_adds_test", "multiply-adds, test, as solved (M)", ",.2f", 1e-6),
    Quantity("nfe_test", "evaluations, test", ",.1f"),
    Quantity("nfe_forward", "evaluations, training, forward", ",.1f"),
    Quantity("nfe_backward", "evaluations, training, backward", ",.1f"),
    Quantity("epoch_seconds", "seconds per epoch", ",.2f"),
    Quantity("training_seconds", "seconds of all epochs", ",.2f"),
    Quantity("images_per_second", "training images per second", ",.0f"),
    Quantity("peak_memory_mb", "peak memory (MB)", ",.0f"),
)
