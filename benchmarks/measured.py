"""What is measured of one candidate, in its own process."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.networks import Workload
from pipeline.host_memory import give_back_freed_memory


class Measured:
    """A candidate that has trained: its facts are known, its code is warm, its times can be taken.

    Attributes:
        facts: `precision`; of the first step `first_step_ms`, which includes what is compiled; of the third, which is
            as those that follow it even where a first step is reused, `memory_mb`, `loss`, `nfe_forward` and
            `nfe_backward`.
        gradient: after the third step, as `Trainable.gradient`.
    """

    def __init__(self, workload: Workload, candidate: Candidate) -> None:
        self._trainable = candidate(workload)
        self.facts: dict[str, Any] = {
            "precision": self._trainable.precision,
            "first_step_ms": self._trainable.step().train_ms,
        }
        self._trainable.step()
        growth_mb, third = self._step_and_growth_mb()
        self.facts |= asdict(third) | {"memory_mb": growth_mb}
        del self.facts["train_ms"]
        self.gradient = self._trainable.gradient()
        self._trainable.inference_ms()
        give_back_freed_memory()

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
        give_back_freed_memory()
        return milliseconds

    def _step_and_growth_mb(self) -> tuple[float, Step]:
        """How far the process grows in a step, at its highest: not the first, which leaves compiled code behind."""
        give_back_freed_memory()  # what the last step freed counts anew
        before = memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high water mark begins anew
        step = self._trainable.step()
        return memory_mb("VmHWM") - before, step


def memory_mb(key: str) -> float:
    """VmRSS, the memory in use, or VmHWM, its high water mark."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024
