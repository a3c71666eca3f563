"""Integration through torchdiffeq."""

from collections.abc import Callable
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from pipeline.config import SolverConfig
from pipeline.errors import InvalidInput
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
        t1: end time, above 0 and finite in the dtype of `z0`.

    Returns:
        z(t1) with the shape and dtype of `z0`, and the solve's statistics.

    Raises:
        InvalidInput: an end time that cannot be.
        SolverFailure: step size underflow, step limit or a non-finite state, here or later in the backward pass.

    Source: Chen et al. 2018, section 2 and appendix C; their library torchdiffeq solves. Its `rk4` is Kutta's
    3/8 rule.
    """
    times = torch.tensor([0.0, t1], dtype=z0.dtype)
    if not 0 < times[1] < inf:
        raise InvalidInput(f"the end time must be above 0 and finite in {z0.dtype}, not {t1}: change model.final_time")
    times = times.to(z0.device)
    fixed_steps = solver.method in FIXED_STEP_METHODS
    monitored: MonitoredField
    options: dict[str, Any]
    if fixed_steps:
        monitored = MonitoredField(field, t1, solver.steps, z0.device.type)
        options = {"grid_constructor": _equal_steps(solver.steps)}
    else:
        monitored = AdaptiveMonitoredField(field, t1, solver.max_steps, z0.device.type)
        # The last step ends at the end time. By itself torchdiffeq steps past it and interpolates back with a quartic,
        # whose error no tolerance bounds: 600 times it for dopri8, for as many evaluations.
        options = {"step_t": times}
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
        options=options,
    )
    monitored.finish_forward(states[-1])
    if solver.gradient == "adjoint" and states.grad_fn is not None:
        states.grad_fn.register_hook(monitored.finish_backward)
    if fixed_steps:
        monitored.statistics.accepted = solver.steps
    return Solution(states[-1], monitored.statistics)


def _equal_steps(steps: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Exactly `steps` equal steps; torchdiffeq's own `step_size` may add one through rounding."""

    def grid(_field: nn.Module, _z0: Tensor, times: Tensor) -> Tensor:
        fractions = torch.linspace(0, 1, steps + 1, dtype=times.dtype, device=times.device)
        return torch.lerp(times[0], times[-1], fractions)

    return grid
