"""What each candidate makes of a workload."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Precision = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True)
class Step:
    """One forward and backward pass; evaluations are those of the field, or fields."""

    train_ms: float
    nfe_forward: int
    nfe_backward: int
    loss: float


class Trainable(Protocol):
    """A network and its batch in one process, ready to be timed."""

    precision: Precision

    def step(self) -> Step:
        """Forward and backward once."""

    def inference_ms(self) -> float:
        """Forward once, without gradients."""

    def gradient(self) -> np.ndarray:
        """Of the fields' parameters after a step, in float64 and torch's order; none for a residual network."""
