"""The functions of torchdiffeq, with its signatures, solved by our integrator: a script changes its import.

What there is of torchdiffeq's arguments and is not here is refused by its name. Signatures and meanings are those of
torchdiffeq 0.2.5 (Chen 2018, https://github.com/rtqichen/torchdiffeq); `docs/from_torchdiffeq.md` says what differs.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.config.section import nearest
from pipeline.config.sections import SMALLEST_TOLERANCE
from pipeline.methods import FIXED_STEP_METHODS, METHODS, TABLEAUS
from pipeline.ode.field import tensors_given
from pipeline.ode.integrate import EventFunction, Field, integrate, outside_of_graphs
from pipeline.ode.solution import Solution, SolverFailure, Status
from pipeline.ode.state import State
from pipeline.ode.times import refuse_batched, together
from pipeline.ode.tolerance import Norm, RootMeanSquare
from pipeline.util.errors import InvalidInput, OdenetError

Tolerance = float | Tensor
Options = Mapping[str, Any]

RENAMED = {"adaptive_heun": "heun"}
"""Methods that torchdiffeq calls otherwise."""
ONLY_THERE = {
    "fehlberg2": "adaptive_heun or bosh3",
    "heun2": "midpoint, or adaptive_heun with tolerances",
    "heun3": "rk4, or bosh3 with tolerances",
    "explicit_adams": "dopri5 or dopri8",
    "implicit_adams": "dopri5 or dopri8, or for a stiff field kvaerno3",
    "fixed_adams": "dopri5 or dopri8, or for a stiff field kvaerno3",
    "scipy_solver": "dopri8, or for a stiff field kvaerno3",
}
"""Methods of torchdiffeq that are not here -> what to use for them."""

FAR = 1e30
"""How long an adaptive solve looks for its event: until steps, which grow where nothing happens, come there."""
STEPS_TO_AN_EVENT = 20_000
"""After so many an event is given up, where `max_num_steps` does not say more: torchdiffeq's number for equal steps,
whose adaptive solves would go on for ever."""
NO_LIMIT = 2**31 - 1
"""Of steps, torchdiffeq's default."""
DIVIDES = 1e-5
"""Relative difference up to which a step size, in the number format of the times, divides the solve."""

OPTIONS_OF_ADAPTIVE = ("norm", "first_step", "max_num_steps", "step_t", "jump_t", "dtype")
OPTIONS_OF_EQUAL_STEPS = ("step_size", "norm")
VALUES_OF_ADAPTIVE: Mapping[str, tuple[Any, str]] = {
    "safety": (0.9, "leave it out"),
    "ifactor": (10.0, "leave it out"),
    "dfactor": (0.2, "leave it out"),
    "min_step": (0, "bound the number of steps with max_num_steps"),
    "max_step": (math.inf, "make steps end at given times with step_t"),
}
"""Options of adaptive methods -> the one value that they have here, and what to do instead of another."""
VALUES_OF_EQUAL_STEPS: Mapping[str, tuple[Any, str]] = {
    "perturb": (False, "for a field that jumps use an adaptive method with jump_t"),
    "grid_constructor": (None, "give its grid as t, at each of whose times a step ends, and choose from the solution"),
}


@outside_of_graphs
def odeint(
    func: Field,
    y0: State,
    t: Tensor,
    *,
    rtol: Tolerance = 1e-7,
    atol: Tolerance = 1e-9,
    method: str | None = None,
    options: Options | None = None,
    event_fn: EventFunction | None = None,
) -> Any:
    """Solve dy/dt = func(t, y) from y(t[0]) = y0, with gradients of the steps themselves (`gradient=direct`).

    Args:
        func: a module or a function of t and y.
        y0: a tensor, or a tuple of them.
        t: times, ascending or descending, shape (n,); gradients reach them too.
        rtol, atol: of adaptive methods.
        method: `dopri5` without it; torchdiffeq's `dopri8`, `bosh3`, `adaptive_heun`, `euler`, `midpoint`, `rk4` (here
            the classical one, there the 3/8 rule), and those of `solver.method`.
        options: of the method: `first_step`, `max_num_steps`, `step_t`, `jump_t`, `norm`; of a fixed-step method
            `step_size`, which divides the solve. Without a step size one step is taken from each time to the next.
        event_fn: a function of t and y; the solve ends when one of its elements changes its sign. `t` then has two
            times, of which the second gives the direction alone.

    Returns:
        The states at the times, with a dimension for these in front, in the form of `y0`; with `event_fn` the time of
        the event, and the states at the start and there. Both carry the gradient of that time.

    Raises:
        InvalidInput: what is not there, by name, and what cannot be solved.
        SolverFailure: as `integrate`.
    """
    _refuse_callbacks(func)
    asked = _Asked.of(t, y0, method, options, event_fn)
    return asked.solve(func, y0, _solver(asked, rtol, atol, "direct"))


