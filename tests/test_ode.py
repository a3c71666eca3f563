"""Solving: orders, counts, gradients, and failures that say why."""

import copy
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.errors import InvalidInput, OdenetError
from pipeline.ode import ODEBlock, SolverFailure, Statistics, Status, integrate

EVALUATIONS_PER_STEP = {"euler": 1, "midpoint": 2, "rk4": 4}
ORDER = {"euler": 1, "midpoint": 2, "rk4": 4}
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "heun", "tsit5")
ENGINES = ("odenet", "torchdiffeq")
GRADIENTS = ("direct", "checkpointed", "adjoint")
EXACT = SolverConfig(method="dopri5", rtol=1e-10, atol=1e-10, max_steps=10_000)


class Field(nn.Module):
    """A field without parameters, from a function of t and z."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.function(t, z)


class Growth(nn.Module):
    """dz/dt = rate z: z(T) = z(0) exp(rate T)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return self.rate * z


class Convolved(nn.Module):
    """A small convolutional field, smooth, with time in it."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.normalisation = nn.GroupNorm(2, channels)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(self.normalisation(self.convolution(z))) * torch.cos(t)


# dz/dt = z cos t: z(t) = z(0) exp(sin t).
OSCILLATION = Field(lambda t, z: z * torch.cos(t))


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.linspace(0.5, 2, 4, dtype=dtype)


def error_of(method: str, steps: int) -> float:
    z = integrate(OSCILLATION, start(), 1.5, SolverConfig(method=method, steps=steps)).state
    return float((z - start() * math.exp(math.sin(1.5))).abs().max())


@pytest.mark.parametrize("method", ORDER)
def test_a_fixed_step_method_converges_with_its_order(method: str) -> None:
    errors = [error_of(method, steps) for steps in (20, 40, 80)]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([ORDER[method]] * 2, abs=0.15)


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_an_adaptive_method_meets_its_tolerance(method: str, tolerance: float) -> None:
    solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=100_000)
    for final_time in (0.3, 1.0, 7.0):
        z = integrate(OSCILLATION, start(), final_time, solver).state
        exact = start() * math.exp(math.sin(final_time))
        # Tolerances bound the error of a step; ten of them add up here.
        assert (z - exact).abs().max() < 10 * tolerance * (1 + exact.max())


@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_tighter_tolerance_costs_evaluations_and_buys_accuracy(method: str) -> None:
    errors, counts = [], []
    for tolerance in (1e-3, 1e-4, 1e-5):
        solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=100_000)
        solution = integrate(OSCILLATION, start(), 5.0, solver)
        errors.append(float((solution.state - start() * math.exp(math.sin(5.0))).abs().max()))
        counts.append(solution.statistics.nfe_forward)
    assert counts == sorted(set(counts))
    assert errors[0] > 10 * errors[2]


@pytest.mark.parametrize("method", EVALUATIONS_PER_STEP)
@pytest.mark.parametrize("steps", [1, 3, 7, 49])
@pytest.mark.parametrize("final_time", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exactly_the_asked_number_of_equal_steps_is_taken(
    method: str, steps: int, final_time: float, dtype: torch.dtype
) -> None:
    times: list[float] = []

    def slope(t: Tensor, z: Tensor) -> Tensor:
        times.append(float(t))
        return torch.ones_like(z)

    solution = integrate(
        Field(slope), torch.zeros(1, dtype=dtype), final_time, SolverConfig(method=method, steps=steps)
    )
    assert len(times) == solution.statistics.nfe_forward == EVALUATIONS_PER_STEP[method] * steps
    assert (solution.statistics.accepted, solution.statistics.rejected) == (steps, 0)
    starts = times[:: EVALUATIONS_PER_STEP[method]]
    assert starts == pytest.approx([final_time * step / steps for step in range(steps)], rel=1e-5)
    assert float(solution.state) == pytest.approx(final_time, rel=1e-5)


def test_a_fixed_step_method_may_take_more_steps_than_an_adaptive_one_is_allowed() -> None:
    solution = integrate(OSCILLATION, start(), 1.0, SolverConfig(method="euler", steps=20, max_steps=5))
    assert solution.statistics.accepted == 20


@pytest.mark.parametrize(
    ("engine", "method", "an_attempt", "another_step"),
    [
        ("odenet", "heun", 1, 1),  # its last stage lies at the predicted end, not at the next step's beginning
        ("odenet", "bosh3", 3, 0),
        ("odenet", "dopri5", 6, 0),
        ("odenet", "tsit5", 6, 0),
        ("odenet", "dopri8", 12, 1),
        ("torchdiffeq", "heun", 1, 0),
        ("torchdiffeq", "bosh3", 3, 0),
        ("torchdiffeq", "dopri5", 6, 0),
        ("torchdiffeq", "dopri8", 13, 0),
    ],
)
def test_an_adaptive_solve_costs_two_evaluations_to_begin_and_its_stages_for_every_attempt(
    engine: str, method: str, an_attempt: int, another_step: int
) -> None:
    statistics = integrate(OSCILLATION, start(), 5.0, SolverConfig(engine=engine, method=method)).statistics
    attempts = statistics.accepted + statistics.rejected
    assert statistics.accepted > 1
    assert statistics.nfe_forward == 2 + an_attempt * attempts + another_step * (statistics.accepted - 1)


def test_a_constant_field_takes_dopri5_two_steps() -> None:
    # Hairer's first step, (0.01 / |f / scale|) ** (1 / 5), is about 0.1; without an error the next is ten times that.
    statistics = integrate(Field(lambda _t, z: torch.ones_like(z)), start(), 1.0, SolverConfig()).statistics
    assert (statistics.accepted, statistics.rejected) == (2, 0)
    assert statistics.nfe_forward == 2 + 6 * 2
    assert statistics.status == Status.COMPLETED


@pytest.mark.parametrize("engine", ENGINES)
def test_rejected_steps_are_counted_and_do_not_move_time(engine: str) -> None:
    # Smooth at first, so that steps grow, then a kink that they must be cut for.
    kink = Field(lambda t, z: -z - 200 * z * torch.relu(t - 0.5))
    seen: list[float] = []

    class Watched(nn.Module):
        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            seen.append(float(t))
            return kink(t, z)

    solution = integrate(Watched(), start(), 1.0, SolverConfig(engine=engine))
    statistics = solution.statistics
    assert statistics.rejected > 0
    assert statistics.nfe_forward == len(seen) == 2 + 6 * (statistics.accepted + statistics.rejected)
    # The first stage of each attempt lies at t + dt / 5, the last at t + dt: t follows from the two.
    attempts = [(seen[i], seen[i + 5]) for i in range(2, len(seen), 6)]
    starts = [(5 * first - last) / 4 for first, last in attempts]
    backwards_in_time = [later for earlier, later in pairwise(starts) if later < earlier - 1e-9]
    repeated = [later for earlier, later in pairwise(starts) if abs(later - earlier) < 1e-9]
    assert backwards_in_time == []
    assert len(repeated) == statistics.rejected
    exact = start() * math.exp(-1 - 200 * 0.125)
    assert (solution.state - exact).abs().max() < 1e-2


@pytest.mark.parametrize("final_time", [1e-3, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_the_solve_ends_at_its_final_time(method: str, final_time: float) -> None:
    solver = SolverConfig(method=method, steps=200, rtol=1e-8, atol=1e-8)
    z = integrate(OSCILLATION, start(), final_time, solver).state
    assert z.tolist() == pytest.approx((start() * math.exp(math.sin(final_time))).tolist(), rel=1e-5)


@pytest.mark.parametrize("final_time", [0.0, -1.0, 1e-50, 1e39, math.inf, math.nan])
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_an_end_time_that_cannot_be_is_refused_in_a_sentence(method: str, final_time: float) -> None:
    with pytest.raises(InvalidInput, match=r"^the end time must be above 0 .* change model\.final_time$"):
        integrate(OSCILLATION, start(torch.float32), final_time, SolverConfig(method=method))


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize("method", ["euler", "rk4", "dopri5"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5)])
def test_the_state_keeps_its_shape_and_dtype(
    method: str, gradient: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    z0 = torch.ones(shape, dtype=dtype, requires_grad=True)
    z = integrate(OSCILLATION, z0, 1.0, SolverConfig(method=method, gradient=gradient)).state
    z.sum().backward()
    assert (z.shape, z.dtype) == (z0.shape, dtype)
    assert z0.grad is not None
    assert (z0.grad.shape, z0.grad.dtype) == (z0.shape, dtype)


# Gradients


def gradients(
    field: nn.Module, z0: Tensor, solver: SolverConfig, final_time: float = 1.0
) -> tuple[Tensor, list[Tensor], Statistics]:
    """Of sum(z(T)²): with respect to z(0), the parameters; and the statistics."""
    z0 = z0.clone().requires_grad_()
    field.zero_grad()
    solution = integrate(field, z0, final_time, solver)
    solution.state.square().sum().backward()
    assert z0.grad is not None
    return z0.grad, [p.grad.clone() for p in field.parameters() if p.grad is not None], solution.statistics


def relative_error(value: Tensor, reference: Tensor) -> float:
    return float((value.double() - reference.double()).norm() / reference.double().norm())


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("method", [*ADAPTIVE[:3], "rk4", "tsit5"])
def test_gradients_agree_with_the_closed_form(method: str, gradient: str) -> None:
    solver = SolverConfig(method=method, steps=40, rtol=1e-9, atol=1e-9, max_steps=100_000, gradient=gradient)
    rate, final_time = -0.7, 1.5
    by_state, (by_rate,), _ = gradients(Growth(rate), start(), solver, final_time)
    growth = math.exp(2 * rate * final_time)  # of z²
    assert relative_error(by_state, 2 * start() * growth) < 1e-6
    assert relative_error(by_rate, 2 * final_time * growth * start().square().sum()) < 1e-6


@pytest.fixture(scope="module")
def convolved() -> tuple[Convolved, Tensor, Tensor, list[Tensor]]:
    """A float32 field and state, and the gradients that float64 at a tight tolerance gives them."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        field = Convolved()
    z0 = torch.randn(4, 6, 7, 7, generator=generator)
    by_state, by_parameters, _ = gradients(copy.deepcopy(field).double(), z0.double(), EXACT)
    return field, z0, by_state, by_parameters


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize(
    ("method", "tolerance", "within"),
    [("dopri5", 1e-3, 1e-2), ("dopri5", 1e-6, 1e-4), ("dopri8", 1e-6, 1e-4), ("bosh3", 1e-6, 1e-4), ("rk4", 1, 1e-4)],
)
def test_gradients_agree_with_a_tight_float64_reference(
    convolved: tuple[Convolved, Tensor, Tensor, list[Tensor]],
    gradient: str,
    method: str,
    tolerance: float,
    within: float,
) -> None:
    field, z0, state_reference, parameter_references = convolved
    solver = SolverConfig(method=method, steps=10, rtol=tolerance, atol=tolerance, gradient=gradient)
    by_state, by_parameters, _ = gradients(field, z0, solver)
    assert relative_error(by_state, state_reference) < within
    assert len(by_parameters) == len(parameter_references) == 4
    # The convolution's bias is nearly cancelled by the normalisation behind it: judged against the whole gradient.
    scale = torch.cat([reference.flatten() for reference in parameter_references]).norm()
    for value, reference in zip(by_parameters, parameter_references, strict=True):
        assert (value.double() - reference).norm() < within * scale


