"""A user's script of torchdiffeq, with either import: the same form of answers, equal within the tolerances."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torchdiffeq
from torch import Tensor, nn

import pipeline.ode
from pipeline.ode import SolverFailure, odeint, odeint_adjoint, odeint_event
from pipeline.util.errors import InvalidInput, OdenetError

LIBRARIES = (torchdiffeq, pipeline.ode)
Script = Callable[[ModuleType], Any]


class Network(nn.Module):
    """A small field with time in it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8, dtype=torch.float64)
        self.second = nn.Linear(8, 3, dtype=torch.float64)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(y))) * torch.cos(t)


class Pair(nn.Module):
    """The same for a state of two parts, of different shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.of_first = Network()

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        y, total = state
        slope = self.of_first(t, y)
        return slope, slope.square().sum(1) - 0.1 * total


def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Network()


def start() -> Tensor:
    return torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)


def times(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def both(script: Script) -> tuple[Any, Any]:
    theirs, ours = (script(library) for library in LIBRARIES)
    return theirs, ours


def assert_alike(script: Script, atol: float = 1e-6) -> None:
    theirs, ours = both(script)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("method", [None, "dopri5", "dopri8", "bosh3", "adaptive_heun"])
@pytest.mark.parametrize("t", [times(0, 1), times(0.5, 0.9, 1.0, 3.0), times(2, 1.5, -1)])
def test_a_tensor_at_many_times_in_both_directions(method: str | None, t: Tensor) -> None:
    tolerance = 1e-6 if method == "adaptive_heun" else 1e-8
    # Steps end at the times, since between them torchdiffeq has a quartic whatever the method's order is.
    options = {"step_t": t[1:]} if method in ("dopri8", "bosh3") else {}
    assert_alike(
        lambda library: library.odeint(
            network(), start(), t, rtol=tolerance, atol=tolerance, method=method, options=dict(options)
        )
    )


def test_a_tuple_is_returned_as_one_with_the_times_in_front() -> None:
    def script(library: ModuleType) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            field = Pair()
        return library.odeint(field, (start(), torch.zeros(4, dtype=torch.float64)), times(0, 0.3, 1))

    theirs, ours = both(script)
    assert isinstance(ours, tuple)
    assert [part.shape for part in ours] == [(3, 4, 3), (3, 4)]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_state_keeps_its_number_format_whatever_that_of_the_times_is(dtype: torch.dtype) -> None:
    for t in (torch.tensor([0.0, 1.0]), times(0, 1)):
        state = odeint(lambda _t, y: -y, torch.ones(2, dtype=dtype), t)
        assert state.dtype == dtype
        assert state[-1].tolist() == pytest.approx([math.exp(-1)] * 2, abs=1e-6)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_a_fixed_step_method_steps_from_time_to_time(method: str) -> None:
    assert_alike(lambda library: library.odeint(network(), start(), times(0, 0.1, 0.4, 0.6, 1), method=method), 1e-12)


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
@pytest.mark.parametrize("t", [times(0, 0.5, 1), times(1, 0.5, 0)])
def test_a_step_size_that_divides_the_solve(method: str, t: Tensor) -> None:
    options = {"step_size": 0.125, "interp": "linear" if method == "euler" else "cubic", "perturb": False}
    tolerance = 1e-5 if method == "rk4" else 1e-12  # torchdiffeq's rk4 is another method of its order
    assert_alike(lambda library: library.odeint(network(), start(), t, method=method, options=dict(options)), tolerance)


def test_the_classical_runge_kutta_method_is_of_order_4() -> None:
    def error(size: float) -> float:
        ended = odeint(lambda _t, y: -y, times(1), times(0, 1), method="rk4", options={"step_size": size})
        return abs(float(ended[-1]) - math.exp(-1))

    assert math.log2(error(0.25) / error(0.125)) == pytest.approx(4, abs=0.2)


def gradients(library: ModuleType, solve: str, **options: Any) -> list[Tensor]:
    """Of a loss of all outputs: with respect to the start, the times and the parameters."""
    field, y0 = network(), start().requires_grad_()
    t = options.pop("t", times(0.2, 0.7, 1.5)).clone().requires_grad_()
    states = getattr(library, solve)(field, y0, t, rtol=1e-9, atol=1e-9, **options)
    weights = torch.linspace(1, 2, states.numel(), dtype=torch.float64).view(states.shape)
    (weights * states.sin()).sum().backward()
    assert y0.grad is not None
    assert t.grad is not None
    return [y0.grad, t.grad, *(p.grad for p in field.parameters() if p.grad is not None)]


@pytest.mark.parametrize("solve", ["odeint", "odeint_adjoint"])
@pytest.mark.parametrize("t", [times(0.2, 0.7, 1.5), times(1.5, 0.7, 0.2)])
def test_gradients_reach_the_start_the_times_and_the_parameters(solve: str, t: Tensor) -> None:
    assert_alike(lambda library: gradients(library, solve, t=t), 1e-5)


def test_gradients_of_equal_steps_are_those_of_the_steps() -> None:
    options = {"method": "midpoint", "options": {"step_size": 0.1}, "t": times(0, 0.5, 1)}
    theirs, ours = both(lambda library: gradients(library, "odeint", **options))
    torch.testing.assert_close([ours[0], *ours[2:]], [theirs[0], *theirs[2:]], rtol=0, atol=1e-12)
    # Those of the times are of the solution; torchdiffeq has none at the end of a step.
    exact = gradients(pipeline.ode, "odeint", t=options["t"])
    torch.testing.assert_close(ours[1], exact[1], rtol=0, atol=1e-2)


def test_the_adjoint_has_its_tolerances_and_options() -> None:
    options = {"adjoint_rtol": 1e-10, "adjoint_atol": 1e-10, "adjoint_options": {"norm": "seminorm"}}
    assert_alike(lambda library: gradients(library, "odeint_adjoint", adjoint_method="dopri5", **options), 1e-6)


def test_the_adjoint_knows_the_same_gradient_as_the_steps() -> None:
    ours = [gradients(pipeline.ode, solve) for solve in ("odeint", "odeint_adjoint")]
    torch.testing.assert_close(ours[0], ours[1], rtol=0, atol=1e-6)


def test_adjoint_params_are_those_that_gradients_reach() -> None:
    def script(library: ModuleType) -> list[Tensor | None]:
        field = network()
        ended = library.odeint_adjoint(field, start(), times(0, 1), adjoint_params=field.first.parameters())[-1]
        ended.square().sum().backward()
        return [p.grad for p in field.parameters()]

    theirs, ours = both(script)
    assert theirs[2:] == ours[2:] == [None, None]
    torch.testing.assert_close(ours[:2], theirs[:2], rtol=0, atol=1e-6)


def test_adjoint_params_may_be_one_tensor_and_must_be_tensors() -> None:
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    ended = odeint_adjoint(lambda _t, y: -rate.exp() * y, start(), times(0, 1), adjoint_params=rate)[-1]
    assert torch.autograd.grad(ended.sum(), rate)[0] < 0
    with pytest.raises(InvalidInput, match=r"^adjoint_params is 3: give a sequence of tensors"):
        odeint_adjoint(lambda _t, y: -y, start(), times(0, 1), adjoint_params=3)  # type: ignore[arg-type]


def test_adjoint_params_may_be_what_a_hypernetwork_gave() -> None:
    def script(library: ModuleType) -> Tensor:
        context = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
        rate = context.exp()
        ended = library.odeint_adjoint(
            lambda _t, y: -rate * y, start(), times(0, 1), rtol=1e-9, adjoint_params=(rate,)
        )[-1]
        ended.square().sum().backward()
        assert context.grad is not None
        return context.grad

    assert_alike(script)


def test_without_adjoint_params_the_leaves_that_a_function_reads_are_found() -> None:
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    odeint_adjoint(lambda _t, y: -rate * y, times(1), times(0, 1), rtol=1e-9)[-1].backward()
    assert float(rate.grad) == pytest.approx(-math.exp(-0.5), abs=1e-7)  # type: ignore[arg-type]


class Bouncing(nn.Module):
    """A ball that falls: height and speed, as in torchdiffeq's example."""

    def __init__(self) -> None:
        super().__init__()
        self.gravity = nn.Parameter(times(9.8))

    def forward(self, _t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return state[1], -self.gravity

    def bounces(self, library: ModuleType, solve: str, count: int, **options: Any) -> tuple[list[Tensor], Tensor]:
        t0, state = times(0), (times(10), times(0))
        found = []
        for _ in range(count):
            t0, states = library.odeint_event(
                self,
                state,
                t0,
                event_fn=lambda _t, state: state[0].sum(),
                odeint_interface=getattr(library, solve),
                atol=1e-10,
                rtol=1e-10,
                **options,
            )
            found.append(t0)
            height, speed = (part[-1] for part in states)
            state = (height + 1e-7, -0.9 * speed)
            t0 = t0.reshape(-1)
        return found, state[1]


@pytest.mark.parametrize("solve", ["odeint", "odeint_adjoint"])
def test_a_ball_bounces(solve: str) -> None:
    def script(library: ModuleType) -> Any:
        ball = Bouncing()
        bounces, speed = ball.bounces(library, solve, 3)
        (bounces[-1].sum() + speed.sum()).backward()
        return [bounce.detach().reshape(()) for bounce in bounces], speed, ball.gravity.grad

    theirs, ours = both(script)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    first = math.sqrt(2 * 10 / 9.8)
    assert float(ours[0][0]) == pytest.approx(first, abs=1e-8)
    assert float(ours[0][1]) == pytest.approx(first * (1 + 2 * 0.9), abs=1e-6)


def test_an_event_in_reversed_time_with_the_gradient_of_the_start() -> None:
    def script(library: ModuleType) -> Any:
        t0 = times(1).requires_grad_()
        y0 = times(1).requires_grad_()
        when, states = library.odeint_event(
            lambda _t, y: -y, y0, t0, event_fn=lambda _t, y: y - 3, reverse_time=True, atol=1e-10, rtol=1e-10
        )
        (2 * when.sum() + states[-1].sum()).backward()
        return when.reshape(()), states, y0.grad

    theirs, ours = both(script)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert float(ours[0].detach()) == pytest.approx(1 - math.log(3), abs=1e-8)


def test_the_time_of_an_event_moves_with_the_start() -> None:
    t0 = times(1).requires_grad_()
    when, _ = odeint_event(lambda _t, y: -y, times(3), t0, event_fn=lambda _t, y: y - 1, rtol=1e-9)
    when.sum().backward()
    assert float(when) == pytest.approx(1 + math.log(3), abs=1e-7)
    assert float(t0.grad) == pytest.approx(1, abs=1e-7)  # type: ignore[arg-type]


def test_the_first_of_several_events_ends_the_solve() -> None:
    def script(library: ModuleType) -> Any:
        def walls(_t: Tensor, y: Tensor) -> Tensor:
            return torch.cat([y - 2, 5 - 2 * y])

        when, states = library.odeint(lambda _t, y: y, times(1), times(0, 1), event_fn=walls, rtol=1e-9, atol=1e-12)
        return when.reshape(()), states.detach()

    theirs, ours = both(script)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    assert float(ours[0]) == pytest.approx(math.log(2), abs=1e-8)


@pytest.mark.parametrize("has_gradients", [True, False])
def test_an_event_that_only_switches(has_gradients: bool) -> None:
    y0 = torch.ones(1, dtype=torch.float64)
    for event_fn in (lambda _t, y: torch.sign(y.sum() - 0.5), lambda _t, y: torch.where(y.sum() > 0.5, 1.0, -1.0)):
        with torch.set_grad_enabled(has_gradients):
            when, states = odeint_event(lambda _t, y: -y, y0, torch.zeros(()), event_fn=event_fn)
        assert float(when) == pytest.approx(math.log(2), abs=1e-6)
        torch.testing.assert_close(states, torch.tensor([[1.0], [0.5]], dtype=torch.float64))


def test_an_event_of_equal_steps() -> None:
    def script(library: ModuleType) -> Any:
        options = {"step_size": 0.01, "interp": "cubic"}
        when, states = library.odeint(
            lambda _t, y: y, times(1), times(0, 1), event_fn=lambda _t, y: y - 2, method="midpoint", options=options
        )
        return when.reshape(()), states

    assert_alike(script)


@pytest.mark.parametrize(("method", "options"), [("dopri5", {"max_num_steps": 50}), ("kvaerno3", {})])
def test_an_event_that_does_not_happen(method: str, options: dict[str, float]) -> None:
    with pytest.raises(OdenetError, match=r"no event was seen until t = .*: a larger max_num_steps .+ eighth"):
        odeint(
            lambda _t, y: -y,
            torch.ones(1),
            torch.tensor([0.0, 1.0]),
            event_fn=lambda _t, y: y + 1,
            method=method,
            options=options,
            rtol=1e-3,
            atol=1e-3,
        )


def test_an_event_of_a_tuple_in_the_form_of_its_state() -> None:
    when, states = odeint(
        lambda _t, y: (y[1], -y[0]), (times(0), times(1)), times(0, 1), event_fn=lambda _t, y: y[0] - 0.5, rtol=1e-9
    )
    assert float(when) == pytest.approx(math.pi / 6, abs=1e-7)
    assert [part.shape for part in states] == [(2, 1), (2, 1)]


@pytest.mark.parametrize(
    "options",
    [
        {"first_step": 0.01},
        {"max_num_steps": 1000, "dtype": torch.float64},
        {"step_t": times(0.25, 0.5)},
        {"jump_t": times(0.5)},
        {"norm": lambda y: y.abs().max()},
        {"safety": 0.9, "ifactor": 10.0, "dfactor": 0.2, "min_step": 0, "max_step": float("inf")},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_of_adaptive_methods(options: dict[str, Any]) -> None:
    t = times(0, 0.5, 1)
    assert_alike(lambda library: library.odeint(network(), start(), t, method="dopri5", options=dict(options)))


@pytest.mark.parametrize("t", [times(0, 1), times(1, 0)])
@pytest.mark.parametrize("solve", ["odeint", "odeint_adjoint"])
def test_a_field_that_jumps(solve: str, t: Tensor) -> None:
    class Jumping(nn.Module):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.where(t < 0.3, y, -2 * y)

    field = Jumping()
    ended = getattr(pipeline.ode, solve)(field, times(1), t, rtol=1e-9, options={"jump_t": times(0.3)})[-1]
    exponent = 0.3 - 2 * 0.7
    assert float(ended) == pytest.approx(math.exp(exponent if t[0] < t[1] else -exponent), rel=1e-7)


def test_a_norm_of_a_tuple_is_given_the_tuple_and_may_return_a_number() -> None:
    seen = []

    def norm(state: tuple[Tensor, Tensor]) -> Any:
        seen.append(state)
        return state[0].abs().max().item()

    odeint(
        lambda _t, y: (-y[0], y[1]), (torch.ones(2), torch.ones(3)), torch.tensor([0.0, 1.0]), options={"norm": norm}
    )
    assert all([part.shape for part in state] == [(2,), (3,)] for state in seen)
    assert seen


def test_the_step_limit_is_one_for_each_time() -> None:
    def script(options: dict[str, Any]) -> Any:
        return odeint(lambda _t, y: -50 * y, times(1), times(0, 0.5, 1), rtol=1e-6, options=options)

    assert len(script({"max_num_steps": 100})) == 3
    with pytest.raises(SolverFailure, match="the step limit was reached"):
        script({"max_num_steps": 3})


def test_one_time_alone_is_the_start() -> None:
    theirs, ours = both(lambda library: library.odeint(network(), start(), times(0)))
    assert torch.equal(ours, theirs)


def test_methods_of_our_own_have_their_names() -> None:
    exact = times(1, math.exp(-1))
    for method in ("tsit5", "kvaerno3", "heun"):
        ended = odeint(lambda _t, y: -y, times(1), times(0, 1), method=method, rtol=1e-6, atol=1e-6)
        assert torch.allclose(ended[:, 0], exact, atol=1e-4), method


class Watching(Network):
    def callback_step(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        """As torchdiffeq would call it."""


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "implicit_adams": (
        lambda: odeint(network(), start(), times(0, 1), method="implicit_adams"),
        "method=implicit_adams is torchdiffeq's alone: use dopri5 or dopri8, or for a stiff field kvaerno3",
    ),
    "fehlberg2": (
        lambda: odeint(network(), start(), times(0, 1), method="fehlberg2"),
        "method=fehlberg2 is torchdiffeq's alone: use adaptive_heun or bosh3",
    ),
    "unknown method": (
        lambda: odeint(network(), start(), times(0, 1), method="dopri55"),
        r"unknown method dopri55 \(did you mean dopri5\?\); there are adaptive_heun, bosh3",
    ),
    "unknown option": (
        lambda: odeint(network(), start(), times(0, 1), options={"max_steps": 5}),
        r"options: method=dopri5 has no max_steps \(did you mean max_step\?\); there are norm, first_step",
    ),
    "option of another kind": (
        lambda: odeint(network(), start(), times(0, 1), method="rk4", options={"max_num_steps": 5}),
        "options: method=rk4 has no max_num_steps; there are step_size, norm",
    ),
    "max_step": (
        lambda: odeint(network(), start(), times(0, 1), options={"max_step": 0.1}),
        "options: max_step=0.1 is not supported, only inf: make steps end at given times with step_t",
    ),
    "safety": (
        lambda: odeint(network(), start(), times(0, 1), options={"safety": 0.8}),
        "options: safety=0.8 is not supported, only 0.9: leave it out",
    ),
    "dtype": (
        lambda: odeint(network(), start(), times(0, 1), options={"dtype": torch.float16}),
        "options: dtype=torch.float16 is not supported: times are float64, leave it out",
    ),
    "grid_constructor": (
        lambda: odeint(
            network(), start(), times(0, 1), method="rk4", options={"grid_constructor": lambda _f, _y, t: t}
        ),
        "options: grid_constructor=.* is not supported, only None: give its grid as t",
    ),
    "interp": (
        lambda: odeint(network(), start(), times(0, 1), method="rk4", options={"interp": "linear", "step_size": 0.1}),
        "options: interp=linear is not supported, only cubic: leave it out",
    ),
    "perturb": (
        lambda: odeint(network(), start(), times(0, 1), method="rk4", options={"perturb": True}),
        "options: perturb=True is not supported, only False: for a field that jumps use an adaptive method with jump_t",
    ),
    "step_size": (
        lambda: odeint(network(), start(), times(0, 1), method="rk4", options={"step_size": 0.3}),
        "options: step_size=0.3 does not divide the solve, which is 1 long: use 0.333333, or give the ends of all",
    ),
    "tolerances of parts": (
        lambda: odeint(lambda _t, y: y, (start(), start()), times(0, 1), rtol=(1e-3, 1e-6)),  # type: ignore[arg-type]
        "rtol for each part or element of the state is not supported: give one number",
    ),
    "no tolerance": (
        lambda: odeint(network(), start(), times(0, 1), atol=-1.0),
        "atol=-1 is no tolerance: give a number above 0",
    ),
    "callbacks": (
        lambda: odeint(Watching(), start(), times(0, 1)),
        "the field's callback_step would not be called: pipeline.ode.integrate returns its statistics",
    ),
    "event with three times": (
        lambda: odeint(network(), start(), times(0, 1, 2), event_fn=lambda _t, y: y.sum()),
        "with event_fn t has two times, the start and one that gives the direction, not 3",
    ),
    "event with jumps": (
        lambda: odeint(network(), start(), times(0, 1), event_fn=lambda _t, y: y.sum(), options={"jump_t": times(0.5)}),
        "options: step_t and jump_t do not go with event_fn",
    ),
    "event without a step size": (
        lambda: odeint(network(), start(), times(0, 1), event_fn=lambda _t, y: y.sum(), method="rk4"),
        "event_fn with method=rk4 needs options={'step_size': …}",
    ),
    "event at the start": (
        lambda: odeint(network(), start() * 0, times(0, 1), event_fn=lambda _t, y: y),
        "one of the elements of event_fn is 0 at the start",
    ),
    "adjoint_method": (
        lambda: odeint_adjoint(network(), start(), times(0, 1), method="dopri5", adjoint_method="bosh3"),
        "adjoint_method=bosh3 is not method=dopri5: the backward solve takes the method of the forward solve",
    ),
    "adjoint norm": (
        lambda: odeint_adjoint(network(), start(), times(0, 1), adjoint_options={"norm": lambda y: y}),
        "adjoint_options: a norm of one's own is not supported: every backward solve has the seminorm",
    ),
    "adjoint options": (
        lambda: odeint_adjoint(
            network(), start(), times(0, 1), options={"max_num_steps": 7}, adjoint_options={"max_num_steps": 9}
        ),
        "adjoint_options: max_num_steps=9 is not that of options",
    ),
    "adjoint of an implicit method": (
        lambda: odeint_adjoint(network(), start(), times(0, 1), method="kvaerno3"),
        "the adjoint ODE is not solved by method=kvaerno3: use odeint, or an explicit method",
    ),
    "two dimensions": (
        lambda: odeint(network(), start(), torch.zeros(2, 2)),
        r"t must have one dimension, not the shape \(2, 2\)",
    ),
    "a norm that is no number": (
        lambda: odeint(network(), start(), times(0, 1), options={"norm": lambda y: y}),
        r"the norm returned a tensor of shape \(\d+, \d+\): return one number",
    ),
    "a state of NumPy": (
        lambda: odeint(network(), np.ones(2), times(0, 1)),
        r"the state is a ndarray: give a tensor \(torch\.as_tensor\)",
    ),
    "a part of NumPy": (
        lambda: odeint(network(), (start(), np.ones(2)), times(0, 1)),
        r"the state's part 1 is a ndarray: give a tensor \(torch\.as_tensor\)",
    ),
    "a state that is a number": (
        lambda: odeint(network(), 1.0, times(0, 1)),
        r"the state is a float: give a tensor \(torch\.as_tensor\)",
    ),
    "a first step backwards": (
        lambda: odeint(network(), start(), times(0, 1), options={"first_step": -1}),
        "the first step is -1 long: give a length above 0, whichever way time goes",
    ),
    "a jump at no time": (
        lambda: odeint(network(), start(), times(0, 1), options={"jump_t": [0.5, math.nan]}),
        "a knot at nan is at no time: leave it out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_there_is_refused_by_its_name(name: str) -> None:
    call, sentence = REFUSED[name]
    with pytest.raises(InvalidInput, match=sentence):
        call()


# What a script may hold beside


@pytest.mark.parametrize("given", [[0.3], torch.tensor([0.3], dtype=torch.float64)], ids=["numbers", "a tensor"])
def test_times_at_which_the_field_jumps_are_exact_however_they_are_given(given: Any) -> None:
    calls: list[None] = []

    def field(t: Tensor, y: Tensor) -> Tensor:
        calls.append(None)
        return torch.where(t < 0.3, 1.0, -1.0) * torch.ones_like(y)

    times = torch.linspace(0, 1, 3, dtype=torch.float64)
    found = odeint(field, torch.zeros(1, dtype=torch.float64), times, options={"jump_t": [0.3]})
    torch.testing.assert_close(found.flatten(), torch.tensor([0.0, 0.1, -0.4], dtype=torch.float64))
    exact = len(calls)
    odeint(field, torch.zeros(1, dtype=torch.float64), times, options={"jump_t": given})
    assert exact < 60
    assert len(calls) == 2 * exact


@pytest.mark.parametrize("function", [odeint, odeint_adjoint])
def test_a_compiled_function_may_hold_a_solve(function: Callable[..., Any]) -> None:
    network, y0, times = Network(), torch.ones(2, 3, dtype=torch.float64), torch.linspace(0, 1, 3)

    def end(y: Tensor) -> Tensor:
        return function(network, 2 * y, times)[-1].sum()  # type: ignore[no-any-return]

    torch.testing.assert_close(torch.compile(end, backend="eager")(y0), end(y0))


class AtTimes(Network):
    """Its weights depend on time."""

    def at_times(self, times: Tensor) -> list[Tensor]:
        return list(torch.cos(times) * self.second.bias[0])

    def forward(self, t: Tensor, y: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        return weight * super().forward(t, y)


def test_what_a_module_is_stays_known_where_some_of_its_parameters_are_named() -> None:
    y0, times = torch.ones(2, 3, dtype=torch.float64), torch.linspace(0, 1, 3)
    network: Any = Network()
    network.callback_step = print
    with pytest.raises(InvalidInput, match=r"^the field's callback_step would not be called"):
        odeint_adjoint(network, y0, times, adjoint_params=tuple(network.first.parameters()))
    timed = AtTimes()
    with pytest.raises(InvalidInput, match=r"^adjoint_params leaves out second\.weight of a field with at_times"):
        odeint_adjoint(timed, y0, times, adjoint_params=tuple(timed.first.parameters()))
    odeint_adjoint(timed, y0, times, adjoint_params=tuple(timed.parameters()))[-1].sum().backward()
    assert timed.first.weight.grad is not None


def test_an_event_is_looked_for_from_a_number_and_must_be_a_tensor() -> None:
    y0 = torch.ones(1, dtype=torch.float64)
    time, _ = odeint_event(lambda _t, y: y, y0, 0.0, event_fn=lambda _t, y: y[0] - 2)  # type: ignore[arg-type]
    assert float(time) == pytest.approx(math.log(2), abs=1e-5)
    with pytest.raises(InvalidInput, match=r"^event_fn returned a float: return a tensor"):
        odeint_event(lambda _t, y: y, y0, torch.tensor(0.0), event_fn=lambda _t, _y: 2.0)  # type: ignore[arg-type,return-value]


def test_an_event_from_whole_numbers_is_refused_as_its_time_would_be_cut() -> None:
    with pytest.raises(InvalidInput, match=r"^t is of torch\.int64.*give it as floating-point numbers"):
        odeint(
            lambda _t, y: torch.ones_like(y), torch.zeros(1), torch.tensor([0, 1]), event_fn=lambda _t, y: y[0] - 0.7
        )


def test_the_time_of_an_event_has_the_precision_of_the_times() -> None:
    start = torch.tensor(1000.0, dtype=torch.float64)
    when, _ = odeint_event(lambda _t, y: torch.ones_like(y), torch.zeros(1), start, event_fn=lambda _t, y: y[0] - 0.3)
    assert when.dtype == torch.float64
    assert float(when) == pytest.approx(1000.3, abs=1e-7)


def test_an_event_in_an_empty_state_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^y0 is empty"):
        odeint_event(lambda _t, y: -y, torch.ones(0, 2), torch.tensor(0.0), event_fn=lambda t, _: t - 0.5)
