"""Integration through torchdiffeq: the reference that our own engine is held against."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.methods import FIXED_STEP_METHODS
from pipeline.ode.field import VectorField
from pipeline.ode.monitor import AdaptiveMonitoredField, MonitoredField
from pipeline.ode.reads import read, sequence_number
from pipeline.ode.solution import Solution
from pipeline.ode.start import depend_on_each_other
from pipeline.ode.tolerance import PackedNorm
from pipeline.util.errors import InvalidInput

NAMES = {"heun": "adaptive_heun"}
"""Methods that torchdiffeq calls otherwise."""


def solve_with_torchdiffeq(
    field: VectorField, z0: Tensor, moments: Sequence[float], solver: SolverConfig, norm: PackedNorm | None
) -> Solution:
    """The solution as `pipeline.ode.integrate` says, with `auto` as `direct`, and with its own norm without another.

    Two methods differ from ours: its `rk4` is Kutta's 3/8 rule, and its Heun starts a step with the derivative at the
    predicted end of the last one.

    Source: Chen et al. 2018, section 2 and appendix C.
    """
    from torchdiffeq import odeint, odeint_adjoint  # with SciPy, half a second that our own engine does not need

    times = torch.tensor(moments, dtype=z0.dtype, device=z0.device)
    fixed_steps = solver.method in FIXED_STEP_METHODS
    if torch._C._functorch.peek_interpreter_stack() is not None and not (fixed_steps and solver.gradient != "adjoint"):
        raise InvalidInput(
            "torch.func around a solve goes with engine=torchdiffeq through steps of equal size alone, and not through "
            "the adjoint: use engine=odenet"
        )
    monitored: MonitoredField
    options: dict[str, Any]
    if fixed_steps:
        # The adjoint takes as many from each time to the one before.
        monitored = MonitoredField(field, times, solver.steps * (len(moments) - 1))
        options = {"grid_constructor": _equal_steps(solver.steps)}
    else:
        monitored = AdaptiveMonitoredField(field, times, solver.max_steps)
        # Steps end at the times. By itself torchdiffeq steps past them and interpolates back with a quartic,
        # whose error no tolerance bounds: 600 times it for dopri8, for as many evaluations.
        options = {"step_t": times}
        if norm is not None:
            options["norm"] = lambda z: norm(z).reshape(())
    adjoint: dict[str, Any] = {}
    if solver.gradient == "adjoint":
        monitored.statistics.nfe_backward = 0
        adjoint = {"adjoint_rtol": solver.adjoint_rtol, "adjoint_atol": solver.adjoint_atol}
        adjoint["adjoint_params"] = _read(monitored, field, times[0], z0)
    solve = odeint_adjoint if solver.gradient == "adjoint" else odeint
    states = solve(
        monitored,
        z0,
        times,
        rtol=solver.rtol,
        atol=solver.atol,
        method=NAMES.get(solver.method, solver.method),
        options=options,
        **adjoint,
    )
    monitored.finish_forward(states[-1])
    if solver.gradient == "adjoint" and states.grad_fn is not None:
        states.grad_fn.register_hook(monitored.finish_backward)
    if fixed_steps:
        monitored.statistics.accepted = solver.steps
    between = states[1:-1] if len(moments) > 2 else None
    return Solution(times.double().cpu(), field.layout, (z0, between, states[-1]), monitored.statistics)


def _read(monitored: MonitoredField, field: VectorField, t0: Tensor, z0: Tensor) -> tuple[Tensor, ...]:
    """What the adjoint is to give gradients: all that the field is known to read, and the leaves that a function reads.

    For these it is evaluated once more.

    Raises:
        InvalidInput: it reads what was computed from others, of which torchdiffeq's adjoint would not know.
    """
    if not torch.is_grad_enabled():
        return field.parameters
    leaves: list[Tensor] = []
    reads_outside = False
    if field.module is None:
        leaf, before, generators = z0.detach().requires_grad_(), sequence_number(), field.generators()
        with torch.random.fork_rng([z0.device] if z0.device.type == "cuda" else []), field.buffers_kept():
            leaves, reads_outside = read(monitored(t0, leaf), [leaf, *field.parameters], before)
        for generator, state in generators:
            generator.set_state(state)
    if reads_outside or depend_on_each_other(field.parameters):
        raise InvalidInput(
            "the field reads what an earlier computation gave, whose gradient gradient=adjoint with engine=torchdiffeq "
            "does not know of: name it in parameters= and nothing that it was computed from, or use gradient=direct"
        )
    return (*field.parameters, *leaves)


def _equal_steps(steps: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Exactly `steps` equal steps; torchdiffeq's own `step_size` may add one through rounding."""

    def grid(_field: nn.Module, _z0: Tensor, times: Tensor) -> Tensor:
        fractions = torch.linspace(0, 1, steps + 1, dtype=times.dtype, device=times.device)
        return torch.lerp(times[0], times[-1], fractions)

    return grid
