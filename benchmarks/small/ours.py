"""A problem in our engine's hands."""

import inspect
import os
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from benchmarks.small.problems import Problem, State
from benchmarks.small.subject import TorchSubject
from pipeline.config import SolverConfig
from pipeline.device.host_memory import keep_freed_memory
from pipeline.ode import Statistics, integrate

HAS_OUTPUT_TIMES = "times" in inspect.signature(integrate).parameters
"""Whether the engine solves for several times, in either direction, and for states in parts."""


def solved(
    field: nn.Module, start: State, times: Tensor, solver: SolverConfig, is_compiled: bool
) -> tuple[State, Statistics]:
    """The states at `times`, and the solve's statistics, in which evaluations of the backward pass are counted later.

    All that is known here of the engine's interface.
    """
    call: Any = integrate
    if HAS_OUTPUT_TIMES:
        solution = call(field, start, times, solver, is_compiled=is_compiled)
        return solution.states, solution.statistics
    solution = call(field, start, float(times[-1]), solver, None, is_compiled)
    return solution.state[None], solution.statistics


class Ours(TorchSubject):
    """Solved as `solver` says, at the problem's tolerance."""

    def __init__(self, problem: Problem, is_compiled: bool = False, **solver: Any) -> None:
        super().__init__(problem)
        keep_freed_memory()  # as our training does, and others leave to their users
        self._solver = SolverConfig(rtol=self.tolerance, atol=self.tolerance, **solver)
        self._is_compiled = is_compiled
        if is_compiled:
            self._code = TemporaryDirectory()  # of this process alone: the first step finds nothing compiled before
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = self._code.name
        self._statistics = Statistics()

    def solve(self) -> State:
        states, self._statistics = solved(self.field, self.start, self.times, self._solver, self._is_compiled)
        return states

    def evaluations(self) -> tuple[int, int]:
        self.step()
        return self._statistics.nfe_forward, self._statistics.nfe_backward or 0
