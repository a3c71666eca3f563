"""A layer whose output is the solution of an ODE that starts at its input."""

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode.integrate import integrate
from pipeline.ode.solution import Statistics


class ODEBlock(nn.Module):
    """z(0) -> z(T) of dz/dt = field(t, z), solved as `solver` says; keeps the statistics of the last solve.

    The state has float32 at least: rounded to bfloat16, as a layer under autocast hands it over, it would drown the
    solver's error estimate and its times.
    """

    def __init__(self, field: nn.Module, final_time: float, solver: SolverConfig) -> None:
        super().__init__()
        self.field = field
        self.final_time = final_time
        self.solver = solver
        self.statistics = Statistics()

    def forward(self, z: Tensor) -> Tensor:
        solution = integrate(
            self.field, z.to(torch.promote_types(z.dtype, torch.float32)), self.final_time, self.solver
        )
        self.statistics = solution.statistics
        return solution.state