@outside_of_graphs
def odeint_adjoint(
    func: Field,
    y0: State,
    t: Tensor,
    *,
    rtol: Tolerance = 1e-7,
    atol: Tolerance = 1e-9,
    method: str | None = None,
    options: Options | None = None,
    event_fn: EventFunction | None = None,
    adjoint_rtol: Tolerance | None = None,
    adjoint_atol: Tolerance | None = None,
    adjoint_method: str | None = None,
    adjoint_options: Options | None = None,
    adjoint_params: Tensor | Iterable[Tensor] | None = None,
) -> Any:
    """As `odeint`, with gradients from the adjoint ODE (`gradient=adjoint`).

    Args:
        adjoint_rtol, adjoint_atol: of the backward solve; those of the forward solve without them.
        adjoint_method: that of the forward solve.
        adjoint_options: those of the forward solve, and `norm="seminorm"`, which is the norm of every backward solve.
        adjoint_params: the tensors that gradients are to reach beside `y0` and `t`; without it the parameters of a
            module, or the leaves that a function reads.
    """
    _refuse_callbacks(func)
    asked = _Asked.of(t, y0, method, options, event_fn)
    if asked.method not in TABLEAUS:
        raise InvalidInput(f"the adjoint ODE is not solved by method={asked.method}: use odeint, or an explicit method")
    if adjoint_method is not None and _own_method(adjoint_method) != asked.method:
        raise InvalidInput(
            f"adjoint_method={adjoint_method} is not method={asked.method}: the backward solve takes the method of the "
            "forward solve; leave adjoint_method out"
        )
    _check_adjoint_options(adjoint_options or {}, options or {}, asked.method)
    parameters = () if adjoint_params is None else tensors_given("adjoint_params", adjoint_params)
    field = func if adjoint_params is None else _without_other_parameters(func, parameters)
    return asked.solve(field, y0, _solver(asked, rtol, atol, "adjoint", adjoint_rtol, adjoint_atol), parameters)


