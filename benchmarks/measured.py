"""What is measured of one candidate, in its own process."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate
from benchmarks.device import growth_mb, leave_memory
from benchmarks.networks import Workload


class Measured:
    """A candidate that has trained: its facts are known, its code is warm, its times can be taken.

    Attributes:
        facts: `precision`; of the first step `first_step_ms`, which includes what is compiled; of the third, which is
            as those that follow it even where a first step is reused, `memory_mb`, `loss`, `nfe_forward` and
            `nfe_backward`.
        gradient: after the third step, as `Trainable.gradient`.
    """

    def __init__(self, workload: Workload, candidate: Candidate) -> None:
        self._device = workload.device
        self._trainable = candidate(workload)
        self.facts: dict[str, Any] = {
            "precision": self._trainable.precision,
            "first_step_ms": self._trainable.step().train_ms,
        }
        self._trainable.step()
        # Not of the first step, which leaves compiled code behind.
        memory_mb, third = growth_mb(self._device, self._trainable.step)
        self.facts |= asdict(third) | {"memory_mb": memory_mb}
        del self.facts["train_ms"]
        self.gradient = self._trainable.gradient()
        self._trainable.inference_ms()
        leave_memory(self._device)

    def describe(self) -> tuple[dict[str, Any], np.ndarray]:
        """The facts and the gradient."""
        return self.facts, self.gradient

    def train_ms(self) -> float:
        """Of a step that follows another."""
        return self._after_another(lambda: self._trainable.step().train_ms)

    def inference_ms(self) -> float:
        """Of a pass that follows another."""
        return self._after_another(self._trainable.inference_ms)

    def _after_another(self, measure: Callable[[], float]) -> float:
        measure()  # the first one takes anew the memory that was left to the other candidates
        milliseconds = measure()
        leave_memory(self._device)
        return milliseconds