def test_direct_and_adjoint_count_their_evaluations_apart(
    convolved: tuple[Convolved, Tensor, Tensor, list[Tensor]],
) -> None:
    field, z0, *_ = convolved
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = field.register_forward_hook(count)
    direct = gradients(field, z0, SolverConfig(gradient="direct"))[2]
    assert (direct.nfe_forward, direct.nfe_backward) == (calls, None)
    calls = 0
    z0 = z0.clone().requires_grad_()
    solution = integrate(field, z0, 1.0, SolverConfig(gradient="adjoint"))
    forward_calls = calls
    assert (solution.statistics.nfe_forward, solution.statistics.nfe_backward) == (forward_calls, 0)
    accepted = solution.statistics.accepted
    solution.state.sum().backward()
    handle.remove()
    assert solution.statistics.nfe_forward == forward_calls == direct.nfe_forward
    assert solution.statistics.nfe_backward == calls - forward_calls > 0
    assert solution.statistics.accepted == accepted


@pytest.mark.parametrize("method", EVALUATIONS_PER_STEP)
@pytest.mark.parametrize(("steps", "final_time"), [(3, 0.3), (7, 1.0), (7, 10.0)])
def test_the_adjoint_of_a_fixed_step_method_takes_the_same_steps_back(
    method: str, steps: int, final_time: float
) -> None:
    solver = SolverConfig(method=method, steps=steps, gradient="adjoint")
    statistics = gradients(Growth(-0.1), start(), solver, final_time)[2]
    assert statistics.nfe_backward == statistics.nfe_forward == EVALUATIONS_PER_STEP[method] * steps