@outside_of_graphs
def odeint_event(
    func: Field,
    y0: State,
    t0: Tensor,
    *,
    event_fn: EventFunction,
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """The time of an event after `t0`, or with `reverse_time` before it, and the states at the start and there.

    Args:
        odeint_interface: `odeint` or `odeint_adjoint`, both of which give the event's time its gradient.
        kwargs: of that function.
    """
    start = _exact(t0).reshape(-1)
    t = torch.cat([start, start.detach() + (-1.0 if reverse_time else 1.0)])
    event_time, states = odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
    return event_time, states


@dataclass(frozen=True)
class _Asked:
    """What the arguments come to for `integrate`.

    Attributes:
        times: to be solved for; with an event, from the start to where it is no longer looked for.
        returned: how the caller's times are held, as the event's time is then returned.
        event: scalar.
    """

    method: str
    times: Tensor
    returned: Tensor
    steps: int
    max_steps: int
    stops_at_times: bool
    norm: Norm
    knots: Sequence[float]
    first_dt: float | None
    event: EventFunction | None

    @classmethod
    def of(
        cls, t: Tensor, y0: State, method: str | None, options: Options | None, event_fn: EventFunction | None
    ) -> "_Asked":
        """Checked, with what is not there refused."""
        name, given = _own_method(method or "dopri5"), dict(options or {})
        has_equal_steps = name in FIXED_STEP_METHODS
        _check_options(given, name)
        times = _exact(t)
        refuse_batched(times, "the times of a solve")
        if times.dim() != 1:
            raise InvalidInput(f"t must have one dimension, not the shape {tuple(times.shape)}")
        knots = [float(time) for key in ("step_t", "jump_t") for time in _numbers(given.get(key))]
        step_size = given.get("step_size")
        size = None if step_size is None else abs(float(step_size))
        solved = times
        if event_fn is not None and not times.is_floating_point():
            raise InvalidInput(
                f"t is of {times.dtype}, in which the time of an event would be cut: give it as floating-point numbers "
                "(t.double())"
            )
        if event_fn is not None:
            solved = _until_an_event(times, name, size, knots)
        norm, first = given.get("norm"), given.get("first_step")
        limit = int(given.get("max_num_steps", NO_LIMIT if event_fn is None else STEPS_TO_AN_EVENT))
        return cls(
            method=name,
            times=solved,
            returned=times,
            steps=1 if size is None else _steps(solved, size),
            max_steps=min(limit * max(len(times) - 1, 1), NO_LIMIT),
            stops_at_times=has_equal_steps and size is None,
            norm=RootMeanSquare() if norm is None else _norm(norm),
            knots=knots,
            first_dt=None if first is None else float(first),
            event=None if event_fn is None else _one_event(event_fn, times[0], y0),
        )

    def solve(self, func: Field, y0: State, solver: SolverConfig, parameters: Sequence[Tensor] = ()) -> Any:
        """As torchdiffeq returns it."""
        if len(self.times) == 1:
            return _mapped(y0, lambda part: part.unsqueeze(0))
        solution = self._integrate(func, y0, solver, parameters)
        if self.event is None:
            return solution.states
        if solution.event_time is None and not any(part.numel() for part in _parts(y0)):
            raise InvalidInput("y0 is empty: no step is taken in which an event could happen")
        if solution.event_time is None:
            raise _no_event(float(self.times[-1]))
        return solution.event_time.to(self.returned), solution.states

    def _integrate(self, func: Field, y0: State, solver: SolverConfig, parameters: Sequence[Tensor]) -> Solution:
        try:
            return integrate(
                func,
                y0,
                self.times,
                solver,
                norm=self.norm,
                parameters=parameters,
                knots=self.knots,
                stops_at_times=self.stops_at_times,
                event=self.event,
                first_dt=self.first_dt,
            )
        except SolverFailure as failure:
            if self.event is None or failure.status != Status.STEP_LIMIT:
                raise
            raise _no_event(failure.t) from failure


def _no_event(t: float) -> OdenetError:
    return OdenetError(
        f"no event was seen until t = {t:g}, where the steps ran out: a larger max_num_steps looks further, or with a "
        "fixed-step method a larger step_size; a sign of event_fn that changes back within an eighth of a step is seen "
        "by shorter steps alone, as a fixed-step method with a small step_size takes them"
    )


def _solver(
    asked: _Asked,
    rtol: Tolerance,
    atol: Tolerance,
    gradient: Literal["direct", "adjoint"],
    adjoint_rtol: Tolerance | None = None,
    adjoint_atol: Tolerance | None = None,
) -> SolverConfig:
    return SolverConfig(
        method=asked.method,
        steps=asked.steps,
        max_steps=asked.max_steps,
        rtol=_tolerance("rtol", rtol),
        atol=_tolerance("atol", atol),
        gradient=gradient,
        adjoint_rtol=None if adjoint_rtol is None else _tolerance("adjoint_rtol", adjoint_rtol),
        adjoint_atol=None if adjoint_atol is None else _tolerance("adjoint_atol", adjoint_atol),
    )


def _own_method(name: str) -> str:
    """What a method of torchdiffeq is called here."""
    if name in ONLY_THERE:
        raise InvalidInput(f"method={name} is torchdiffeq's alone: use {ONLY_THERE[name]}")
    own = RENAMED.get(name, name)
    if own not in METHODS:
        known = sorted({*METHODS, *RENAMED})
        raise InvalidInput(f"unknown method {name}{nearest(str(name), known)}; there are {', '.join(known)}")
    return own


def _check_options(given: Options, method: str) -> None:
    has_equal_steps = method in FIXED_STEP_METHODS
    honoured = OPTIONS_OF_EQUAL_STEPS if has_equal_steps else OPTIONS_OF_ADAPTIVE
    fixed = dict(VALUES_OF_EQUAL_STEPS if has_equal_steps else VALUES_OF_ADAPTIVE)
    if has_equal_steps:
        between = "linear" if METHODS[method].order == 1 else "cubic"
        fixed["interp"] = (between, "leave it out, or make steps end at the times with step_size")
    for name, value in given.items():
        if name in fixed:
            only, instead = fixed[name]
            if not _same(value, only):
                raise InvalidInput(f"options: {name}={_shown(value)} is not supported, only {only}: {instead}")
        elif name not in honoured:
            known = (*honoured, *fixed)
            raise InvalidInput(
                f"options: method={method} has no {name}{nearest(str(name), known)}; there are {', '.join(honoured)}"
            )
    # Times are computed in double precision, at least as precise as any of these.
    if given.get("dtype", torch.float64) not in (torch.float64, torch.float32):
        raise InvalidInput(f"options: dtype={given['dtype']} is not supported: times are float64, leave it out")


def _check_adjoint_options(given: Options, forward: Options, method: str) -> None:
    _check_options({name: value for name, value in given.items() if name != "norm"}, method)
    for name, value in given.items():
        if name == "norm":
            if value != "seminorm":
                raise InvalidInput(
                    "adjoint_options: a norm of one's own is not supported: every backward solve has the seminorm; "
                    "leave norm out"
                )
        elif name in OPTIONS_OF_ADAPTIVE + OPTIONS_OF_EQUAL_STEPS and not _same(value, forward.get(name)):
            raise InvalidInput(
                f"adjoint_options: {name}={_shown(value)} is not that of options: the backward solve takes the options "
                "of the forward solve; leave it out"
            )


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor) or isinstance(other, Tensor):
        if value is None or other is None:
            return value is other
        return torch.equal(torch.as_tensor(value).double(), torch.as_tensor(other).double())
    return bool(value == other)


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or str(value)


