"""What the metrics of plug-ins give."""

from torch import Tensor

from pipeline.plugins import registry


def number_of(part: registry.Part, outputs: object, targets: object) -> float:
    """What a metric gives for all items of a split together.

    Raises:
        PluginError: no number.
    """
    given = part.build(_own(outputs), _own(targets))  # as it may write into them, and others come behind it
    try:
        return float(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise registry.PluginError(f"{part.where}: the metric {part.name} gives no number: {error}") from error


def _own(values: object) -> object:
    return values.clone() if isinstance(values, Tensor) else values
