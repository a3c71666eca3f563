"""Solves that cannot go on, and what they say."""

import math
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import SolverFailure, Status, integrate
from pipeline.util.errors import OdenetError
from tests.helpers.ode_fields import ENGINES, OSCILLATION, Field, start
from tests.helpers.paths import ROOT
from tests.helpers.waiting import run

# Failures: each builds its field, names the solver, and says what must come of it.


def blows_up(_t: Tensor, z: Tensor) -> Tensor:
    """z(t) = 1 / (1 / z(0) - t): infinite at t = 0.5 from z(0) = 2."""
    return z.square()


def chatters(_t: Tensor, z: Tensor) -> Tensor:
    """Towards 0.4 from both sides, faster than any step can follow: the true solution slides along it."""
    return -1e14 * torch.sign(z - 0.4)


class BackwardOnly(nn.Module):
    """Tame forward; `function` of t and z once `is_backward` says so."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.is_backward = False
        self.rate = nn.Parameter(torch.tensor(-0.5))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        tame = self.rate * z
        return tame + self.function(t, z) if self.is_backward else tame


def nan_from(time: float, after: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Not a number once t has passed `time`, which a forward solve does upwards and a backward one downwards."""
    return lambda t, z: torch.where((t > time) == after, torch.full_like(z, math.nan), -z)


def infinite_gradient(_t: Tensor, z: Tensor) -> Tensor:
    """Finite itself, with a derivative by z that is not."""
    return 0 * torch.sqrt(z - z.detach())


FAILURES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], dict[str, Any], Status]] = {
    "step limit": (lambda t, z: torch.cos(300 * t) * z, {"max_steps": 5}, Status.STEP_LIMIT),
    "step limit, heun": (
        lambda t, z: torch.cos(300 * t) * z,
        {"method": "heun", "max_steps": 30},
        Status.STEP_LIMIT,
    ),
    "underflow": (chatters, {"rtol": 1e-4, "atol": 1e-4}, Status.UNDERFLOW),
    "blow up": (blows_up, {}, Status.UNDERFLOW),
    "blow up, fixed steps": (lambda _t, z: 1e15 * z.square(), {"method": "rk4", "steps": 7}, Status.DIVERGED),
    "derivative from the start": (lambda _t, z: z * math.nan, {}, Status.DIVERGED),
    "infinite derivative": (lambda _t, z: z * math.inf, {}, Status.DIVERGED),
    "derivative midway": (nan_from(0.5, after=True), {}, Status.DIVERGED),
    "derivative from the start, fixed steps": (lambda _t, z: z * math.nan, {"method": "euler"}, Status.DIVERGED),
    "derivative midway, fixed steps": (
        nan_from(0.5, after=True),
        {"method": "midpoint", "steps": 7},
        Status.DIVERGED,
    ),
}
HELPS = {
    Status.UNDERFLOW: "what helps: looser rtol and atol, float64, or knots at the times where the field jumps",
    Status.STEP_LIMIT: "what helps: looser rtol and atol, a larger max_steps, or for a stiff field method=kvaerno3",
    Status.DIVERGED: "what helps: a look at the state and the field at this time, or more steps of a fixed-step method",
    Status.NOT_CONVERGED: "what helps: a smoother field, or float64",
}
BACKWARD_FAILURES = {
    **FAILURES,
    "underflow": (lambda t, z: -chatters(t, z), {"rtol": 1e-4, "atol": 1e-4}, Status.UNDERFLOW),
    "derivative midway": (nan_from(0.5, after=False), {}, Status.DIVERGED),
    "derivative midway, fixed steps": (
        nan_from(0.5, after=False),
        {"method": "midpoint", "steps": 7},
        Status.DIVERGED,
    ),
    "infinite gradient": (infinite_gradient, {}, Status.DIVERGED),
    "infinite gradient, one step": (infinite_gradient, {"method": "euler"}, Status.DIVERGED),
}
del BACKWARD_FAILURES["blow up"]  # its own adjoint shrinks as it grows; chattering shows the same


