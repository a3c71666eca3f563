"""The way in."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import wraps
from math import inf
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils import parametrize

from pipeline.config import SolverConfig
from pipeline.ode import events
from pipeline.ode.adjoint import solve_with_adjoint
from pipeline.ode.control import Controller
from pipeline.ode.discrete import solve_recorded
from pipeline.ode.field import VectorField, modules_of, tensors_given
from pipeline.ode.guard import warn_of_rounding
from pipeline.ode.interpolant import Interpolant, Span
from pipeline.ode.loop import solve
from pipeline.ode.memory import budget, has_hooks_on_saved_tensors, is_small
from pipeline.ode.path import Path
from pipeline.ode.problem import Outcome, Problem
from pipeline.ode.reference import solve_with_torchdiffeq
from pipeline.ode.solution import Solution, Statistics
from pipeline.ode.start import first_of_a_whole_graph, start
from pipeline.ode.state import Layout, State
from pipeline.ode.stepping import DiagonallyImplicit, ExplicitRungeKutta, StepGraphs, method_named
from pipeline.ode.times import checked_knots, checked_times, legs, moved, together
from pipeline.ode.tolerance import Norm, RootMeanSquare, Tolerance, packed_norm
from pipeline.ode.vmap import refuse_vmap
from pipeline.util.errors import InvalidInput, brief

Field = Callable[..., Any]
EventFunction = Callable[[Tensor, State], Tensor]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def outside_of_graphs(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function before which torch.compile ends a graph, and begins another behind it: steps depend on values."""

    @wraps(function)
    def called(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        if torch.compiler.is_dynamo_compiling():
            return _never_compiled(function)(*arguments, **options)  # type: ignore[no-any-return]
        return function(*arguments, **options)

    return called


def _never_compiled(function: Callable[..., Any]) -> Any:
    return torch.compiler.disable(function)  # here, as it takes torch's compiler seconds to be imported


def _outside_of_inference(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function that leaves torch's inference mode, where a field that writes into its argument goes unnoticed."""

    @wraps(function)
    def called(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        if torch.is_inference_mode_enabled():
            functions = filter(callable, (*arguments, *options.values()))
            modules = {part for one in functions for part in modules_of(one)}
            # Buffers made in inference mode can be changed there alone.
            if not any(buffer.is_inference() for part in modules for buffer in part.buffers(recurse=False)):
                with torch.inference_mode(False), torch.no_grad():
                    return function(*arguments, **options)
        return function(*arguments, **options)

    return called


@outside_of_graphs
@_outside_of_inference
def integrate(
    field: Field,
    z0: State,
    times: Tensor | Iterable[Tensor | float],
    solver: SolverConfig = SolverConfig(),  # noqa: B008 - frozen
    *,
    norm: Norm = RootMeanSquare(),  # noqa: B008 - frozen
    parameters: Tensor | Iterable[Tensor] = (),
    context: Tensor | Iterable[Tensor] = (),
    knots: Iterable[float] = (),
    stops_at_times: bool = False,
    dense: bool = False,
    event: EventFunction | None = None,
    first_dt: float | None = None,
    is_compiled: bool = False,
    graphs: StepGraphs | None = None,
) -> Solution:
    """Integrate dz/dt = field(t, z) from `times[0]` through the others, in either direction.

    With `solver.gradient` `direct`, gradients are torch's own of the accepted steps at the sizes that they had: that a
    step size depends on the state is not differentiated (discretise, then optimise). They reach whatever the field
    reads, and can be differentiated again. `checkpointed` gives the same from one state a step, `recursive` from the
    start alone (a logarithm of the number of steps at a time); steps are evaluated again in the backward pass. `auto`
    keeps the graphs of as many steps as fit into a third of the free memory, and evaluates the others again, which on a
    CPU changes no bit of the gradient; where the field reads results of earlier computations that are not named in
    `parameters`, and within torch.utils.checkpoint or other hooks on what graphs save, it does as `direct`. With
    `adjoint` gradients come from the adjoint ODE, solved backwards (optimise, then discretise).

    With `solver.control=sample` each sample of the batch, the first dimension, has its own error and its own steps, and
    gradients are computed as with `checkpointed`. A field that draws random numbers, or in training normalises over
    the batch, cannot be differentiated then: its steps could not be repeated for some samples alone.

    Args:
        field: a module or a function, called with t, a scalar tensor, z, and the context; returns dz/dt in the form of
            z. With `control=sample` t has the shape (n, 1, …, 1) for the n samples that are on their way, of as many
            dimensions as the state, or its part with the most. A module may have a method `at_times(times)`: for times
            of shape (stages,), or (stages, n), it returns what depends on time alone, an entry a stage, computed once a
            step; the field gets its entry behind z.
        z0: state at `times[0]`: a tensor, or a tuple or dictionary of them, real or complex; float32 or float64.
        times: strictly monotone, of shape (n,) or a sequence of numbers and tensors of one; gradients reach them too.
        norm: of errors: which parts count, and how.
        parameters: one tensor or several beside the field's own that it reads and that gradients are to reach; leaves
            are found without being named.
        context: one tensor or several given to the field behind z, with `control=sample` the rows of its samples.
        knots: times at which the field jumps; steps end there.
        stops_at_times: end steps at the times, instead of reading the states there off the continuous extension.
        dense: keep the solution as a function of time (`Solution.interpolant`).
        event: a function of t and z whose change of sign ends the solve.
        first_dt: length of the first step of an adaptive method; estimated without it.
        is_compiled: compute the steps by compiled functions, where `solver.can_be_compiled`.
        graphs: launch the parts of the steps as CUDA graphs, which are recorded there, where `solver.can_be_compiled`.

    Returns:
        The states at the times, of the form and dtype of `z0`, and the solve's statistics; evaluations of the backward
        pass are counted there as they happen.

    Raises:
        InvalidInput: what cannot be solved, and what does not go together.
        SolverFailure: step size underflow, step limit, a non-finite state or an implicit step that cannot be solved,
            here or later in the backward pass.

    Source: Chen et al. 2018, section 2, for networks of this kind; the sources of the parts are beside them.
    """
    _refuse_contradictions(field, solver, norm, dense, event)
    times, knots = together(times), checked_knots(knots)
    parameters, context = tensors_given("parameters", parameters), tensors_given("context", context)
    if solver.engine == "torchdiffeq":
        _refuse_beside_torchdiffeq(times, knots, stops_at_times, first_dt)
    if first_dt is not None and not 0 < first_dt < inf:
        raise InvalidInput(f"the first step is {first_dt:g} long: give a length above 0, whichever way time goes")
    layout = Layout(z0, per_sample=solver.control == "sample")
    packed = layout.pack(z0)
    if packed.is_inference() or dense:
        packed = packed.clone()  # the caller may write into it
    moments = checked_times(times, packed.dtype)
    moving_times = _moving(times)
    vector_field = VectorField(field, layout, packed.device, parameters, context)
    refuse_vmap((packed, *vector_field.parameters))
    tolerance = Tolerance(solver.rtol, solver.atol, packed_norm(norm, layout, layout.samples))
    can_be_compiled = solver.can_be_compiled
    method = method_named(solver.method, is_compiled and can_be_compiled, graphs if can_be_compiled else None)
    interpolant = Interpolant(layout, method, moments[0], moments[-1]) if dense else None
    if packed.numel() == 0:
        return _nothing(moments, layout, packed, interpolant)
    if solver.engine == "torchdiffeq":
        own = None if norm == RootMeanSquare() and layout.is_plain else tolerance.norm
        return solve_with_torchdiffeq(vector_field, packed, moments, solver, own)
    problem = Problem(
        vector_field,
        method,
        tolerance,
        Controller(method.error_order, solver.controller),
        legs(moments, knots, stops_at_times, packed.dtype),
        solver.control == "sample",
        equal_steps=solver.steps if method.error_order is None else None,
        max_steps=None if method.error_order is None else solver.max_steps,
        first_dt=first_dt,
        event=None if event is None else lambda t, z: event(t, layout.unpack(z)),
    )
    statistics = Statistics()
    began = packed if moving_times is None else _with_moving_start(problem, solver, moving_times[0], packed)
    outcome = _solve(problem, solver, began, moments, knots, statistics, interpolant)
    _count(statistics, 0 if moving_times is None else 1)
    warn_of_rounding(problem, packed, outcome, statistics)
    return _solution(problem, solver, outcome, moments, moving_times, packed, statistics, interpolant)


def refuse_no_solver(solver: object) -> None:
    """One of another form, such as a method's name.

    Raises:
        InvalidInput: it is no `SolverConfig`.
    """
    if not isinstance(solver, SolverConfig):
        raise InvalidInput(
            f"the solver is {brief(solver)}: give a SolverConfig, as SolverConfig(method='rk4', steps=8)"
        )


def _refuse_contradictions(
    field: Field, solver: SolverConfig, norm: Norm, dense: bool, event: EventFunction | None
) -> None:
    refuse_no_solver(solver)
    if not callable(field):
        raise InvalidInput(f"the field is a {type(field).__name__}: give a module or a function of t and z")
    if not (event is None or callable(event)):
        raise InvalidInput(
            f"the event is {brief(event)}: give one function of t and z; of several events one that returns the product"
        )
    if not (isinstance(norm, RootMeanSquare) or callable(norm)):
        raise InvalidInput(f"the norm is {brief(norm)}: give a RootMeanSquare, or a function of a state")
    asked = [name for name, wanted in (("dense=True", dense), ("an event", event is not None)) if wanted]
    if asked and solver.control == "sample":
        raise InvalidInput(f"{asked[0]} does not go with control=sample: use control=batch")
    if asked and solver.engine == "torchdiffeq":
        raise InvalidInput(f"{asked[0]} does not go with engine=torchdiffeq: use engine=odenet")
    if dense and torch.is_grad_enabled() and solver.gradient not in ("auto", "direct"):
        raise InvalidInput(f"dense=True keeps the graphs of all steps, as gradient=direct does, not {solver.gradient}")


def _refuse_beside_torchdiffeq(
    times: Tensor | Sequence[float], knots: Sequence[float], stops_at_times: bool, first_dt: float | None
) -> None:
    """What is not handed on to it, and would be left out in silence."""
    asked = {
        "knots": len(knots) > 0,
        "stops_at_times=True": stops_at_times,
        "first_dt": first_dt is not None,
        "a gradient of the times": _moving(times) is not None,
    }
    for name in (name for name, is_asked in asked.items() if is_asked):
        raise InvalidInput(f"{name} does not go with engine=torchdiffeq: use engine=odenet, or leave it out")


def _moving(times: Tensor | Sequence[float]) -> Tensor | None:
    """The times, shape (n,), where gradients are to reach them.

    Raises:
        InvalidInput: tangents, or gradients of `torch.func`, which would not.
    """
    if not isinstance(times, Tensor):
        return None
    is_dual = forward_ad._current_level >= 0 and forward_ad.unpack_dual(times).tangent is not None
    if is_dual or torch._C._functorch.is_gradtrackingtensor(times):
        raise InvalidInput(
            "torch.func and torch.autograd.forward_ad do not differentiate a solve with respect to its times: use "
            "torch.autograd.grad, or detach the times"
        )
    return times.reshape(-1) if times.requires_grad and torch.is_grad_enabled() else None


def _is_transformed(problem: Problem, solver: SolverConfig) -> bool:
    """Whether the solve is within a transform of `torch.func` or carries tangents forward.

    The graph of all steps alone lets these through, and what the field reads may be transformed where nothing else is.

    Raises:
        InvalidInput: another gradient that was asked for, or what is differentiated within the solve.
    """
    gradient = solver.gradient
    if torch._C._functorch.peek_interpreter_stack() is None and forward_ad._current_level < 0:
        return False
    asked = "an event" if problem.event is not None else f"method={solver.method}"
    if problem.event is not None or isinstance(problem.method, DiagonallyImplicit):
        raise InvalidInput(
            f"torch.func and torch.autograd.forward_ad do not go through {asked}, which differentiates by itself: use "
            "torch.autograd.grad"
        )
    if gradient not in ("auto", "direct"):
        raise InvalidInput(
            f"torch.func and torch.autograd.forward_ad differentiate a solve with gradient=direct alone, not "
            f"{gradient}: use that"
        )
    return True


def _solve(
    problem: Problem,
    solver: SolverConfig,
    z0: Tensor,
    times: Sequence[float],
    knots: Sequence[float],
    statistics: Statistics,
    interpolant: Interpolant | None,
) -> Outcome:
    """The solution, with gradients as the solver is to compute them."""
    gradient = "checkpointed" if problem.per_sample and solver.gradient == "auto" else solver.gradient
    # Somebody else sees to the memory of graphs, as torch.utils.checkpoint does, or shares one among evaluations.
    if gradient == "auto" and (has_hooks_on_saved_tensors() or parametrize._cache_enabled):
        gradient = "direct"
    if _is_transformed(problem, solver):
        first = problem.method.evaluate(problem.field, problem.start_time(z0), z0)
        refuse_vmap([first])  # which goes over what the field reads
        return solve(problem, z0, Path(), statistics, first, interpolant=interpolant)
    if gradient in ("checkpointed", "recursive", "adjoint"):
        statistics.nfe_backward = 0
    if not torch.is_grad_enabled():
        return solve(problem, z0, Path(), statistics, interpolant=interpolant)
    if gradient == "direct" or interpolant is not None:
        return solve(problem, z0, Path(), statistics, interpolant=interpolant)
    if gradient == "auto" and is_small(z0):
        whole = first_of_a_whole_graph(problem, z0)
        if whole is not None:
            return solve(problem, z0, Path(), statistics, whole)
        _count(statistics, 1)
    uncut, problem = problem, replace(problem, field=problem.field.cut())
    began = start(problem, z0)
    if not (z0.requires_grad or began.field.parameters or began.reads_outside):
        with torch.no_grad():
            return solve(problem, z0, Path(), statistics, began.first.detach())
    if began.reads_outside and gradient != "auto":
        raise InvalidInput(
            f"the field reads what an earlier computation gave, whose gradient gradient={gradient} (control="
            f"{solver.control}) does not know of: name the tensors in parameters=, or in context= those that were "
            "computed from others that it reads, or use gradient=direct"
        )
    if began.reads_outside:
        began.before.put_back(z0.device)
        _count(statistics, 1)
        return solve(uncut, z0, Path(), statistics)
    if gradient == "adjoint":
        if not isinstance(problem.method, ExplicitRungeKutta):
            raise InvalidInput(f"gradient=adjoint does not go with method={solver.method}: use gradient=auto")
        own = Tolerance(solver.adjoint_rtol or solver.rtol, solver.adjoint_atol or solver.atol, problem.tolerance.norm)
        return solve_with_adjoint(problem, began, times, knots, own, statistics)
    memory = {"checkpointed": 0.0, "recursive": 0.0}.get(gradient)
    memory = budget(z0.device) if memory is None else memory
    return solve_recorded(problem, began, statistics, memory, gradient == "recursive")


def _count(statistics: Statistics, evaluations: int) -> None:
    """Evaluations beside those of the steps."""
    statistics.nfe_forward += evaluations
    if statistics.nfe_of_samples is not None:
        statistics.nfe_of_samples += evaluations


def _slope(problem: Problem, solver: SolverConfig, t: float, z: Tensor) -> Tensor:
    """dz/dt, which the gradients of times are made of; differentiated itself where second derivatives may be."""
    slope = problem.field(problem.column(t, z), z)
    return slope if solver.gradient in ("direct", "auto") else slope.detach()


def _with_moving_start(problem: Problem, solver: SolverConfig, t0: Tensor, z0: Tensor) -> Tensor:
    """`z0`, through which the gradient of the start time flows: dL/dt0 = -⟨a(t0), f(t0, z0)⟩."""
    return z0 - _slope(problem, solver, problem.t0, z0) * moved(t0).to(z0)


def _solution(
    problem: Problem,
    solver: SolverConfig,
    outcome: Outcome,
    moments: list[float],
    moving_times: Tensor | None,
    start: Tensor,
    statistics: Statistics,
    interpolant: Interpolant | None,
) -> Solution:
    field, layout, between, end = problem.field, problem.field.layout, outcome.between, outcome.end
    if interpolant is not None:
        end = end.clone()  # the caller may write into it, and it may be one of the slopes that the solution is made of
    event_time = None
    times = torch.tensor(moments, dtype=torch.float64)
    if outcome.event_time is not None:
        assert problem.event is not None
        passed = moments[: 1 if between is None else 1 + len(between)]
        times = torch.tensor([*passed, outcome.event_time], dtype=torch.float64)
        _count(statistics, 1)
        event_time, end = events.with_gradient(problem.event, field, outcome.event_time, end)
    if moving_times is not None:
        # dL/dt = ⟨∂L/∂z(t), f⟩, of the solution and not of the steps: those keep their sizes.
        changes = moved(moving_times).to(end)
        if event_time is None:
            _count(statistics, 1)
            end = end + _slope(problem, solver, moments[-1], end) * changes[-1]
        if between is not None:
            _count(statistics, len(between))
            pairs = zip(moments[1 : 1 + len(between)], between, strict=True)
            slopes = torch.stack([_slope(problem, solver, time, state) for time, state in pairs])
            between = between + slopes * changes[1 : 1 + len(between)].view(-1, *[1] * (between.dim() - 1))
    return Solution(times, layout, (start, between, end), statistics, interpolant, event_time)


def _nothing(moments: list[float], layout: Layout, packed: Tensor, interpolant: Interpolant | None) -> Solution:
    """Of an empty batch: as empty at every time."""
    statistics = Statistics()
    if layout.per_sample:
        statistics.nfe_of_samples = np.zeros(len(packed), np.int64)
    between = packed.unsqueeze(0).expand(len(moments) - 2, *packed.shape) if len(moments) > 2 else None
    if interpolant is not None:
        interpolant.add(Span(moments[0], moments[-1], packed.new_zeros(()), packed, []))
    times = torch.tensor(moments, dtype=torch.float64)
    return Solution(times, layout, (packed, between, packed), statistics, interpolant)