class Dropped(nn.Module):
    """Draws anew at every evaluation."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return nn.functional.dropout(self.field(t, z), 0.2)


@pytest.mark.parametrize(("method", "stages"), [("euler", 1), ("rk4", 4), ("heun", 2), ("dopri5", 6), ("dopri8", 13)])
def test_checkpointed_gradients_are_those_of_direct_to_the_bit_random_numbers_included(
    method: str, stages: int, convolved: tuple[Convolved, Tensor, Tensor, list[Tensor]]
) -> None:
    field, z0, *_ = convolved
    found, drawn = {}, {}
    for gradient in ("direct", "checkpointed"):
        torch.manual_seed(1)
        solver = SolverConfig(method=method, steps=3, gradient=gradient, rtol=0.1, atol=0.1)
        found[gradient] = gradients(Dropped(field), z0, solver)
        drawn[gradient] = torch.rand(1)
    by_state, by_parameters, statistics = found["direct"]
    assert torch.equal(by_state, found["checkpointed"][0])
    assert all(map(torch.equal, by_parameters, found["checkpointed"][1]))
    assert drawn["direct"] == drawn["checkpointed"]
    assert (statistics.nfe_backward, statistics.rejected) == (None, found["checkpointed"][2].rejected)
    assert found["checkpointed"][2].nfe_backward == stages * statistics.accepted


# Precision


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_field_computes_in_the_callers_precision_in_both_passes_and_the_state_stays_float32(
    gradient: str, dtype: torch.dtype
) -> None:
    computed: list[torch.dtype] = []
    states: list[torch.dtype] = []
    field = Convolved()
    field.convolution.register_forward_hook(lambda _module, _inputs, output: computed.append(output.dtype))
    field.register_forward_hook(lambda _module, inputs, _output: states.append(inputs[1].dtype))
    z0 = torch.randn(2, 6, 4, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        z = integrate(field, z0, 1.0, SolverConfig(gradient=gradient)).state
    forward_evaluations = len(computed)
    z.sum().backward()  # outside the caller's autocast, as torch asks for
    assert z.dtype == torch.float32
    assert set(computed) == {dtype}
    assert set(states) == {torch.float32}
    assert (len(computed) > forward_evaluations) == (gradient == "adjoint")


def test_a_derivative_in_bfloat16_is_not_rounded_again_by_the_step() -> None:
    derivatives: list[Tensor] = []
    convolution = nn.Conv2d(6, 6, 3, padding=1)
    field = Field(lambda _t, z: convolution(z))
    field.register_forward_hook(lambda _module, _inputs, output: derivatives.append(output))
    z0 = torch.randn(2, 6, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        z = integrate(field, z0, 0.3, SolverConfig(method="euler")).state
    assert derivatives[0].dtype == torch.bfloat16
    torch.testing.assert_close(z, z0 + 0.3 * derivatives[0].float(), rtol=0, atol=1e-6)


def test_an_ode_block_keeps_a_float32_state_behind_a_layer_that_autocast_rounds() -> None:
    states: list[torch.dtype] = []
    field = Convolved()
    field.register_forward_hook(lambda _module, inputs, _output: states.append(inputs[1].dtype))
    network = nn.Sequential(nn.Conv2d(1, 6, 3), ODEBlock(field, 1.0, SolverConfig()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = network(torch.randn(2, 1, 6, 6))
    assert z.dtype == torch.float32
    assert set(states) == {torch.float32}


def test_an_ode_block_leaves_a_float64_state_as_it_is() -> None:
    block = ODEBlock(Convolved().double(), 1.0, SolverConfig())
    assert block(torch.randn(2, 6, 4, 4, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("cache_enabled", [False, True])
def test_adjoint_gradients_under_autocast_agree_with_the_reference_within_bfloat16(
    convolved: tuple[Convolved, Tensor, Tensor, list[Tensor]], cache_enabled: bool
) -> None:
    field, z0, state_reference, parameter_references = convolved
    by_gradient = {}
    for gradient in ("direct", "adjoint"):
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=cache_enabled):
            by_gradient[gradient] = gradients(field, z0, SolverConfig(method="rk4", steps=4, gradient=gradient))
    for by_state, by_parameters, _ in by_gradient.values():
        assert relative_error(by_state, state_reference) < 0.05
        assert len(by_parameters) == 4
        whole = torch.cat([value.flatten() for value in by_parameters])
        assert relative_error(whole, torch.cat([value.flatten() for value in parameter_references])) < 0.05
        assert all(value.abs().max() > 0 for value in by_parameters)


# Failures: each builds its field, names the solver, and says what must come of it.


def blows_up(_t: Tensor, z: Tensor) -> Tensor:
    """z(t) = 1 / (1 / z(0) - t): infinite at t = 0.5 from z(0) = 2."""
    return z.square()


def chatters(_t: Tensor, z: Tensor) -> Tensor:
    """Towards 0.4 from both sides, faster than any step can follow: the true solution slides along it."""
    return -1e14 * torch.sign(z - 0.4)


class BackwardOnly(nn.Module):
    """Tame forward; in the backward pass, where gradients are enabled, `function` of t and z."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.rate = nn.Parameter(torch.tensor(-0.5))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        tame = self.rate * z
        return tame + self.function(t, z) if torch.is_grad_enabled() else tame


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
        integrate(Field(counted), z0, 1.0, SolverConfig(**({"engine": engine, "gradient": gradient} | options)))
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
    solution = integrate(field, z0, 1.0, SolverConfig(**({"engine": engine, "gradient": "adjoint"} | options)))
    with pytest.raises(SolverFailure) as failed:
        solution.state.sum().backward()
    check(failed.value, "backward", status, calls)
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
            "evaluations": failure.evaluations == calls > 0,
            "norm": failure.state_norm > 0 or not math.isfinite(failure.state_norm),
            "record": failure.to_dict()["status"] == str(status),
            "sentence": f"the {direction} solve failed at t = " in str(failure) and "group" in str(failure),
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
    z = integrate(field, start(torch.float32), 1.0, solver).state
    with pytest.raises(SolverFailure) as failed:
        z.sum().backward()
    assert (failed.value.status, failed.value.direction) == (Status.DIVERGED, "backward")
    assert field.offset.grad is None


