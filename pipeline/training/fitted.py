"""What a training came to."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.training.callback import Metrics


@dataclass
class Fitted:
    """What training came to; `model` then has the weights of `best_epoch`."""

    best_epoch: int
    stopped_early: bool
    compile_seconds: float | None = None
    """Of this process; None where everything ran eagerly."""
    history: list[Metrics] = field(default_factory=list)
    """One row an epoch: `epoch`, `training.loss`, `validation.accuracy`, `solver.nfe_forward`, …"""
    batch_losses: list[float] = field(default_factory=list)
    batch_nfe_forward: list[int] = field(default_factory=list)
    batch_nfe_backward: list[int] = field(default_factory=list)
    batch_rejected: list[int] = field(default_factory=list)
    """Rejected steps, as the evaluations summed over the ODE blocks."""
    batch_error_ratio: list[float] = field(default_factory=list)
    """The largest of an accepted step."""
    batch_nfe_per_image: list[float] = field(default_factory=list)
    """Mean evaluations that an image took part in, where each has steps of its own."""
    first_solves: list[list[dict[str, Any]]] = field(default_factory=list)
    """Of the first training batch, each ODE block's attempted steps in their order: `t`, `dt`, `error_ratio`,
    `accepted`."""
    last_solves: list[list[dict[str, Any]]] = field(default_factory=list)
    """The same of the last training batch."""
