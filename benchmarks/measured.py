"""What is measured of one candidate, in its own process."""

import ctypes
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate
from benchmarks.networks import Workload


class Measured:
    """A candidate that has trained: its facts are known, its code is warm, its times can be taken.

    Attributes:
        facts: `precision`; of the first step `first_step_ms`, which includes what is compiled, `loss`, `nfe_forward`
            and `nfe_backward`; of the second `memory_mb`.
        gradient: after the first step, as `Trainable.gradient`.
    """

    def __init__(self, workload: Workload, candidate: Candidate) -> None:
        self._trainable = candidate(workload)
        first = asdict(self._trainable.step())
        self.gradient = self._trainable.gradient()
        self.facts: dict[str, Any] = {
            "precision": self._trainable.precision,
            "first_step_ms": first.pop("train_ms"),
            **first,
            "memory_mb": self._growth_mb(),
        }
        self._trainable.inference_ms()

    def describe(self) -> tuple[dict[str, Any], np.ndarray]:
        """The facts and the gradient."""
        return self.facts, self.gradient

    def train_ms(self) -> float:
        return self._trainable.step().train_ms

    def inference_ms(self) -> float:
        return self._trainable.inference_ms()

    def _growth_mb(self) -> float:
        """How far the process grows in a step, at its highest: not the first, which leaves compiled code behind."""
        ctypes.CDLL(None).malloc_trim(0)  # what the last step freed counts anew
        before = memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high water mark begins anew
        self._trainable.step()
        return memory_mb("VmHWM") - before


def memory_mb(key: str) -> float:
    """VmRSS, the memory in use, or VmHWM, its high water mark."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024
