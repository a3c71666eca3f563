"""Solving so that gradients come back."""

from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor

from pipeline.config import SolverConfig
from pipeline.device.host_memory import available_memory
from pipeline.device.random_state import set_random_state
from pipeline.ode.field import VectorField
from pipeline.ode.guard import warn_of_rounding
from pipeline.ode.solution import Solution, Statistics
from pipeline.ode.solve import Problem, solve
from pipeline.ode.step import Norm, root_mean_square, scalar
from pipeline.ode.step_functions import StepFunctions
from pipeline.ode.trajectory import GradientPath, Segment, Trajectory
from pipeline.util.errors import OdenetError

SHARE_OF_FREE_MEMORY = 1 / 3
"""What `auto` lets the graphs of one solve take of the memory that is free when it begins.

The rest is for what is not counted: on a CPU a process grew by two bytes for each byte of graphs (docs/performance.md).
"""


def solve_with_gradients(
    field: VectorField,
    z0: Tensor,
    t1: float,
    solver: SolverConfig,
    first_dt: float | None,
    functions: StepFunctions,
    zeros: int,
) -> Solution:
    """z(t1), from which gradients flow to `z0` and to the field's parameters as `solver.gradient` says.

    Args:
        zeros: so many were left out of `z0`; errors are averaged over them too.
    """
    norm = partial(root_mean_square, zeros=zeros)
    problem = Problem(field, t1, solver, solver.rtol, solver.atol, norm, "forward", first_dt, functions)
    statistics = Statistics(attempts=problem.attempts)
    wanted = torch.is_grad_enabled() and (z0.requires_grad or bool(field.parameters))
    if solver.gradient in ("checkpointed", "adjoint"):
        statistics.nfe_backward = 0
    if not wanted:
        with torch.no_grad():
            state = solve(problem, z0, Trajectory())
    elif solver.gradient == "adjoint":
        state = _Adjoint.apply(z0, problem, field, statistics, *field.parameters)
    else:
        state = _Discrete.apply(z0, problem, field, statistics, *field.parameters)
    warn_of_rounding(field, solver, [(problem.slope, problem.attempts)])
    statistics.nfe_forward, statistics.proposed_dt = problem.nfe, problem.proposed_dt
    statistics.accepted = sum(attempt.accepted for attempt in problem.attempts)
    statistics.rejected = len(problem.attempts) - statistics.accepted
    return Solution(state, statistics)


def graph_bytes(solver: SolverConfig, device: torch.device) -> float:
    """Memory that the graphs of a solve may keep."""
    if solver.gradient == "direct":
        return inf
    if solver.gradient == "checkpointed":
        return 0
    return SHARE_OF_FREE_MEMORY * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes that the device can still give."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return available_memory()


