"""A layer whose output is the solution of an ODE that starts at its input."""

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.device.compilation import CompiledInTraining
from pipeline.ode.integrate import integrate
from pipeline.ode.solution import Statistics
from pipeline.ode.tolerance import RootMeanSquare

LARGEST_REUSED_STEP = 0.5
"""Share of the interval that a first step taken over from the last batch covers at most: given the whole of it, a step
may be accepted whose error the estimate does not see."""


class ODEBlock(CompiledInTraining):
    """z(0) -> z(T) of dz/dt = field(t, z), solved as `solver` says; keeps the statistics of the last solve.

    The state has float32 at least: rounded to bfloat16, as a layer under autocast hands it over, it would drown the
    solver's error estimate and its times.

    Attributes:
        implicit_zeros: elements of each sample's state that it does without: see `RootMeanSquare`.
        first_dt: with `solver.reuse_first_step`, what the next solve in training begins with; state of the training.
    """

    def __init__(self, field: nn.Module, final_time: float, solver: SolverConfig, implicit_zeros: int = 0) -> None:
        super().__init__()
        self.field = field
        self.final_time = final_time
        self.solver = solver
        self.implicit_zeros = implicit_zeros
        self.statistics = Statistics()
        self.first_dt: float | None = None

    def forward(self, z: Tensor) -> Tensor:
        state = z.to(torch.promote_types(z.dtype, torch.float32))
        reuses = self.solver.reuse_first_step and self.training
        first_dt = self.first_dt if reuses else None
        is_compiled = self.is_compiled_for(z)
        solution = integrate(
            self.field,
            state,
            (0.0, self.final_time),
            self.solver,
            norm=RootMeanSquare(self.implicit_zeros),
            first_dt=first_dt,
            is_compiled=is_compiled,
        )
        self.statistics = solution.statistics
        if reuses and self.statistics.proposed_dt is not None:
            self.first_dt = min(self.statistics.proposed_dt, LARGEST_REUSED_STEP * self.final_time)
        assert isinstance(solution.state, Tensor)
        return solution.state
