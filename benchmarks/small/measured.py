"""What is measured of one candidate on a small field, in its own process and on one thread."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from math import ceil
from typing import Any

import numpy as np
import torch

from benchmarks.small.candidates import Candidate
from benchmarks.small.problems import Problem
from benchmarks.worker import Worker, take_turns, use_threads

TURN_S = 0.3
"""How long a turn lasts, of which a sample is the mean: a step of these is too short to be timed alone."""


class Measured:
    """A candidate whose facts are known, whose code is warm, and whose times can be taken.

    Attributes:
        facts: `first_step_s`, on the clock and with what was compiled; `loss`, `nfe_forward` and `nfe_backward`;
            `steps_per_turn`.
        gradient: as `Subject.gradient`.
    """

    def __init__(self, problem: Problem, candidate: Candidate) -> None:
        use_threads(1)
        torch.set_num_threads(1)
        self._subject = candidate(problem)
        started = time.perf_counter()
        self._subject.step()
        self.facts: dict[str, Any] = {"first_step_s": time.perf_counter() - started}
        self.facts["loss"] = self._subject.step()
        self.gradient = self._subject.gradient()
        self.facts["nfe_forward"], self.facts["nfe_backward"] = self._subject.evaluations()
        self.facts["steps_per_turn"] = self._steps = max(1, ceil(1000 * TURN_S / self._cpu_ms(steps=3)))

    def describe(self) -> tuple[dict[str, Any], np.ndarray]:
        """The facts and the gradient."""
        return self.facts, self.gradient

    def cpu_ms(self) -> float:
        """Of a step, forward and backward; time in which the process had to wait does not count."""
        self._subject.step()  # the first one finds the caches with what others left there
        return self._cpu_ms(self._steps)

    def _cpu_ms(self, steps: int) -> float:
        started = time.process_time()
        for _ in range(steps):
            self._subject.step()
        return 1000 * (time.process_time() - started) / steps


def measure_in_turns(
    problem: Any, candidates: Mapping[str, Any], exact: np.ndarray, repeats: int
) -> dict[str, dict[str, Any]]:
    """Name -> facts, `gradient_error` against the exact gradient, and `cpu_ms` of each turn; a process for each."""
    results: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(Measured, problem, candidate)) for name, candidate in candidates.items()
        }
        for name, worker in workers.items():
            results[name], gradient = worker.ask("describe")
            results[name]["gradient_error"] = float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact))
        for name, samples in take_turns(workers, ["cpu_ms"], repeats).items():
            results[name] |= samples
    return results
