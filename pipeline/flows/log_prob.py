"""What a density says of points."""

from dataclasses import dataclass, field

from torch import Tensor

from pipeline.ode import Statistics


@dataclass(frozen=True)
class LogProb:
    """
    Attributes:
        value: log-density of each point in nats, shape (n,).
        statistics: of the solve; None for a density without one.
        penalties: by name the integral of each along every point's path, shape (n,); of flows in training that have
            some.
    """

    value: Tensor
    statistics: Statistics | None = None
    penalties: dict[str, Tensor] = field(default_factory=dict)