class _Discrete(torch.autograd.Function):
    """Gradients of the accepted steps, at the sizes that they had: discretise, then optimise.

    Each step is one segment of the backward pass; those whose graph was not kept are evaluated again there, which
    on a CPU changes no bit of the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, z0: Tensor, problem: Problem, field: VectorField, statistics: Statistics, *parameters: Tensor
    ) -> Tensor:
        path = GradientPath(z0.device, parameters, graph_bytes(problem.solver, z0.device))
        with torch.enable_grad():
            state = solve(problem, z0, path)
        ctx.problem, ctx.field, ctx.statistics, ctx.segments = problem, field, statistics, path.segments
        return state.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        field, parameters = ctx.field, ctx.field.parameters
        sums: list[Tensor | None] = [None] * len(parameters)
        with field.buffers_kept():
            for segment in reversed(ctx.segments):
                end = segment.end
                segment.end = None  # frees the graph as soon as it was walked
                if end is None:
                    end = _built_again(segment, ctx.problem, field)
                    nfe = ctx.problem.tableau.advancing_stages
                    ctx.statistics.nfe_backward = (ctx.statistics.nfe_backward or 0) + nfe
                gradient, *shares = torch.autograd.grad(end, (segment.z, *parameters), gradient, allow_unused=True)
                sums = [sum_of(total, share) for total, share in zip(sums, shares, strict=True)]
        return gradient, None, None, None, *sums


def refuse_second_derivatives() -> None:
    """In a backward pass that is itself to be differentiated, which would go wrong in silence."""
    # Gradients are recorded in a backward pass where it is asked for with create_graph=True alone.
    if torch.is_grad_enabled():
        raise OdenetError(
            "the gradient of a solve cannot be differentiated again (create_graph=True): use solver.engine=torchdiffeq "
            "with solver.gradient=direct"
        )


def sum_of(total: Tensor | None, share: Tensor | None) -> Tensor | None:
    """Of two gradients, None being nothing."""
    if total is None or share is None:
        return share if total is None else total
    return total + share


def _built_again(segment: Segment, problem: Problem, field: VectorField) -> Tensor:
    """z(t + dt) with its graph, of the same random numbers."""
    device = segment.z.device
    gpus = [device] if device.type == "cuda" else []
    with torch.enable_grad(), torch.random.fork_rng(gpus), field.precision():
        set_random_state(segment.random_first, device)
        t, dt = scalar(segment.t, segment.z), scalar(segment.dt, segment.z)
        first = problem.functions.evaluate(field, t, segment.z)
        set_random_state(segment.random_stages, device)
        return problem.functions.advance(field, problem.tableau, t, dt, segment.z, first)[0]


class _Adjoint(torch.autograd.Function):
    """Gradients from the adjoint ODE, solved backwards from z(t1): optimise, then discretise."""

    @staticmethod
    def forward(
        ctx: Any,
        z0: Tensor,
        problem: Problem,
        field: VectorField,
        statistics: Statistics,
        *parameters: Tensor,  # noqa: ARG004
    ) -> Tensor:
        state = solve(problem, z0, Trajectory())
        ctx.problem, ctx.field, ctx.statistics = problem, field, statistics
        ctx.save_for_backward(state)
        return state

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        (state,) = ctx.saved_tensors
        forward, field, statistics = ctx.problem, ctx.field, ctx.statistics
        solver = forward.solver
        problem = Problem(
            _AdjointField(field, forward.t1, state),
            forward.t1,
            solver,
            solver.adjoint_rtol or solver.rtol,
            solver.adjoint_atol or solver.atol,
            _seminorm(state.numel(), forward.norm),
            "backward",
        )
        nothing = state.new_zeros(sum(p.numel() for p in field.parameters))
        try:
            with field.buffers_kept():
                solved = solve(problem, torch.cat([state.flatten(), gradient.flatten(), nothing]), Trajectory())
        finally:
            statistics.nfe_backward += problem.nfe
        _, by_state, by_parameters = solved.split([state.numel(), state.numel(), len(nothing)])
        shares = by_parameters.split([p.numel() for p in field.parameters])
        by_parameter = [share.view_as(p).to(p.dtype) for share, p in zip(shares, field.parameters, strict=True)]
        return by_state.view_as(state), None, None, None, *by_parameter


class _AdjointField:
    """What the state, its adjoint and the parameters' gradients do in reversed time s = t1 - t, as one flat vector.

    d(z, a, g)/ds = (-f, a ∂f/∂z, a ∂f/∂parameters).
    """

    def __init__(self, field: VectorField, t1: float, state: Tensor) -> None:
        self.field = field
        self.t1 = t1
        self.shape = state.shape

    def __call__(self, s: Tensor, flat: Tensor) -> Tensor:
        size = self.shape.numel()
        z = flat[:size].view(self.shape).detach().requires_grad_()
        adjoint = flat[size : 2 * size].view(self.shape)
        with torch.enable_grad():
            derivative = self.field(self.t1 - s, z)
        inputs = (z, *self.field.parameters)
        shares = torch.autograd.grad(derivative, inputs, adjoint, allow_unused=True, materialize_grads=True)
        return torch.cat([-derivative.detach().flatten(), *(share.to(flat.dtype).flatten() for share in shares)])


def _seminorm(size: int, norm: Norm) -> Norm:
    """The larger of the norms of the first `size` elements and of the next.

    The state and its adjoint decide about the steps; the parameters' gradients, which nothing depends on, do not, as
    long as they are finite.

    Source: Kidger, Chen & Lyons 2021, "Hey, that's not an ODE": Faster ODE Adjoints via Seminorms.
    """

    def seminorm(flat: Tensor) -> Tensor:
        found = torch.maximum(norm(flat[:size]), norm(flat[size : 2 * size]))
        return found + 0 * flat[2 * size :].sum()

    return seminorm
