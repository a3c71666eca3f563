"""A problem in our engine's hands."""

import os
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any, cast

from torch import nn

from benchmarks.small.problems import Problem, State
from benchmarks.small.subject import TorchSubject
from pipeline.config import SolverConfig
from pipeline.device.host_memory import keep_freed_memory
from pipeline.ode import Statistics, StepGraphs, integrate


class Ours(TorchSubject):
    """Solved as `solver` says, at the problem's tolerance.

    Args:
        written: makes of the field another that computes the same in its way.
        has_graphs: launch the steps as CUDA graphs.
    """

    def __init__(
        self,
        problem: Problem,
        is_compiled: bool = False,
        written: Callable[[Any], nn.Module] = lambda field: field,
        has_graphs: bool = False,
        **solver: Any,
    ) -> None:
        super().__init__(problem)
        self._written = written(self.field)
        keep_freed_memory()  # as our training does, and others leave to their users
        self._solver = SolverConfig(rtol=self.tolerance, atol=self.tolerance, **solver)
        self._is_compiled = is_compiled
        if is_compiled:
            self._code = TemporaryDirectory()  # of this process alone: the first step finds nothing compiled before
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = self._code.name
        self._graphs = StepGraphs() if has_graphs else None
        self._statistics = Statistics()

    def solve(self) -> State:
        compiled, graphs = self._is_compiled, self._graphs
        solution = integrate(self._written, self.start, self.times, self._solver, is_compiled=compiled, graphs=graphs)
        self._statistics = solution.statistics
        return cast("State", solution.states)

    def evaluations(self) -> tuple[int, int]:
        self.step()
        return self._statistics.nfe_forward, self._statistics.nfe_backward or 0