def _tolerance(name: str, value: Any) -> float:
    """A number; one for each part or element is refused."""
    if isinstance(value, Sequence) or (isinstance(value, Tensor) and value.numel() != 1):
        raise InvalidInput(
            f"{name} for each part or element of the state is not supported: give one number, and weigh the parts by "
            "options={'norm': …}, a function of a state"
        )
    number = float(value)
    if not 0 <= number < math.inf:
        raise InvalidInput(f"{name}={number:g} is no tolerance: give a number above 0")
    return max(number, SMALLEST_TOLERANCE)


def _numbers(times: Any) -> list[float]:
    return [] if times is None else _exact(times).detach().double().reshape(-1).tolist()


def _exact(times: Any) -> Tensor:
    """As they are, or numbers in double precision."""
    held = together(times)
    return held if isinstance(held, Tensor) else torch.as_tensor(held, dtype=torch.float64)


def _steps(times: Tensor, size: float) -> int:
    """How many equal steps of this size lead from the first time to the last."""
    span = abs(float(times[-1].detach().double() - times[0].detach().double()))
    steps = round(span / size) if size > 0 else 0
    if steps < 1 or abs(steps * size - span) > DIVIDES * span:
        raise InvalidInput(
            f"options: step_size={size:g} does not divide the solve, which is {span:g} long: use "
            f"{span / max(steps, 1):g}, or give the ends of all steps as t, without a step_size"
        )
    return steps


def _until_an_event(times: Tensor, method: str, step_size: float | None, knots: Sequence[float]) -> Tensor:
    """From the start to where an event is no longer looked for."""
    if len(times) != 2:
        raise InvalidInput(
            f"with event_fn t has two times, the start and one that gives the direction, not {len(times)}"
        )
    if knots:
        raise InvalidInput("options: step_t and jump_t do not go with event_fn: solve from one time to the next")
    span = FAR
    if method in FIXED_STEP_METHODS:
        if step_size is None:
            raise InvalidInput(f"event_fn with method={method} needs options={{'step_size': …}}")
        span = STEPS_TO_AN_EVENT * step_size
    start = times[:1]
    return torch.cat([start, start.detach() + (span if times[1] > times[0] else -span)])


def _one_event(event_fn: EventFunction, t0: Tensor, y0: State) -> EventFunction:
    """The first of an event function's elements to change its sign, as one number."""
    with torch.no_grad():
        value = event_fn(t0, y0)
        if not isinstance(value, Tensor):
            raise InvalidInput(f"event_fn returned a {type(value).__name__}: return a tensor, whose sign changes")
        signs = torch.sign(value.to(t0))
    if signs.numel() == 1:
        return event_fn
    if bool((signs == 0).any()):
        raise InvalidInput("one of the elements of event_fn is 0 at the start: begin beside it, or leave it out")
    return lambda t, y: torch.min(event_fn(t, y) * signs)


def _norm(own: Callable[[Any], Any]) -> Norm:
    """A norm that may return a number."""

    def norm(state: State) -> Tensor:
        some = next(iter(_parts(state)))
        return torch.as_tensor(own(state)).to(some.real).abs()

    return norm


def _parts(state: State) -> Iterable[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    return state.values() if isinstance(state, Mapping) else state


def _mapped(state: State, function: Callable[[Tensor], Tensor]) -> State:
    if isinstance(state, Tensor):
        return function(state)
    if isinstance(state, Mapping):
        return {name: function(part) for name, part in state.items()}
    return tuple(function(part) for part in state)


def _refuse_callbacks(func: Field) -> None:
    for event in ("step", "accept_step", "reject_step"):
        for name in (f"callback_{event}", f"callback_{event}_adjoint"):
            if hasattr(func, name):
                raise InvalidInput(
                    f"the field's {name} would not be called: pipeline.ode.integrate returns its statistics, with "
                    "every step that was tried"
                )


def _without_other_parameters(func: Field, parameters: Sequence[Tensor]) -> Field:
    """The field, with a module's parameters that are not among these held fixed."""
    if not isinstance(func, nn.Module):
        return func
    chosen = {id(parameter) for parameter in parameters}
    others = {
        name: parameter
        for name, parameter in func.named_parameters()
        if parameter.requires_grad and id(parameter) not in chosen
    }
    if not others:
        return func

    if hasattr(func, "at_times"):
        raise InvalidInput(
            f"adjoint_params leaves out {next(iter(others))} of a field with at_times, which cannot be held fixed: "
            "name all of its parameters, or .requires_grad_(False) of those"
        )

    def field(t: Tensor, y: State) -> Any:
        fixed = {name: parameter.detach() for name, parameter in others.items()}
        return torch.func.functional_call(func, fixed, (t, y))

    return field