def fails_forward(name: str, gradient: str, engine: str) -> None:
    function, options, status = FAILURES[name]
    calls = 0

    def counted(t: Tensor, z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return function(t, z)

    z0 = torch.full((2, 3), 2.0, requires_grad=True)
    with pytest.raises(SolverFailure) as failed:
        integrate(Field(counted), z0, (0.0, 1.0), SolverConfig(**({"engine": engine, "gradient": gradient} | options)))
    check(failed.value, "forward", status, calls)


def fails_backward(name: str, engine: str) -> None:
    function, options, status = BACKWARD_FAILURES[name]
    calls = 0

    def counted(t: Tensor, z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return function(t, z)

    field = BackwardOnly(counted)
    z0 = torch.full((2, 3), 2.0, requires_grad=True)
    solution = integrate(field, z0, (0.0, 1.0), SolverConfig(**({"engine": engine, "gradient": "adjoint"} | options)))
    field.is_backward = True
    with pytest.raises(SolverFailure) as failed:
        solution.state.sum().backward()
    check(failed.value, "backward", status, calls)
    if engine == "odenet" and solution.statistics.status != status:
        raise AssertionError(f"the statistics say {solution.statistics.status} of a solve that failed")
    check(failed.value, "backward", status, solution.statistics.nfe_backward or 0)
    if field.rate.grad is not None or z0.grad is not None:
        raise AssertionError("a failed backward pass left gradients behind")


def check(failure: SolverFailure, direction: str, status: Status, calls: int) -> None:
    """Raised explicitly, so that `python -O` does not take the checks away."""
    wrong = [
        name
        for name, right in {
            "direction": failure.direction == direction,
            "status": failure.status == status,
            "t": 0 <= failure.t <= 1,
            "dt": 0 <= failure.dt < 10,
            "evaluations": failure.nfe == calls > 0,
            "norm": failure.state_norm > 0 or not math.isfinite(failure.state_norm),
            "record": failure.to_dict()["status"] == str(status),
            "sentence": f"the {direction} solve failed at t = " in str(failure)
            and str(failure).endswith(HELPS[status]),
        }.items()
        if not right
    ]
    if wrong:
        raise AssertionError(f"{wrong} of {failure.to_dict()} after {calls} evaluations")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_forward_solve_that_cannot_go_on_says_why(name: str, gradient: str, engine: str) -> None:
    fails_forward(name, gradient, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", BACKWARD_FAILURES)
def test_an_adjoint_solve_that_cannot_go_on_says_why(name: str, engine: str) -> None:
    fails_backward(name, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_an_adjoint_that_is_no_number_for_a_parameter_alone_is_refused(method: str, engine: str) -> None:
    class Rooted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset = nn.Parameter(torch.zeros(()))  # where the square root has an infinite derivative

        def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
            return -z + self.offset.sqrt()

    field = Rooted()
    solver = SolverConfig(engine=engine, method=method, gradient="adjoint")
    z = integrate(field, start(torch.float32), (0.0, 1.0), solver).state
    with pytest.raises(SolverFailure) as failed:
        z.sum().backward()
    assert (failed.value.status, failed.value.direction) == (Status.DIVERGED, "backward")
    assert field.offset.grad is None


def test_failures_are_the_same_without_assertions() -> None:
    code = (
        "import tests.unit.ode.test_ode_failures as t\n"
        "assert False, 'assertions are off'\n"
        "for engine in t.ENGINES:\n"
        "    for name in t.FAILURES:\n"
        "        for gradient in ('direct', 'adjoint'):\n"
        "            t.fails_forward(name, gradient, engine)\n"
        "    for name in t.BACKWARD_FAILURES:\n"
        "        t.fails_backward(name, engine)\n"
        "print('all said why')\n"
    )
    done = run([sys.executable, "-O", "-W", "ignore", "-c", code], cwd=ROOT)
    assert done.stdout == "all said why\n", done.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failure_names_time_step_evaluations_and_norm(engine: str) -> None:
    with pytest.raises(SolverFailure) as failed:
        integrate(Field(blows_up), torch.full((3,), 2.0), (0.0, 1.0), SolverConfig(engine=engine, max_steps=12))
    failure = failed.value
    assert failure.status == Status.STEP_LIMIT
    assert failure.nfe == 2 + 6 * 12
    assert 0.4 < failure.t < 0.5
    assert 0 < failure.dt < 0.1
    assert failure.state_norm == pytest.approx(1 / (0.5 - failure.t), rel=0.1)
    assert failure.to_dict() == {
        "status": "step_limit",
        "t": failure.t,
        "dt": failure.dt,
        "evaluations": failure.nfe,
        "state_norm": failure.state_norm,
        "direction": "forward",
    }
    assert str(failure).endswith(HELPS[Status.STEP_LIMIT])
    assert isinstance(failure, OdenetError)


def test_the_norm_of_a_large_finite_state_is_finite() -> None:
    with pytest.raises(SolverFailure) as failed:
        integrate(
            Field(lambda t, z: torch.cos(300 * t) * z), torch.full((3,), 1e30), (0.0, 1.0), SolverConfig(max_steps=2)
        )
    assert failed.value.state_norm == pytest.approx(1e30, rel=0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_a_state_that_is_no_number_to_begin_with_is_refused(method: str, value: float) -> None:
    z0 = start(torch.float32)
    z0[1] = value
    with pytest.raises(SolverFailure) as failed:
        integrate(OSCILLATION, z0, (0.0, 1.0), SolverConfig(method=method))
    assert (failed.value.status, failed.value.t) == (Status.DIVERGED, 0)


@pytest.mark.parametrize(("engine", "reached"), [("odenet", 0.75), ("torchdiffeq", 1.0)])
def test_a_fixed_step_solve_that_diverges_in_its_last_step_is_refused(engine: str, reached: float) -> None:
    field = Field(lambda t, z: torch.where(t > 0.5, z * math.inf, z))
    with pytest.raises(SolverFailure) as failed:
        integrate(field, start(torch.float32), (0.0, 1.0), SolverConfig(engine=engine, method="euler", steps=4))
    assert (failed.value.status, failed.value.t, failed.value.nfe) == (Status.DIVERGED, reached, 4)


def test_a_failure_survives_pickling() -> None:
    failure = SolverFailure(Status.UNDERFLOW, 0.25, 1e-17, 44, 3.5, "backward")
    restored = pickle.loads(pickle.dumps(failure))  # noqa: S301 - made in this line
    assert isinstance(restored, SolverFailure)
    assert restored.to_dict() == failure.to_dict()
    assert str(restored) == str(failure)


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_a_stage_that_is_not_finite_is_found_though_neither_error_nor_state_show_it(gradient: str) -> None:
    # The second stage of dopri5, at a fifth of the step, has no weight in either; tanh hides it from the later stages.
    overflow = Field(lambda t, z: torch.where((t > 0.19) & (t < 0.21), z * math.inf, torch.tanh(z)))
    solution = integrate(overflow, start(), (0.0, 1.0), SolverConfig(rtol=1, atol=1, gradient=gradient), first_dt=1.0)
    first, *_ = solution.statistics.attempts
    assert not first.accepted
    assert math.isnan(first.error_ratio)
    with pytest.raises(SolverFailure) as failed:
        integrate(overflow, start(), (0.0, 1.0), SolverConfig(method="midpoint", steps=5, gradient=gradient))
    assert failed.value.status == Status.DIVERGED
