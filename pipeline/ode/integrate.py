"""Integration through torchdiffeq."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from pipeline.config import SolverConfig
from pipeline.ode.monitor import AdaptiveMonitoredField, MonitoredField
from pipeline.ode.solution import Solution

FIXED_STEP_METHODS = ("euler", "midpoint", "rk4")


def integrate(field: nn.Module, z0: Tensor, t1: float, solver: SolverConfig) -> Solution:
    """Integrate dz/dt = field(t, z) from t = 0 to `t1`.

    With `solver.gradient` `direct`, gradients come from the operations of the solve itself (discretise, then
    optimise); with `adjoint`, from the adjoint ODE, solved backwards from z(t1) with the same method and tolerances
    (optimise, then discretise), whose evaluations are counted in `statistics.nfe_backward` as they happen.

    Args:
        field: called with t, a scalar tensor, and z, shaped as `z0`; returns dz/dt, shaped as `z0`.
        z0: state at t = 0, any shape, floating point; time has its dtype.
        t1: end time, above 0.

    Returns:
        z(t1) with the shape and dtype of `z0`, and the solve's statistics.

    Raises:
        SolverFailure: step size underflow, step limit or a non-finite state, here or later in the backward pass.

    Source: Chen et al. 2018, section 2 and appendix C; their library torchdiffeq solves. Its `rk4` is Kutta's
    3/8 rule.
    """
    fixed_steps = solver.method in FIXED_STEP_METHODS
    monitor = MonitoredField if fixed_steps else AdaptiveMonitoredField
    monitored = monitor(field, t1, solver.max_steps, z0.device.type)
    times = torch.tensor([0.0, t1], dtype=z0.dtype, device=z0.device)
    if solver.gradient == "adjoint":
        monitored.statistics.nfe_backward = 0
    solve = odeint_adjoint if solver.gradient == "adjoint" else odeint
    states = solve(
        monitored,
        z0,
        times,
        rtol=solver.rtol,
        atol=solver.atol,
        method=solver.method,
        options={"grid_constructor": _equal_steps(solver.steps)} if fixed_steps else None,
    )
    monitored.finish_forward(states[-1])
    if fixed_steps:
        monitored.statistics.accepted = solver.steps
    return Solution(states[-1], monitored.statistics)


def _equal_steps(steps: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Exactly `steps` equal steps; torchdiffeq's own `step_size` may add one through rounding."""

    def grid(_field: nn.Module, _z0: Tensor, times: Tensor) -> Tensor:
        fractions = torch.linspace(0, 1, steps + 1, dtype=times.dtype, device=times.device)
        return torch.lerp(times[0], times[-1], fractions)

    return grid
