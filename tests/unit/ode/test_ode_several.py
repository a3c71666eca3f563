"""Several steps a call: what is decided where the state is, is what the host decides step by step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import Solution, Status, integrate, loop
from pipeline.ode.stepping import explicit, several
from tests.helpers.ode_fields import Field, Growth, Layer

TIMES = (0.0, 0.11, 0.12, 0.9, 1.7, 2.0)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is compiled is computed as it stands; the list has an entry for every call of several steps."""
    calls: list[int] = []

    def taken(*arguments: Any) -> several.Steps:
        calls.append(1)
        return several_steps(*arguments)

    several_steps = several.several_steps
    monkeypatch.setattr(several, "compiled", lambda function: function)
    monkeypatch.setattr(explicit, "compiled", lambda function: function)
    monkeypatch.setattr(several, "several_steps", taken)
    return calls


def solve(field: nn.Module, z0: Tensor, times: tuple[float, ...], solver: SolverConfig, is_compiled: bool) -> Solution:
    return integrate(field, z0, times, solver, is_compiled=is_compiled)


def check_equal(field: nn.Module, z0: Tensor, times: tuple[float, ...], **options: Any) -> Solution:
    """States, gradients, steps and counts, of the solve by several steps, which is returned, and of the one by each."""
    solver = SolverConfig(gradient="direct", **options)
    solutions, gradients = [], []
    for is_compiled in (False, True):
        start = z0.clone().requires_grad_()
        solution = solve(field, start, times, solver, is_compiled)
        loss = solution.states.square().sum()
        gradients.append(torch.autograd.grad(loss, [start, *field.parameters()]))
        solutions.append(solution)
    one, many = solutions
    torch.testing.assert_close(many.states, one.states, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-11)
    assert [a.accepted for a in many.statistics.attempts] == [a.accepted for a in one.statistics.attempts]
    assert [a.dt for a in many.statistics.attempts] == pytest.approx([a.dt for a in one.statistics.attempts], rel=1e-6)
    for name in ("nfe_forward", "accepted", "rejected"):
        assert getattr(many.statistics, name) == getattr(one.statistics, name)
    assert many.statistics.proposed_dt == pytest.approx(one.statistics.proposed_dt, rel=1e-6)
    return many


@pytest.fixture
def layer() -> Layer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Layer()


def start() -> Tensor:
    return torch.linspace(-1, 2, 12, dtype=torch.float64).view(4, 3)


@pytest.mark.parametrize("controller", ["i", "pi"])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3"])
def test_several_steps_are_the_steps_one_by_one(
    method: str, direction: int, controller: str, layer: Layer, uncompiled: list[int]
) -> None:
    times = tuple(direction * time for time in TIMES)
    tolerances: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}
    solution = check_equal(layer, start(), times, method=method, controller=controller, **tolerances)
    assert 0 < len(uncompiled) <= solution.statistics.accepted + solution.statistics.rejected


def test_rejected_steps_among_several_leave_nothing_behind(uncompiled: list[int]) -> None:
    field = Field(lambda t, z: 5 * torch.cos(40 * t) * z)
    solution = check_equal(field, start(), (0.0, 1.0), rtol=1e-3, atol=1e-3)
    assert solution.statistics.rejected > 1
    assert uncompiled


def test_steps_go_on_behind_stops_and_knots(layer: Layer, uncompiled: list[int]) -> None:
    solver = SolverConfig(gradient="direct", rtol=1e-6, atol=1e-6)
    one, many = (
        integrate(layer, start(), TIMES, solver, stops_at_times=True, knots=[0.5], is_compiled=is_compiled)
        for is_compiled in (False, True)
    )
    torch.testing.assert_close(many.states, one.states, rtol=1e-10, atol=1e-12)
    assert many.statistics.nfe_forward == one.statistics.nfe_forward
    assert uncompiled


def overflows(t: Tensor, z: Tensor) -> Tensor:
    """Infinite where a step reaches too far: beyond t = 1 only what has shrunk is a number."""
    return torch.where((t > 1) & (z > 1), torch.full_like(z, torch.inf), -3 * z)


def test_a_step_that_is_no_number_spoils_no_gradient_of_the_others(uncompiled: list[int]) -> None:
    z0 = torch.full((2, 2), 2.0, dtype=torch.float64, requires_grad=True)
    solver = SolverConfig(gradient="direct", rtol=0.5, atol=0.5)
    solution = integrate(Field(overflows), z0, (0.0, 3.0), solver, first_dt=2.0, is_compiled=True)
    assert solution.statistics.rejected > 0
    (gradient,) = torch.autograd.grad(solution.state.sum(), z0)
    assert torch.isfinite(gradient).all()
    assert uncompiled