def test_failures_are_the_same_without_assertions() -> None:
    code = (
        "from tests import test_ode as t\n"
        "assert False, 'assertions are off'\n"
        "for engine in t.ENGINES:\n"
        "    for name in t.FAILURES:\n"
        "        for gradient in ('direct', 'adjoint'):\n"
        "            t.fails_forward(name, gradient, engine)\n"
        "    for name in t.BACKWARD_FAILURES:\n"
        "        t.fails_backward(name, engine)\n"
        "print('all said why')\n"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-O", "-W", "ignore", "-c", code], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "all said why\n", done.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failure_names_time_step_evaluations_and_norm(engine: str) -> None:
    with pytest.raises(SolverFailure) as failed:
        integrate(Field(blows_up), torch.full((3,), 2.0), 1.0, SolverConfig(engine=engine, max_steps=12))
    failure = failed.value
    assert failure.status == Status.STEP_LIMIT
    assert failure.evaluations == 2 + 6 * 12
    assert 0.4 < failure.t < 0.5
    assert 0 < failure.dt < 0.1
    assert failure.state_norm == pytest.approx(1 / (0.5 - failure.t), rel=0.1)
    assert failure.to_dict() == {
        "status": "step_limit",
        "t": failure.t,
        "dt": failure.dt,
        "evaluations": failure.evaluations,
        "state_norm": failure.state_norm,
        "direction": "forward",
    }
    for remedy in ("model.normalisation=group", "training.lr", "solver.rtol", "model.augment"):
        assert remedy in str(failure)
    assert isinstance(failure, OdenetError)


def test_the_norm_of_a_large_finite_state_is_finite() -> None:
    with pytest.raises(SolverFailure) as failed:
        integrate(Field(lambda t, z: torch.cos(300 * t) * z), torch.full((3,), 1e30), 1.0, SolverConfig(max_steps=2))
    assert failed.value.state_norm == pytest.approx(1e30, rel=0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_a_state_that_is_no_number_to_begin_with_is_refused(method: str, value: float) -> None:
    z0 = start(torch.float32)
    z0[1] = value
    with pytest.raises(SolverFailure) as failed:
        integrate(OSCILLATION, z0, 1.0, SolverConfig(method=method))
    assert (failed.value.status, failed.value.t) == (Status.DIVERGED, 0)


@pytest.mark.parametrize(("engine", "reached"), [("odenet", 0.75), ("torchdiffeq", 1.0)])
def test_a_fixed_step_solve_that_diverges_in_its_last_step_is_refused(engine: str, reached: float) -> None:
    field = Field(lambda t, z: torch.where(t > 0.5, z * math.inf, z))
    with pytest.raises(SolverFailure) as failed:
        integrate(field, start(torch.float32), 1.0, SolverConfig(engine=engine, method="euler", steps=4))
    assert (failed.value.status, failed.value.t, failed.value.evaluations) == (Status.DIVERGED, reached, 4)


def test_a_failure_survives_pickling() -> None:
    failure = SolverFailure(Status.UNDERFLOW, 0.25, 1e-17, 44, 3.5, "backward")
    restored = pickle.loads(pickle.dumps(failure))  # noqa: S301 - made in this line
    assert isinstance(restored, SolverFailure)
    assert restored.to_dict() == failure.to_dict()
    assert str(restored) == str(failure)


def test_a_block_keeps_the_statistics_of_its_last_solve() -> None:
    block = ODEBlock(Convolved(), 1.0, SolverConfig(method="euler", steps=3, gradient="adjoint"))
    for _ in range(2):
        block(torch.randn(2, 6, 4, 4)).sum().backward()
        assert (block.statistics.nfe_forward, block.statistics.nfe_backward) == (3, 3)
    with torch.no_grad():
        block(torch.randn(2, 6, 4, 4))
    assert (block.statistics.nfe_forward, block.statistics.nfe_backward) == (3, 0)