@pytest.mark.parametrize(
    ("function", "status", "max_steps"),
    [
        (lambda _t, z: z.square(), Status.UNDERFLOW, 1000),
        (lambda t, z: torch.cos(300 * t) * z, Status.STEP_LIMIT, 9),
        (lambda t, z: torch.where(t > 0.5, torch.nan, -z), Status.DIVERGED, 1000),
    ],
)
def test_several_steps_fail_as_single_ones_do(
    function: Callable[[Tensor, Tensor], Tensor], status: Status, max_steps: int, uncompiled: list[int]
) -> None:
    failures = []
    for is_compiled in (False, True):
        with pytest.raises(Exception, match="the forward solve failed") as failed:
            solve(Field(function), torch.full((2, 3), 2.0), (0.0, 1.0), SolverConfig(max_steps=max_steps), is_compiled)
        failures.append(failed.value)
    assert [failure.status for failure in failures] == [status, status]
    assert failures[1].t == pytest.approx(failures[0].t, abs=1e-3)
    assert uncompiled


def test_a_large_state_asks_the_host_after_every_step(uncompiled: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "is_small", lambda _z: False)
    solve(Growth(-1.0), start(), (0.0, 1.0), SolverConfig(gradient="direct"), is_compiled=True)
    assert not uncompiled


def test_a_field_whose_evaluations_cost_more_than_a_call_is_not_evaluated_in_vain(uncompiled: list[int]) -> None:
    """Where the number of steps is odd, the last of two in a call is behind the end."""
    small, large = nn.Linear(8, 8).double(), nn.Linear(8, 8).double()
    large.unused = nn.Parameter(torch.zeros(several.LIGHT // 4))  # as many as 4 samples meet
    for linear, is_taken in ((small, True), (large, False)):
        evaluated: list[int] = []
        field = Field(lambda _t, z, linear=linear, evaluated=evaluated: (evaluated.append(1), linear(z).tanh())[1])
        field.linear = linear
        solver = SolverConfig(gradient="direct", rtol=1e-3, atol=1e-3)
        solution = solve(field, torch.ones(4, 8, dtype=torch.float64), (0.0, 1.0), solver, is_compiled=True)
        assert bool(uncompiled) == is_taken
        uncompiled.clear()
        if not is_taken:
            assert len(evaluated) == solution.statistics.nfe_forward


def test_a_state_in_parts_costs_what_its_samples_do(uncompiled: list[int]) -> None:
    """As a flow's, whose log-density lies beside z: there are more numbers than samples that meet the weights."""
    linear = nn.Linear(8, 8).double()
    linear.unused = nn.Parameter(torch.zeros(several.LIGHT // 8))
    field = Field(lambda _t, parts: (linear(parts[0]).tanh(), parts[1]))
    field.linear = linear
    state = (torch.ones(4, 8, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64))
    integrate(field, state, (0.0, 1.0), SolverConfig(gradient="direct"), is_compiled=True)
    assert uncompiled


def test_a_state_of_one_number_keeps_its_shape(uncompiled: list[int]) -> None:
    for times in ((0.0, 1.0), (0.0, 0.5, 1.0)):
        solution = check_equal(Growth(-1.0), torch.tensor(1.0, dtype=torch.float64), times, rtol=1e-6, atol=1e-6)
        assert solution.states[-1].shape == ()
    assert uncompiled


def test_what_is_proposed_behind_a_knot_is_what_single_steps_propose(uncompiled: list[int]) -> None:
    """The first step ends at the knot, a thousandth of what the field would allow."""
    layer, proposed = Growth(-1.0), []
    for is_compiled in (False, True):
        solver = SolverConfig(gradient="direct")
        solution = integrate(layer, start(), (0.0, 1.0), solver, knots=[1e-4], is_compiled=is_compiled)
        proposed.append((solution.statistics.proposed_dt, len(solution.statistics.attempts)))
    assert uncompiled
    assert proposed[1] == (pytest.approx(proposed[0][0]), proposed[0][1])


def test_several_steps_are_the_same_compiled(layer: Layer) -> None:
    check_equal(layer, start(), TIMES, method="bosh3", rtol=1e-6, atol=1e-6)
